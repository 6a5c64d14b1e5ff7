"""Where does a packet get lost, and what does it look like at every point of its way?

Method: a capture at each given interface, all of them live before the first packet leaves; then marked
requests (a nonce in the payload) from the source to the destination. A point that can read the packet,
also inside an encapsulation, matches by the nonce; a point where it is encrypted matches by the outer
flow, and only packets that are large enough to hold it. The answers are followed too, and ARP is kept,
for a packet that never left is often one whose neighbour did not answer.
Source: the tcpdump-at-every-interface walk of every lab sheet, with a nonce for the eye.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from overlab.model import Finding, Flow

from . import pcap
from .client import Agent, AgentError, Peer
from .common import at_once, elapsed_ms

PROBE = "trace"
SIZE = 200  # well above an acknowledgement's 55 bytes, so that an encrypted answer is not taken for a request
COUNT = 3
ATTEMPTS = 2
WAIT_S = 1.2
SLACK_S = 15.0
ARP_SHOWN = 20
CARRIERS = ["icmp", "udp", "gre", "esp", "ipip"]


class Outcome(StrEnum):
    """Classes of this probe."""

    OK = "ok"
    LOST = "lost"
    BYPASSED = "bypassed"
    UNANSWERED = "unanswered"
    REWRITTEN = "rewritten"


@dataclass(frozen=True, slots=True)
class Point:
    """An interface where to look, in the order of the way.

    `flow` is the outer one where the packet is encrypted, and `ends` its outer source and destination:
    without them, what the node sends to others by the same flow is taken for it.
    """

    label: str
    agent: Agent
    interface: str
    flow: Flow | None = None
    ends: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class _Seen:
    """What one point saw: requests and answers apart; `plain` are those with nothing around them."""

    point: Point
    capture: dict[str, Any]

    @property
    def requests(self) -> list[dict[str, Any]]:
        return [p for p in self.capture["packets"] if p.get("kind", "request") == "request"]

    @property
    def replies(self) -> list[dict[str, Any]]:
        return [p for p in self.capture["packets"] if p.get("kind") == "reply"]

    @property
    def plain(self) -> list[dict[str, Any]]:
        return [p for p in self.requests if p.get("encapsulated") is False]

    def evidence(self) -> dict[str, Any]:
        first = dict(self.requests[0]) if self.requests else {}
        first.pop("raw", None)
        looks = {key: first[key] for key in first if key not in ("time", "kind")}
        return {
            "point": self.point.label,
            "at": f"{self.point.agent} {self.point.interface}",
            "requests": len(self.requests),
            "replies": None if self.point.flow else len(self.replies),
            "first": looks,
            "arp": self.capture["arp"][:ARP_SHOWN],
            "lost_by_capture": self.capture["lost"],
        }


def follow(
    src: Peer,
    dst: Peer,
    points: Sequence[Point],
    *,
    protocol: str = "udp",
    size: int = SIZE,
    count: int = COUNT,
    wait_s: float = WAIT_S,
    attempts: int = ATTEMPTS,
    save: Path | None = None,
) -> Finding:
    """Follow marked packets (`protocol` udp or icmp) through `points`, ordered from `src` to `dst`.

    The Finding's value is the label of the last point that saw them; the reason names the first that
    did not. The evidence holds, for each point: counts of requests and answers, the addresses, TTL,
    link addresses and length of the first, and the ARP seen. `save` is a folder for one pcap a point.
    """
    start = time.monotonic()
    nonce = os.urandom(8).hex()
    captures: dict[int, int] = {}
    with ExitStack() as undo:
        for index, point in enumerate(points):
            captures[index] = _begin(point)
            undo.callback(_abandon, point, captures[index])
        answered = _send(src, dst, protocol, nonce, (size, count, wait_s, attempts))
        undo.pop_all()
        jobs = [(points[i], captures[i], nonce, size, save is not None) for i in range(len(points))]
        seen = at_once(_end, jobs)
    outcome, value, reason = _judge(seen, answered)
    evidence: dict[str, Any] = {"nonce": nonce, "points": [entry.evidence() for entry in seen]}
    evidence["answered"] = answered
    if save is not None:
        evidence["pcap"] = [
            str(pcap.write(save / f"{i:02}-{_filename(entry.point.label)}.pcap", entry.capture["packets"]))
            for i, entry in enumerate(seen)
        ]
    return Finding(
        PROBE,
        outcome,
        value,
        "point",
        points[-1].label,
        src=str(src),
        dst=str(dst),
        reason=reason,
        evidence=evidence,
        duration_ms=elapsed_ms(start),
    )


def _begin(point: Point) -> int:
    protocols = [point.flow.protocol] if point.flow else CARRIERS
    answer = point.agent.call("start_sniff", timeout=SLACK_S, interface=point.interface, protocols=protocols)
    return int(answer["sniff"])


def _end(job: tuple[Point, int, str, int, bool]) -> _Seen:
    point, number, nonce, size, raw = job
    match: dict[str, Any] = {"nonce": nonce}
    if point.flow:
        flow = {"protocol": point.flow.protocol, "port": point.flow.port, "ends": point.ends}
        match = {"flow": flow, "at_least": size}
    capture = point.agent.call("stop_sniff", timeout=SLACK_S, sniff=number, raw=raw, **match)
    return _Seen(point, capture)


def _abandon(point: Point, number: int) -> None:
    try:
        point.agent.call("stop_sniff", timeout=SLACK_S, sniff=number)
    except AgentError:
        return  # a first error is on its way up already


def _send(src: Peer, dst: Peer, protocol: str, nonce: str, how: tuple[int, int, float, int]) -> bool:
    size, count, wait_s, attempts = how
    target = {"dst": dst.address, "size": size, "nonce": nonce}
    if protocol == "udp":
        target["port"] = dst.agent.udp_port
    for _packet in range(count):
        answer = src.agent.call(
            f"{protocol}_echo", timeout=2 * wait_s + SLACK_S, targets=[target], attempts=attempts, wait=wait_s
        )
        if answer["results"][0]["outcome"] != "reply":
            return False
    return True


def _judge(seen: list[_Seen], answered: bool) -> tuple[Outcome, str, str]:
    reached = [bool(entry.requests) for entry in seen]
    rewritten = _rewritten(seen)
    if not all(reached):
        first = reached.index(False)
        missing = seen[first].point.label
        last = seen[first - 1].point.label if first else ""
        if any(reached[first:]):
            later = next(e.point.label for e in seen[first:] if e.requests)
            return Outcome.BYPASSED, later, f"seen at {later}, not at {missing} before it"
        text = f"never seen, not even at {missing}"
        if first:
            astray = seen[first - 1].requests[0]["dir"] == "other"
            text = f"last seen at {last}{' (sent to another link address)' * astray}, not at {missing}"
        return Outcome.LOST, last, f"{text}; {rewritten}" if rewritten else text
    last = seen[-1].point.label
    if rewritten:
        return Outcome.REWRITTEN, last, rewritten
    if not answered:
        back = [entry.point.label for entry in seen if entry.replies]
        where = f"the answer was last seen at {back[0]}" if back else "no point saw an answer"
        return Outcome.UNANSWERED, last, f"requests reached {last}; {where}"
    return Outcome.OK, last, ""


def _rewritten(seen: list[_Seen]) -> str:
    """Say where the addresses of the packet itself (not of what carries it) change."""
    before: tuple[str, str] | None = None
    for entry in seen:
        for packet in entry.plain[:1]:
            now = (str(packet["src"]), str(packet["dst"]))
            if before is not None and now != before:
                return f"{before[0]} → {before[1]} became {now[0]} → {now[1]} at {entry.point.label}"
            before = now
    return ""


def _filename(label: str) -> str:
    return "".join(c if c.isalnum() or c in "-_." else "-" for c in label)
