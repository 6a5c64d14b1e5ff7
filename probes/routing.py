"""Which way do packets go, through how many routers, and do they arrive as they were sent?

Method: the source's kernel is asked for its route (device, gateway, source address); then five requests
of one UDP flow leave with TTL 64, and the peer's responder says which TTL, source address and port it
saw. Routers on the way = 64 − TTL seen. Each direction is a finding of its own.
Sources: RFC 1812 section 5.3.1 (every router lowers the TTL by one); rtnetlink(7), RTM_GETROUTE.
"""

from __future__ import annotations

import time
from enum import StrEnum
from typing import Any

from overlab.model import Finding

from .client import Peer
from .common import at_once, elapsed_ms, refusal_text

PROBE = "routing"
TTL = 64
COUNT = 5
WAIT_S = 1.2
LIMIT_S = 25.0


class Outcome(StrEnum):
    """Classes of this probe, in the order in which they are judged."""

    OK = "ok"
    UNREACHABLE = "unreachable"
    WRONG_ROUTE = "wrong-route"
    SOURCE_REWRITTEN = "source-rewritten"
    UNSTABLE = "unstable"
    WRONG_HOPS = "wrong-hops"


def check(
    src: Peer,
    dst: Peer,
    *,
    hops: int | None = None,
    device: str | None = None,
    gateway: tuple[str, str] | None = None,
    wait_s: float = WAIT_S,
) -> list[Finding]:
    """Look both ways: one Finding forward, one reverse; see `one_way`. `gateway` is src's and dst's."""
    first, second = gateway or (None, None)
    ways = [(src, dst, first), (dst, src, second)]

    def look(way: tuple[Peer, Peer, str | None]) -> Finding:
        return one_way(way[0], way[1], hops=hops, device=device, gateway=way[2], wait_s=wait_s)

    return at_once(look, ways)


def one_way(
    src: Peer,
    dst: Peer,
    *,
    hops: int | None = None,
    device: str | None = None,
    gateway: str | None = None,
    wait_s: float = WAIT_S,
) -> Finding:
    """Return the routers between `src` and `dst` as the Finding's value.

    What is None is not judged; `gateway` "" means on-link. The route's source must be `src.address`.
    """
    start = time.monotonic()
    route = src.agent.call("route_get", timeout=LIMIT_S, targets=[dst.address])["routes"][0]
    args = {"dst": dst.address, "port": dst.agent.udp_port, "count": COUNT, "ttl": TTL, "wait": wait_s}
    train = src.agent.call("udp_train", timeout=LIMIT_S, **args)
    outcome, reason = _judge(src, route, train, {"dev": device, "gateway": gateway}, hops)
    seen = [TTL - result["seen"]["ttl"] for result in train["results"] if result.get("seen")]
    return Finding(
        PROBE,
        outcome,
        seen[0] if seen else None,
        "hops",
        hops,
        src=str(src),
        dst=str(dst),
        reason=reason,
        evidence={"route": route, "hops": seen, "train": train},
        duration_ms=elapsed_ms(start),
    )


def _judge(
    src: Peer,
    route: dict[str, Any],
    train: dict[str, Any],
    wanted: dict[str, str | None],
    hops: int | None,
) -> tuple[Outcome, str]:
    if "error" in route:
        return Outcome.UNREACHABLE, f"no route: {route['error']}"
    for key, value in (wanted | {"source": src.address}).items():
        if value is not None and route[key] != value:
            return Outcome.WRONG_ROUTE, f"{key} is {route[key] or 'none'}, not {value or 'none'}"
    last = train["results"][-1]
    if last["outcome"] == "refused":
        return Outcome.UNREACHABLE, refusal_text(last["error"])
    if last["outcome"] == "timeout":
        return Outcome.UNREACHABLE, f"no answer in {last['attempts']} attempts; {last['next_hop']}"
    sent = (src.address, train["local_port"])
    seen = [result["seen"] for result in train["results"]]
    for entry in seen:
        if (entry["source"], entry["port"]) != sent:
            return (
                Outcome.SOURCE_REWRITTEN,
                f"sent from {sent[0]}:{sent[1]}, arrived from {entry['source']}:{entry['port']}",
            )
    counts = [TTL - entry["ttl"] for entry in seen]
    if len(set(counts)) > 1:
        return Outcome.UNSTABLE, f"one flow took {counts} hops"
    if hops is not None and counts[0] != hops:
        return Outcome.WRONG_HOPS, f"{counts[0]} routers lowered the TTL, not {hops}"
    return Outcome.OK, ""
