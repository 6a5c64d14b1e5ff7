"""Path MTU to the byte, with the reason of the limit.

A hop's frag-needed names the next size to try, so a healthy path costs three or four packets: a small
one, the interface's MTU, the size that was named, and one byte more. Where nothing answers, a search
sends many sizes at once, so that a black hole costs a few waits and not one for each halving.
Sources: RFC 1191; ip(7), IP_PMTUDISC_PROBE and IP_RECVERR.
"""

from __future__ import annotations

import select
import time
from dataclasses import dataclass, field
from typing import Any

from . import netlink
from .flows import Flow, IcmpFlow, UdpFlow
from .wire import Refusal, Reply

ALIVE = 64
LARGEST = 65535
WAYS = 16  # sizes in one round of a search
FIRST_WAIT_S = 1.2  # cold neighbours, a proxy's ARP delay
SLOWEST_S = 0.5


@dataclass(slots=True)
class Search:
    """What is known of the path so far: `good` passed, everything from `bad` up did not."""

    flow: Flow
    good: int = 0
    bad: int = LARGEST + 1
    wait: float = SLOWEST_S
    seq: int = 0
    refusal: Refusal | None = None
    log: list[dict[str, Any]] = field(default_factory=list)

    def ask(self, sizes: list[int], attempts: int, wait: float) -> dict[int, Reply | Refusal]:
        """Probe sizes at once; silent ones again. Sizes below one that passed are not repeated."""
        known: dict[int, Reply | Refusal] = {}
        for _attempt in range(attempts):
            passed = max((s for s, event in known.items() if isinstance(event, Reply)), default=0)
            todo = [size for size in sizes if size not in known and size > passed]
            if not todo:
                break
            self._round(todo, known, wait)
        for size in sizes:
            self.log.append({"size": size} | describe(known.get(size)))
        return known

    def _round(self, sizes: list[int], known: dict[int, Reply | Refusal], wait: float) -> None:
        self.flow.drain()
        by_seq: dict[int, int] = {}
        for size in sizes:
            self.seq += 1
            refusal = self.flow.send(self.seq, size)
            if refusal is not None:
                known[size] = refusal
            else:
                by_seq[self.seq] = size
        until = time.monotonic() + wait
        poller = select.poll()
        poller.register(self.flow.fileno(), select.POLLIN)
        while any(size not in known for size in by_seq.values()):
            left = until - time.monotonic()
            if left <= 0:
                return
            poller.poll(left * 1000 + 1)
            for event in self.flow.events():
                # an error that quotes too little to tell belongs to the only size there is
                seq = next(iter(by_seq)) if event.seq is None and len(by_seq) == 1 else event.seq
                if seq in by_seq:
                    known[by_seq[seq]] = event

    def note(self, known: dict[int, Reply | Refusal], sizes: list[int]) -> None:
        """Move `good` and `bad` by what a round showed."""
        passed = [size for size in sizes if isinstance(known.get(size), Reply)]
        self.good = max([self.good, *passed])
        above = [size for size in sizes if size > self.good]
        if above and min(above) <= self.bad:
            self.bad = min(above)
            event = known.get(self.bad)
            self.refusal = event if isinstance(event, Refusal) else None


def describe(event: Reply | Refusal | None) -> dict[str, Any]:
    """Return an event as a line of the probes' log."""
    if event is None:
        return {"outcome": "silence"}
    if isinstance(event, Reply):
        return {"outcome": "reply"}
    return {"outcome": event.name(), "hop": event.hop, "mtu": event.mtu}


def pmtu(dst: str, via: str = "icmp", port: int = 0, wait: float = FIRST_WAIT_S) -> dict[str, Any]:
    """Find the path MTU to `dst` by ICMP echo, or one way by UDP to the responder at `port`.

    `wait` is the limit of each of the two first packets in seconds; later ones follow the round trip.
    Returns mtu (bytes at the IP layer; None without any answer), limit (local-limit, frag-needed,
    blackhole, unreachable, timeout), hop, code, probes (size and outcome each) and wait_ms (of one probe).
    """
    flow: Flow = UdpFlow(dst, port) if via == "udp" else IcmpFlow(dst)
    search = Search(flow)
    try:
        dead = _alive(search, wait)
        if dead is not None:
            return dead
        try:
            first = min(netlink.link(netlink.route(dst)["index"])["mtu"], LARGEST)
        except OSError:
            first = 1500  # the route went after the first reply; the search decides
        _climb(search, first)
        return _report(search)
    finally:
        flow.close()


def _alive(search: Search, wait: float) -> dict[str, Any] | None:
    known = search.ask([ALIVE], 2, wait)
    event = known.get(ALIVE)
    if isinstance(event, Reply):
        start = time.monotonic()
        search.ask([ALIVE], 1, SLOWEST_S)
        rtt = time.monotonic() - start
        search.good, search.wait = ALIVE, min(SLOWEST_S, 0.12 + 4 * rtt)
        return None
    answer: dict[str, Any] = {"mtu": None, "probes": search.log, "hop": "", "code": ""}
    if isinstance(event, Refusal):
        return answer | {"limit": "unreachable", "hop": event.hop, "code": event.name()}
    return answer | {"limit": "timeout", "code": netlink.next_hop(search.flow.dst)}


def _climb(search: Search, first: int) -> None:
    """Follow what the hops say; where they say nothing, search."""
    size = first
    for _step in range(64):
        known = search.ask([size], 1, search.wait)
        search.note(known, [size])
        event = known.get(size)
        if event is None:
            _bisect(search)
        if search.bad - search.good <= 1 and (search.refusal is not None or _confirm(search)):
            return
        named = event.mtu if isinstance(event, Refusal) else 0
        if search.good < named < search.bad:
            size = named
        elif isinstance(event, Refusal) and search.bad - search.good > 1:
            # a refusal without a size (RFC 792 routers), or one that cannot be true
            size = (search.good + search.bad) // 2
        else:
            size = search.good + 1


def _bisect(search: Search) -> None:
    while search.bad - search.good > 1:
        gap = search.bad - search.good
        ways = min(WAYS, gap - 1)
        sizes = sorted({search.good + gap * i // (ways + 1) for i in range(1, ways + 1)} - {search.good})
        search.note(search.ask(sizes, 2, search.wait), sizes)


def _confirm(search: Search) -> bool:
    """Silence may be a lost packet: give the first bad size longer before it is called a black hole."""
    size = search.bad
    event = search.ask([size], 2, max(0.3, search.wait)).get(size)
    if isinstance(event, Reply):
        search.good, search.bad = size, LARGEST + 1
        return False
    search.refusal = event
    return True


def _report(search: Search) -> dict[str, Any]:
    refusal = search.refusal
    limit, hop, code = "blackhole", "", ""
    if refusal is not None:
        limit = "local-limit" if refusal.local else "frag-needed" if refusal.frag_needed else "unreachable"
        hop, code = refusal.hop, refusal.name()
    answer = {"mtu": search.good, "limit": limit, "hop": hop, "code": code}
    return answer | {"probes": search.log, "wait_ms": round(search.wait * 1000, 1)}
