"""The first page: one self-contained HTML file over the same rows as the terminal's table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from overlab.model import Verdict
from reports.complaints import Complaint, complaints
from reports.drawing import Drawing, drawing
from reports.plots import bar, plots
from reports.progress import shown
from reports.rows import SYMBOLS, Row, columns, rows
from reports.schema import Result
from reports.table import WORDS
from reports.transcripts import Transcript

MOST_LINES = 200  # of one probe in one row; all of them are in results.jsonl


@dataclass(frozen=True, slots=True)
class Part:
    """One scenario on the page: its rows, its drawing, its complaints and the commands of its nodes."""

    name: str
    rows: tuple[Row, ...]
    drawing: Drawing | None
    complaints: tuple[Complaint, ...]
    transcripts: tuple[Transcript, ...]

    @property
    def anchor(self) -> str:
        """The part's place on the page."""
        return f"scenario-{self.name or 'none'}"

    @property
    def about(self) -> Result:
        """The line that knows most of the scenario."""
        return next((row.about for row in self.rows if row.about.nodes), self.rows[-1].about)


def page(results: Sequence[Result], found: Sequence[Transcript], run_id: str, bad: Sequence[str] = ()) -> str:
    """Return the page. Every number on it that is derived from lines carries `data-row`, `data-probe`,
    `data-stat` and `data-value`; every line it shows, `data-order` and `data-value`.
    """
    matrix = rows(results)
    open_ends = complaints(matrix)
    parts = _parts(matrix, open_ends, found)
    claimed = {transcript.name for part in parts for transcript in part.transcripts}
    return _template().render(
        run_id=run_id,
        results=results,
        matrix=matrix,
        columns=columns(matrix),
        counts={verdict: sum(line.verdict is verdict for line in results) for verdict in Verdict},
        complaints=open_ends,
        parts=parts,
        others=[transcript for transcript in found if transcript.name not in claimed],
        bad=bad,
        words=WORDS,
        symbols=SYMBOLS,
        most=MOST_LINES,
        bar=bar,
        plots=plots,
        last=results[-1] if results else None,
        first=results[0] if results else None,
    )


def _parts(matrix: Sequence[Row], open_ends: Sequence[Complaint], found: Sequence[Transcript]) -> list[Part]:
    names = sorted({row.key.scenario for row in matrix})
    owners = {transcript.name: _owner(transcript.name, names) for transcript in found}
    parts = []
    for name in names:
        mine = tuple(row for row in matrix if row.key.scenario == name)
        about = next((row.about for row in mine if row.about.nodes), mine[-1].about)
        parts.append(
            Part(
                name,
                mine,
                drawing(about),
                tuple(each for each in open_ends if each.row.scenario == name),
                tuple(each for each in found if owners[each.name] == name),
            )
        )
    return parts


def _owner(transcript: str, scenarios: Sequence[str]) -> str | None:
    """Return the scenario that a transcript is of: the longest name that its own begins with."""
    fitting = [
        name
        for name in scenarios
        if name and (transcript == name or transcript.startswith((f"{name}-", f"{name}.")))
    ]
    return max(fitting, key=len, default=None)


@cache
def _template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).with_name("templates")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["shown"] = shown
    return environment.get_template("index.html.j2")
