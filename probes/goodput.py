"""How much TCP payload arrives in a second?

Method: one or more streams of the kernel's own sockets for some seconds, counted where they arrive, so that
what waits in the sender's buffers is not counted before it is there. What counts is the time in which all
streams run: at the end, a stream that waits for a retransmission leaves the link to nobody. Where the
underlay is shaped there is an oracle: rate × (MTU − 52) / bytes on the wire of a full segment (IPv4 20 +
TCP 20 + time stamps 12).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from enum import StrEnum
from itertools import pairwise
from typing import Any

from overlab.model import Finding

from .client import AgentTimeoutError, Peer
from .common import elapsed_ms, refusal_text

PROBE = "goodput"
IDLE_S = 3.0
PART_S = 0.5
SLACK_S = 25.0


class Outcome(StrEnum):
    """Classes of this probe."""

    OK = "ok"
    STALLED = "stalled"
    UNREACHABLE = "unreachable"


def measure(
    src: Peer,
    dst: Peer,
    *,
    seconds: float = 5.0,
    streams: int = 1,
    idle_s: float = IDLE_S,
    cpu: Callable[[], float] | None = None,
) -> Finding:
    """Return Mbit/s at the receiver; evidence["samples"] are its parts of half a second.

    A stream that makes no progress for `idle_s` has stalled. `cpu` reads the CPU seconds spent so far by
    whatever is to be counted (all nodes of the lab): then evidence["cpu_s_per_gbit"] holds one figure.
    Raises AgentError.
    """
    start, spent = time.monotonic(), cpu() if cpu else 0.0
    args: dict[str, Any] = {"dst": dst.address, "port": dst.agent.tcp_port, "seconds": seconds}
    args |= {"streams": streams, "idle": idle_s}
    try:
        answer = src.agent.call("goodput", timeout=seconds + SLACK_S, **args)
    except AgentTimeoutError:
        answer = {"outcome": "timeout", "stage": "transfer", "streams": [], "next_hop": ""}
    outcome, reason = _judge(answer)
    counted: list[dict[str, Any]] = answer["streams"]
    evidence: dict[str, Any] = {"streams": streams, "seconds": seconds}
    evidence["retransmitted"] = answer.get("retransmitted")
    value = None
    if outcome is Outcome.OK:
        total = sum(stream["bytes"] for stream in counted)
        begin, end = window(counted)
        value = _rate(counted, begin, end)
        evidence |= {"bytes": total, "counted_s": round(end - begin, 3), "samples": parts(counted) or [value]}
        evidence["share_of_each"] = [round(stream["bytes"] / total, 4) for stream in counted]
        if cpu is not None:
            evidence["cpu_s_per_gbit"] = [(cpu() - spent) / (total * 8e-9)]
    return Finding(
        PROBE,
        outcome,
        value,
        "Mbit/s",
        src=str(src),
        dst=str(dst),
        reason=reason,
        evidence=evidence,
        duration_ms=elapsed_ms(start),
    )


def _judge(answer: dict[str, Any]) -> tuple[Outcome, str]:
    if answer["outcome"] == "reply":
        dead = sum(not s["ended"] or not s["marks"] for s in answer["streams"])
        if dead:
            return Outcome.STALLED, f"{dead} streams died"
        begin, end = window(answer["streams"])
        return (Outcome.OK, "") if end > begin else (Outcome.STALLED, "the streams never ran all at once")
    why = refusal_text(answer["error"]) if "error" in answer else f"no progress; {answer['next_hop']}"
    return (Outcome.UNREACHABLE if answer["stage"] == "connect" else Outcome.STALLED), why


def window(streams: Sequence[dict[str, Any]]) -> tuple[float, float]:
    """Return the time in which all streams ran, on the receiver's clock."""
    begin = max(stream["marks"][0][0] for stream in streams)
    return begin, min(stream["marks"][-1][0] for stream in streams)


def parts(streams: Sequence[dict[str, Any]]) -> list[float]:
    """Return Mbit/s of every half second in which all streams ran."""
    begin, end = window(streams)
    moments = [begin + i * PART_S for i in range(int((end - begin) / PART_S) + 1)]
    return [_rate(streams, *ends) for ends in pairwise(moments)]


def _rate(streams: Sequence[dict[str, Any]], begin: float, end: float) -> float:
    got = sum(_bytes_at(stream["marks"], end) - _bytes_at(stream["marks"], begin) for stream in streams)
    return round(got * 8e-6 / (end - begin), 3)


def _bytes_at(marks: Sequence[Sequence[float]], at: float) -> float:
    """Return what a stream had received at a moment, between its marks by a straight line."""
    for (before, low), (after, high) in pairwise(marks):
        if before <= at <= after:
            return low + (high - low) * (at - before) / (after - before)
    return marks[-1][1] if at > marks[-1][0] else marks[0][1]
