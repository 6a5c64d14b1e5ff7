"""One result as one plain line, for a terminal that is no terminal and for `-v`."""

from __future__ import annotations

from statistics import median

from overlab.model import Verdict
from reports.schema import PaperKind, Result


def plain_line(result: Result) -> str:
    """Return the line: scenario, probe, path, value, class, promise, paper, reason."""
    parts = [f"{result.scenario}  {result.probe}" if result.scenario else result.probe]
    if result.src or result.dst:
        parts.append(f"{result.src} → {result.dst}" if result.dst else result.src)
    if result.value is not None:
        parts.append(f"= {shown(result.value)} {result.unit}".rstrip())
    parts.append(f"[{result.outcome}]")
    if result.promised is not None:
        parts.append(f"promised {shown(result.promised)}")
    if result.paper is not None:
        said = f"paper {shown(result.paper.value)}"
        parts.append(said if result.paper.kind is PaperKind.EXACT else f"{said} ({result.paper.kind})")
    if result.verdict is not Verdict.PASS:
        parts.append(result.verdict.upper())
    line = " ".join(parts)
    return f"{line}: {result.reason}" if result.reason else line


def shown(value: object) -> str:
    """Return a number as people write it, of a list of samples their median and how many, else the text."""
    if isinstance(value, float):
        return number(value)
    if isinstance(value, (list, tuple)):
        return f"{number(median(value))} (median of {len(value)})" if value else "no samples"
    return str(value)


def number(value: float) -> str:
    """Return a number as people write it: 1420, 0.961, 191.3, 12000000."""
    if value == int(value) and abs(value) < 1e15:
        return str(int(value))
    size = abs(value)
    decimals = 1 if size >= 100 else 2 if size >= 10 else 3 if size >= 0.1 else 6
    return f"{value:.{decimals}f}".rstrip("0").rstrip(".") if size >= 1e-6 else f"{value:.3g}"
