"""Why does a packet not arrive over VXLAN? Its way is followed, then the cause is read.

    container - br0 - vxlan0 - eth1 ~~~ UDP 4789 ~~~ eth1 - vxlan0 - br0 - container
                (Docker's: in a hidden namespace)

Whoever sends a packet to the wrong node, or to none, does so by an entry of the tables around vxlan0:
they are read first. If they are true, the two ends of the wire tell.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from enum import StrEnum

from fixtures.lab import Lab
from fixtures.vantages import Vantages
from overlab.model import Endpoint, Finding
from probes import neighbours, trace
from probes.neighbours import Table
from probes.trace import Point

SIZE = 1000
LEAVES, ARRIVES = "leaves on the underlay", "arrives on the underlay"


class Cause(StrEnum):
    """Classes of this diagnosis."""

    OK = "ok"
    WRONG_ENTRY = "wrong-entry"
    NO_ENTRY = "no-entry"
    UNDERLAY_BLOCKED = "underlay-blocked"
    UNKNOWN = "unknown"


Read = Callable[[bool], Sequence[Table]]


def follow(
    read: Read, lab: Lab, vantages: Vantages, src: Endpoint, dst: Endpoint, *, wait_s: float = 0.6
) -> Finding:
    """Follow one packet from `src` to `dst`; the finding's class is the cause, its evidence the way.

    `read` is told whether the packet left its node, and gives the tables to judge.
    """
    near, far = lab.node(src.node), lab.node(dst.node)
    points = [
        Point(LEAVES, vantages.node(near.name), near.interface),
        Point(ARRIVES, vantages.node(far.name), far.interface),
    ]
    ends = vantages.peer(src), vantages.peer(dst)
    way = trace.follow(*ends, points, size=SIZE, count=1, wait_s=wait_s, attempts=1)
    cause, reason = (Cause.OK, "") if way.ok else _cause(read, src, way)
    return replace(
        way, probe="diagnosis", outcome=cause, value=way.value or "nowhere", unit="last seen", reason=reason
    )


def _cause(read: Read, src: Endpoint, way: Finding) -> tuple[Cause, str]:
    seen = {point["point"]: point["requests"] for point in way.evidence["points"]}
    tables = read(bool(seen[LEAVES]))
    judged = neighbours.check([], tables=[t for t in tables if t.label.startswith(f"{src.node} ")])
    by_outcome = {finding.outcome: finding for finding in judged}
    for outcome, cause in (
        (neighbours.Outcome.STALE, Cause.WRONG_ENTRY),
        (neighbours.Outcome.MISSING, Cause.NO_ENTRY),
    ):
        if outcome in by_outcome:
            return cause, f"{by_outcome[outcome].src}: {by_outcome[outcome].reason}"
    if seen[LEAVES] and not seen[ARRIVES]:
        return Cause.UNDERLAY_BLOCKED, f"{way.reason}: UDP 4789 leaves {src.node} and never arrives"
    return Cause.UNKNOWN, way.reason
