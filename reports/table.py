"""The matrix in a terminal, and in a log: rows, then what is not passed, one line each."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from io import StringIO

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from overlab.model import Verdict
from reports.complaints import Complaint, complaints
from reports.rows import SYMBOLS, Cell, Row, columns, particular, rows
from reports.schema import Result

STYLES = {
    Verdict.PASS: "green",
    Verdict.FAIL: "bold red",
    Verdict.SKIP: "dim",
    Verdict.UNRESOLVED: "yellow",
    Verdict.INVALID: "magenta",
}
WORDS = {
    Verdict.PASS: "passed",
    Verdict.FAIL: "failed",
    Verdict.SKIP: "skipped",
    Verdict.UNRESOLVED: "unresolved",
    Verdict.INVALID: "invalid",
}
# For a terminal or a log that cannot show the signs.
ASCII = {
    "✔": "ok",
    "✘": "FAIL",
    "–": "-",
    "→": "->",
    "×": "x",
    "—": "-",
    "…": "...",
    "─": "-",
    "≠": "!=",
}
GAP = 2
MOST_NAMED = 4


def render(results: Sequence[Result], *, width: int = 100, colour: bool = False, signs: bool = True) -> str:
    """Return the matrix and the list of what is not passed, as text of `width` columns.

    With more probes than fit, the matrix goes on in further bands of the same rows. `signs=False`
    keeps to ASCII. Lines of the list are not broken: a terminal folds them, and grep finds them whole.
    """
    found = rows(results)
    console = Console(
        file=StringIO(),
        width=width,
        force_terminal=colour,
        no_color=not colour,
        color_system="standard" if colour else None,
        highlight=False,
        emoji=False,
        legacy_windows=False,
    )
    label = min(34, max(len(part) for row in found for part in _label(row)) + GAP) if found else 0
    for band in _bands(columns(found), found, width - label):
        console.print(_table(found, band, label, colour))
        console.print()
    for row, cells in particular(found):
        console.print(_beside(row, cells), overflow="fold")
        console.print()
    for complaint in complaints(found):
        console.print(_told(complaint), soft_wrap=True)
    console.print(_counts(results), soft_wrap=True)
    assert isinstance(console.file, StringIO)
    lines = [line.rstrip() for line in console.file.getvalue().splitlines()]
    text = re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip("\n")
    return text if signs else _ascii(text)


def _ascii(text: str) -> str:
    for sign, plain in ASCII.items():
        text = text.replace(sign, plain)
    return text.encode("ascii", "replace").decode()


def _label(row: Row) -> tuple[str, str]:
    return row.key.scenario or "no scenario", row.key.details


def _cell(cell: Cell | None) -> tuple[str, str]:
    """Return the two lines of a cell: sign with value, and the paper's value."""
    if cell is None:
        return "", ""
    value = f"{cell.symbol} {cell.measured}".rstrip()
    if cell.measured and cell.promised and cell.promised != cell.measured:
        value = f"{value} ≠{cell.promised}"
    return value, f"paper {cell.paper_text}" if cell.paper_text else ""


def _heading(name: str, found: Sequence[Row]) -> tuple[str, str]:
    units = {row.cells[name].unit for row in found if name in row.cells} - {""}
    return name, units.pop() if len(units) == 1 else ""


def _bands(names: Sequence[str], found: Sequence[Row], room: int) -> Iterator[list[str]]:
    band: list[str] = []
    used = 0
    for name in names:
        texts = [*_heading(name, found), *(text for row in found for text in _cell(row.cells.get(name)))]
        needs = max(len(text) for text in texts) + GAP
        if band and used + needs > room:
            yield band
            band, used = [], 0
        band.append(name)
        used += needs
    if band:
        yield band


def _table(found: Sequence[Row], names: Sequence[str], label: int, colour: bool) -> Table:
    table = Table(box=box.SIMPLE_HEAD if colour else None, pad_edge=False, padding=(0, GAP, 0, 0))
    table.add_column("", width=label - GAP, overflow="fold")
    for name in names:
        heading, unit = _heading(name, found)
        table.add_column(Text.assemble(heading, "\n", (unit, "dim")), no_wrap=True, overflow="ellipsis")
    for row in found:
        if not any(name in row.cells for name in names):
            continue
        scenario, details = _label(row)
        cells = [_styled(row.cells.get(name)) for name in names]
        table.add_row(Text.assemble((scenario, "bold"), "\n", (details, "dim")), *cells)
    return table


def _styled(cell: Cell | None) -> Text:
    if cell is None:
        return Text("")
    value, paper = _cell(cell)
    return Text.assemble((value, STYLES[cell.verdict]), *([("\n" + paper, "dim")] if paper else []))


def _beside(row: Row, cells: Sequence[Cell]) -> Text:
    """Return what only this row's scenario asks: name, value, and the paper's value where it is another."""
    text = Text.assemble((row.key.scenario, "bold"), " alone: ")
    told = []
    for cell in cells:
        value, paper = _cell(cell)
        same = cell.paper is not None and cell.paper_text in cell.measured.split(", ")
        other = f" ({'as the paper' if same else paper})" if paper else ""
        sign, _, rest = value.partition(" ")
        words = " ".join(part for part in (cell.probe, rest, cell.unit if rest else "") if part)
        told.append(Text.assemble((sign, STYLES[cell.verdict]), f" {words}", (other, "dim")))
    return text + Text("; ").join(told)


def _told(complaint: Complaint) -> Text:
    named = ", ".join(complaint.what[:MOST_NAMED])
    more = len(complaint.what) - MOST_NAMED
    parts = [f" {complaint.row}: {named}" + (f" and {more} more" if more > 0 else "")]
    parts += [complaint.shows] if complaint.shows else []
    sign = (SYMBOLS[complaint.verdict], STYLES[complaint.verdict])
    return Text.assemble(sign, ": ".join([*parts, complaint.reason]))


def _counts(results: Sequence[Result]) -> Text:
    counts = {verdict: sum(line.verdict is verdict for line in results) for verdict in Verdict}
    parts = [
        (f"{SYMBOLS[verdict]} {count} {WORDS[verdict]}", STYLES[verdict])
        for verdict, count in counts.items()
        if count
    ]
    text = Text(f"{len(results)} results: ")
    return text + Text("  ").join([Text(words, style) for words, style in parts])
