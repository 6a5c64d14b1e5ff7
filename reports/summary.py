"""The Markdown summary of a run: for a CI job's page, or a note in an issue."""

from __future__ import annotations

from collections.abc import Sequence

from overlab.model import Verdict
from reports.complaints import complaints
from reports.rows import SYMBOLS, Cell, Row, columns, particular, rows
from reports.schema import Result
from reports.table import WORDS


def summary(results: Sequence[Result], run_id: str) -> str:
    """Return the summary: counts, the matrix, and what is not passed with reason and remedy."""
    found = rows(results)
    counts = {verdict: sum(line.verdict is verdict for line in results) for verdict in Verdict}
    told = ", ".join(
        f"{SYMBOLS[verdict]} {count} {WORDS[verdict]}" for verdict, count in counts.items() if count
    )
    parts = [f"# Overlay networks: run {run_id}", "", f"{len(results)} results: {told or 'none'}.", ""]
    if found:
        parts += [*_matrix(found), ""]
    for row, cells in particular(found):
        parts += [f"## Asked of {_text(row.key.scenario)} alone", "", "| | measured |", "|---|---|"]
        parts += [f"| {_text(cell.probe)} | {_cell(cell)} |" for cell in cells]
        parts.append("")
    open_ends = complaints(found)
    if open_ends:
        parts += ["## Not passed", ""]
        for each in open_ends:
            shows = f" ({_text(each.shows)})" if each.shows else ""
            what = f"**{_text(str(each.row))}** {_text(', '.join(each.what))}"
            head = f"- {SYMBOLS[each.verdict]} {what}{shows}"
            remedy = f" *Remedy: {_text(each.remedy)}*" if each.remedy else ""
            parts.append(f"{head}: {_text(each.cause)}.{remedy}")
        parts.append("")
    if results:
        host = results[-1].host
        machine = ", ".join(part for part in (host.cpu, f"{host.cores} cores", host.virt) if part)
        revision = f"; revision {results[-1].git}" if results[-1].git else ""
        parts += [f"Machine: Linux {_text(host.kernel)}, {_text(machine)}{revision}.", ""]
    return "\n".join(parts)


def _matrix(found: Sequence[Row]) -> list[str]:
    names = columns(found)
    lines = ["| row | " + " | ".join(_text(name) for name in names) + " |"]
    lines.append("|---" * (len(names) + 1) + "|")
    for row in found:
        details = f" <br>{_text(row.key.details)}" if row.key.details else ""
        cells = " | ".join(_cell(row.cells.get(name)) for name in names)
        lines.append(f"| **{_text(row.key.scenario or 'no scenario')}**{details} | {cells} |")
    return lines


def _cell(cell: Cell | None) -> str:
    if cell is None:
        return ""
    text = f"{cell.symbol} {_text(f'{cell.measured} {cell.unit}'.strip())}".strip()
    if cell.promised:
        text += f"<br>promised {_text(cell.promised)}"
    if cell.paper_text:
        text += f"<br>paper {_text(cell.paper_text)}"
    return text


def _text(words: str) -> str:
    """Return words that Markdown takes as words: no cell is ended, no tag or code begun."""
    for sign in "\\`*_|[":
        words = words.replace(sign, f"\\{sign}")
    return " ".join(words.replace("&", "&amp;").replace("<", "&lt;").split())
