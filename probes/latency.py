"""How long does a small packet take there and back?

Method: requests on a fixed schedule, each counted from the moment it was meant to leave, with the kernel's
stamp on the answer; every sample is kept, and percentiles are taken once, of all of them. The peer's
responder is a process, so a figure holds its share of waking up: beside its control, not by itself.
Source: the schedule is what avoids 'coordinated omission' (a slow answer must not silence the next request).
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from enum import StrEnum
from typing import Any

from overlab.model import Finding

from .client import Peer
from .common import elapsed_ms

PROBE = "latency"
RATE = 100.0
SIZE = 64
LOST_SHARE = 0.01
WAIT_S = 1.0
SLACK_S = 15.0
PERCENTILES = (50.0, 90.0, 99.0, 100.0)


class Outcome(StrEnum):
    """Classes of this probe."""

    OK = "ok"
    LOSSY = "lossy"
    UNREACHABLE = "unreachable"


def measure(
    src: Peer,
    dst: Peer,
    *,
    seconds: float = 5.0,
    rate: float = RATE,
    size: int = SIZE,
    lost_share: float = LOST_SHARE,
    wait_s: float = WAIT_S,
) -> Finding:
    """Return the median round trip in µs; evidence["samples"] are all of them, in the order of sending.

    `rate` is requests a second, `size` the IP packet's bytes; lost is what has not come `wait_s` after the
    last request. More than `lost_share` lost is lossy, for then what came back is not what was asked for.
    evidence["percentiles"] are of these samples alone: never average them over several findings.
    """
    start = time.monotonic()
    args: dict[str, Any] = {"seconds": seconds, "rate": rate, "size": size, "wait": wait_s}
    args |= {"dst": dst.address, "port": dst.agent.udp_port}
    answer = src.agent.call("latency", timeout=seconds + SLACK_S, **args)
    samples = [float(sample) for sample in answer["samples_us"] if sample is not None]
    outcome, reason = Outcome.OK, ""
    if not samples:
        outcome, reason = Outcome.UNREACHABLE, f"none of {answer['sent']} came back; {answer['next_hop']}"
    elif answer["lost"] > lost_share * answer["sent"]:
        outcome, reason = Outcome.LOSSY, f"{answer['lost']} of {answer['sent']} were lost"
    evidence: dict[str, Any] = {key: answer[key] for key in ("sent", "lost", "late_us")}
    ranks = {f"p{rank:g}": percentile(samples, rank) for rank in PERCENTILES} if samples else {}
    return Finding(
        PROBE,
        outcome,
        ranks.get("p50"),
        "µs",
        src=str(src),
        dst=str(dst),
        reason=reason,
        evidence=evidence
        | {"samples": samples, "percentiles": ranks, "rate": rate, "size": size, "seconds": seconds},
        duration_ms=elapsed_ms(start),
    )


def percentile(samples: Sequence[float], rank: float) -> float:
    """Return the smallest sample that at least `rank` percent do not exceed (nearest rank)."""
    ordered = sorted(samples)
    return ordered[max(0, math.ceil(len(ordered) * rank / 100) - 1)]
