"""`./lab report`: the tables and pages of runs that ended, or were killed."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from overlab.errors import UsageError

if TYPE_CHECKING:
    from reports.files import RunFolder


@click.command()
@click.argument("words", nargs=-1, metavar="[merge] [RUN...]")
@click.option("--results", metavar="DIR", type=Path, help="Folder that holds the runs (reports/runs).")
def report(words: tuple[str, ...], results: Path | None) -> None:
    """Show the table of a run, by default the newest, and where its page is.

    `report merge` first gathers what a killed run left, and writes its page again. Several RUNs (names, or
    folders of runs that were made elsewhere) it makes one new run of: so shards become one table.

    \b
    Example: ./lab report
             ./lab report merge 20260102T030405Z-a1b2c3
             ./lab report merge shard-1/latest shard-2/latest
    """
    from overlab.paths import CHECKOUT

    home = results or CHECKOUT / "reports" / "runs"
    merge = words[:1] == ("merge",)
    runs = _chosen(home, words[1:] if merge else words)
    if merge and len(runs) > 1:
        from reports.together import gather

        runs = [gather(runs, home)]
    for run in runs:
        _show(run, merge)


def _chosen(home: Path, names: Sequence[str]) -> list[RunFolder]:
    from overlab.nearest import unknown
    from reports.files import RunFolder, runs_in

    elsewhere = {name: RunFolder(Path(name).resolve()) for name in names if RunFolder(Path(name)).sources()}
    kept = {run.id: run for run in runs_in(home)} | elsewhere
    if not kept:
        raise UsageError(f"no run is in {home}", "./lab matrix makes one")
    for name in names:
        if name not in kept:
            raise UsageError(*unknown("run", name, kept))
    return [kept[name] for name in names or sorted(kept)[-1:]]


def _show(run: RunFolder, merge: bool) -> None:
    from reports.files import read_run
    from reports.publish import publish
    from reports.table import render

    found = publish(run).results if merge else read_run(run)
    encoding = (getattr(sys.stdout, "encoding", None) or "").lower().replace("-", "")
    terminal = sys.stdout.isatty()
    width = shutil.get_terminal_size().columns if terminal else 100
    click.echo(f"run {run.id}")
    click.echo(render(found, width=width, colour=terminal, signs=encoding == "utf8"))
    click.echo(f"page: {run.page}" if run.page.is_file() else f"no page yet; ./lab report merge {run.id}")
