"""Do 20 MB arrive as they were sent, and without a stall?

Method: one TCP stream of random bytes; both ends hash it, and the receiver keeps the longest pause between
two of its reads. A ping does not see what this sees: a path MTU black hole that opens with full segments, a
checksum that is wrong for TCP alone, a queue that stops.
Sources: RFC 2923 section 2.1 (a connection that hangs after its handshake).
"""

from __future__ import annotations

import time
from enum import StrEnum
from typing import Any

from overlab.model import Finding

from .client import AgentTimeoutError, Peer
from .common import elapsed_ms, refusal_text

PROBE = "bulk"
BYTES = 20_000_000
STALL_S = 1.0
WAIT_S = 3.0
LIMIT_S = 60.0


class Outcome(StrEnum):
    """Classes of this probe."""

    OK = "ok"
    CORRUPTED = "corrupted"
    STALLED = "stalled"
    TIMEOUT = "timeout"
    UNREACHABLE = "unreachable"


def check(
    src: Peer,
    dst: Peer,
    *,
    size: int = BYTES,
    stall_s: float = STALL_S,
    wait_s: float = WAIT_S,
    limit_s: float = LIMIT_S,
) -> Finding:
    """Send `size` bytes; the Finding's value is MB/s from the first byte to the receiver's digest.

    `stall_s` is the longest pause at the receiver that passes; `wait_s` how long the connection, or one
    block of the transfer, may make no progress; `limit_s` ends it whatever happens.
    """
    start = time.monotonic()
    target = {"dst": dst.address, "port": dst.agent.tcp_port, "bytes": size}
    try:
        answer = src.agent.call("tcp_echo", timeout=limit_s, targets=[target], wait=wait_s)
        result: dict[str, Any] = answer["results"][0]
        outcome, reason = _judge(result, size, stall_s)
    except AgentTimeoutError:
        # the agent still tries; its answer, when it comes, is for nobody
        result, outcome, reason = {}, Outcome.TIMEOUT, f"not done after {limit_s:g} s"
    done = result.get("outcome") == "reply" and result["ms"] > 0
    return Finding(
        PROBE,
        outcome,
        round(size / 1e3 / result["ms"], 2) if done else None,
        "MB/s",
        src=str(src),
        dst=str(dst),
        reason=reason,
        evidence={"bytes": size, "stall_limit_ms": stall_s * 1000} | result,
        duration_ms=elapsed_ms(start),
    )


def _judge(result: dict[str, Any], size: int, stall_s: float) -> tuple[Outcome, str]:
    if result["outcome"] == "refused":
        return Outcome.UNREACHABLE, f"{refusal_text(result['error'])} ({result['stage']})"
    if result["outcome"] == "timeout" and result["stage"] == "connect":
        return Outcome.UNREACHABLE, f"no connection; {result['next_hop']}"
    if result["outcome"] == "timeout":
        return Outcome.TIMEOUT, f"connected, and then no progress; {result['next_hop']}"
    if not result["intact"]:
        return Outcome.CORRUPTED, f"the SHA-256 of {size} bytes differs"
    if result["stall_ms"] > stall_s * 1000:
        return (
            Outcome.STALLED,
            f"no byte for {result['stall_ms']:.0f} ms; at most {stall_s * 1000:.0f} ms are allowed",
        )
    return Outcome.OK, ""
