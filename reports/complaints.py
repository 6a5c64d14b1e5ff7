"""What is not passed, gathered by reason: the list that people read first."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from overlab.model import Verdict
from reports.progress import shown
from reports.rows import WORST, Row, RowKey


@dataclass(frozen=True, slots=True)
class Complaint:
    """What is not passed in a row for one reason: `what` names the probes and where they looked."""

    row: RowKey
    verdict: Verdict
    what: tuple[str, ...]
    shows: str
    reason: str

    @property
    def remedy(self) -> str:
        """What to do about it: the part of a reason that follows its dash."""
        return self.reason.partition(" — ")[2]

    @property
    def cause(self) -> str:
        """The reason without its remedy."""
        return self.reason.partition(" — ")[0]


def complaints(found: Iterable[Row]) -> list[Complaint]:
    """Return what is not passed, the worst first; probes of a row that share a reason are one."""
    grouped: dict[tuple[RowKey, Verdict, str, str], dict[str, None]] = {}
    for row in found:
        for line in row.lines:
            if line.verdict is Verdict.PASS:
                continue
            path = f" {line.src} → {line.dst}" if line.dst else f" {line.src}" if line.src else ""
            value = f"{shown(line.value)} {line.unit}".rstrip() if line.value is not None else ""
            said = f"promised {shown(line.promised)}" if line.promised is not None else ""
            shows = ", ".join(part for part in (value, said) if part)
            reason = line.reason or line.outcome
            grouped.setdefault((row.key, line.verdict, shows, reason), {})[f"{line.probe}{path}"] = None
    made = [
        Complaint(row, verdict, tuple(what), shows, reason)
        for (row, verdict, shows, reason), what in grouped.items()
    ]
    return sorted(made, key=lambda complaint: WORST.index(complaint.verdict))
