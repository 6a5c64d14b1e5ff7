"""What is the largest packet that gets through whole, and what refuses one byte more?

Method: two searches a direction with the kernel's own sockets, DF set and cached path MTUs ignored: ICMP
echo, and UDP that is acknowledged in a small packet. Echo cannot see asymmetry (its answer is as large
as itself), so the one-way UDP value is the one that is judged, and echo's is evidence. Then packets of
exactly that size are sent beside fragment counters: a tunnel that fragments its outer packets in silence
has no path MTU worth the name.
Sources: RFC 1191; ip(7), IP_PMTUDISC_PROBE; RFC 2923 (black holes); RFC 4293 (fragment counters).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any

from overlab.model import Finding

from .client import Peer
from .common import at_once, elapsed_ms

PROBE = "mtu"
SEARCH_S = 30.0
VERIFY = 3
WAIT_S = 1.2
FRAGMENTS = ("FragOKs", "FragFails", "FragCreates", "ReasmReqds", "ReasmOKs", "ReasmFails")

Counters = Callable[[], Mapping[str, int]]


class Outcome(StrEnum):
    """Classes of this probe. A size that is not the promised one is named by what limits it."""

    OK = "ok"
    LOCAL_LIMIT = "local-limit"
    FRAG_NEEDED = "frag-needed"
    BLACKHOLE = "blackhole"
    SILENT_FRAGMENTATION = "silent-fragmentation"
    ASYMMETRIC = "asymmetric"
    UNREACHABLE = "unreachable"
    TIMEOUT = "timeout"


def check(
    src: Peer,
    dst: Peer,
    *,
    promised: int | None = None,
    counters: Counters | None = None,
    wait_s: float = WAIT_S,
) -> list[Finding]:
    """Measure both directions; one Finding each, whose value is the path MTU in bytes at the IP layer.

    `promised` is compared to the byte (None: any value with a named limit is ok, but the two directions
    must agree). `counters` returns the fragment counters of where the tunnel's outer packets are made
    (the nodes): names and counts, of which only changes matter; without it the counters of both ends'
    own namespaces are read. `wait_s` is the limit of a first packet, which is sent twice. Raises
    AgentError when an agent fails.
    """
    start = time.monotonic()
    ways = [(src, dst), (dst, src)]
    searches = at_once(
        lambda way: _search(*way, wait_s), [(a, b, via) for a, b in ways for via in ("udp", "icmp")]
    )
    pairs = [(searches[0], searches[1]), (searches[2], searches[3])]
    # one way at a time: both share the counters
    changes = [_fragments(a, b, _one_way(found), counters) for (a, b), found in zip(ways, pairs, strict=True)]
    sizes = [_one_way(found)["mtu"] for found in pairs]
    return [
        _finding(a, b, pairs[i], changes[i], (promised, sizes[1 - i]), start) for i, (a, b) in enumerate(ways)
    ]


def _search(src: Peer, dst: Peer, via: str, wait_s: float) -> dict[str, Any]:
    args = {"dst": dst.address, "via": via, "port": dst.agent.udp_port, "wait": wait_s}
    return src.agent.call("pmtu", timeout=SEARCH_S, **args)


def _one_way(found: tuple[dict[str, Any], dict[str, Any]]) -> dict[str, Any]:
    """Return UDP's search, or echo's where UDP is not let through at all.

    Of two that met nothing but refusal, the one that has its name: routers limit their ICMP errors
    (Linux: about two at once, then one in two seconds), so the other may look like silence.
    """
    udp, icmp = found
    if udp["mtu"] is not None:
        return udp
    return icmp if icmp["mtu"] is not None or icmp["limit"] != Outcome.TIMEOUT else udp


def _fragments(src: Peer, dst: Peer, search: dict[str, Any], counters: Counters | None) -> dict[str, int]:
    """Return which fragment counters change when packets of exactly the path MTU are sent, and by how much.

    A change must show twice: other traffic on a node may be fragmented once.
    """
    if search["mtu"] is None:
        return {}
    read = counters or (lambda: _own_counters(src, dst))
    target = {"dst": dst.address, "port": dst.agent.udp_port, "size": search["mtu"]}
    changed: dict[str, int] = {}
    for _round in range(2):
        before = read()
        for _packet in range(VERIFY):
            src.agent.call("udp_echo", timeout=SEARCH_S, targets=[target])
        after = read()
        changed = {key: after[key] - before.get(key, 0) for key in after if after[key] != before.get(key, 0)}
        if not changed:
            return {}
    return changed


def _own_counters(src: Peer, dst: Peer) -> dict[str, int]:
    read: dict[str, int] = {}
    for peer in (src, dst):
        found = peer.agent.call("ip_counters", timeout=SEARCH_S)
        read |= {f"{peer}: {name}": found[name] for name in FRAGMENTS}
    return read


def _finding(
    src: Peer,
    dst: Peer,
    found: tuple[dict[str, Any], dict[str, Any]],
    changed: dict[str, int],
    expected: tuple[int | None, int | None],
    start: float,
) -> Finding:
    search = _one_way(found)
    outcome, reason = _judge(search, changed, *expected)
    evidence = {"limit": search["limit"], "hop": search["hop"], "code": search["code"]}
    evidence |= {"udp": found[0], "icmp": found[1], "fragments": changed, "reverse": expected[1]}
    return Finding(
        PROBE,
        outcome,
        search["mtu"],
        "bytes",
        expected[0],
        src=str(src),
        dst=str(dst),
        reason=reason,
        evidence=evidence,
        duration_ms=elapsed_ms(start),
    )


def _judge(
    search: dict[str, Any], changed: dict[str, int], promised: int | None, reverse: int | None
) -> tuple[Outcome, str]:
    size, limit = search["mtu"], Outcome(search["limit"])
    if size is None:
        return limit, _limit_text(search)
    if limit in (Outcome.BLACKHOLE, Outcome.UNREACHABLE):
        return limit, f"{size} bytes pass, {size + 1} do not: {_limit_text(search)}"
    if changed:
        counted = ", ".join(f"{name} +{count}" for name, count in changed.items())
        return Outcome.SILENT_FRAGMENTATION, f"{size} bytes pass in fragments: {counted}"
    if promised is not None and size == promised:
        return Outcome.OK, ""
    if reverse is not None and reverse != size:
        return Outcome.ASYMMETRIC, f"{size} bytes this way ({_limit_text(search)}), {reverse} back"
    if promised is None:
        return Outcome.OK, ""
    return limit, f"{size} bytes, not {promised}: {_limit_text(search)}"


def _limit_text(search: dict[str, Any]) -> str:
    code, hop = search["code"], search["hop"]
    texts = {
        Outcome.LOCAL_LIMIT: "the interface's own MTU",
        Outcome.FRAG_NEEDED: f"frag-needed from {hop}",
        Outcome.BLACKHOLE: "larger packets vanish, and nobody says so",
        Outcome.UNREACHABLE: f"{code} from {hop}" if hop else f"{code} here",
        Outcome.TIMEOUT: f"no answer at all; {code}",
    }
    return texts[Outcome(search["limit"])]
