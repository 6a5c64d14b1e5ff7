"""`./lab clean`: give the disk back."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import NoReturn

import click

from overlab.errors import OverlabError, UsageError

# What we make in the cache folder; anything else there is somebody's, and stays.
OURS = ("rootfs", "images", "labs", "apt", "go", "wheels", "archives", "vm", "layer-*", "*.lock")


@click.command()
@click.option("--runs", is_flag=True, help="Also the runs in reports/runs.")
def clean(runs: bool) -> None:
    """Remove the cache: root filesystems and image stores. The next lab builds them again.

    Refused while a lab is up. .venv stays.

    \b
    Example: sudo ./lab clean --runs
    """
    from fixtures.providers.namespace import registry
    from fixtures.store.cache import Cache, locked
    from overlab.paths import CHECKOUT

    cache = Cache.open()

    def busy(pid: str) -> NoReturn:
        raise OverlabError(f"set-up is going on in process {pid}", "wait for its end, then again")

    with locked(cache.root / "setup.lock", busy):
        up = [entry.id for entry in registry.entries(cache)]
        if up:
            raise UsageError(
                f"labs that are up use the cache: {', '.join(up)}", "./lab down --all, then again"
            )
        _remove(path for pattern in OURS for path in sorted(cache.root.glob(pattern)))
    if not any(cache.root.iterdir()):
        cache.root.rmdir()
    click.echo(f"removed the cache in {cache.root}")
    if runs:
        kept = CHECKOUT / "reports"
        _remove([kept / "runs", kept / "latest"])
        click.echo(f"removed the runs in {kept / 'runs'}")


def _remove(paths: Iterable[Path]) -> None:
    """Remove trees, never what is mounted in them."""
    named = [str(path) for path in paths]
    if not named:
        return
    done = subprocess.run(
        ["rm", "-rf", "--one-file-system", "--", *named], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise OverlabError(f"not everything could be removed: {done.stderr.strip()}", "look what holds it")
