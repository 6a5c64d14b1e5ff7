"""Which packets of a capture carry a probe's, told by how often they came; and which nobody declared."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from overlab.model import Flow, Promise

from .agent.sniff import PROTOCOLS

HOP_BY_HOP, IGMP, ICMPV6 = "0", "2", "58"  # every MLD report has a hop-by-hop header (RFC 3810)


@dataclass(frozen=True, slots=True)
class Carrier:
    """Outer packets of one size, in one flow, that come once (or `times`) for each inner packet."""

    label: str
    protocol: str
    ends: tuple[str, str]
    ports: frozenset[int]
    length: int
    times: int

    @property
    def size(self) -> int:
        """Bytes of the outer IP packets for one inner packet."""
        return self.length * self.times

    def __str__(self) -> str:
        times = f"{self.times} × " if self.times > 1 else ""
        return f"{times}{self.length} in {self.label}"


class Capture:
    """What `stop_sniff(nonce=...)` returned of one interface."""

    def __init__(self, node: str, answer: dict[str, Any]) -> None:
        self.at = f"{node} {answer['interface']}"
        self.lost = int(answer["lost"])
        self.conversations: list[dict[str, Any]] = answer["conversations"]
        self.marked: list[dict[str, Any]] = answer["packets"]


@dataclass(frozen=True)
class Way:
    """One direction: what is promised, and the capture where it leaves.

    `ends` are the underlay addresses of the nodes, `inner` those of the containers, from source to
    destination; `count` packets left.
    """

    promise: Promise
    ends: tuple[str, str]
    inner: tuple[str, str]
    capture: Capture
    count: int
    refused: str = ""

    @property
    def wanted(self) -> str:
        """What must carry the packets, in words."""
        flow = self.promise.outer
        return f"{_named(flow)} to {self.ends[1]}" if flow else f"packets of its own to {self.inner[1]}"

    def promised(self, carrier: Carrier) -> bool:
        """True for what may carry the packets, between the right ends."""
        return self._fits(carrier.protocol, carrier.ends, carrier.ports)

    def _fits(self, protocol: str, ends: tuple[str, str], ports: Collection[int]) -> bool:
        flow = self.promise.outer
        if flow is None:
            return ends == self.inner
        port = flow.port is None or flow.port in ports
        return ends == self.ends and protocol == flow.protocol and port

    def carriers(self) -> list[Carrier]:
        """Return what left the node at least once for each inner packet; [] when none left."""
        if not self.count:
            return []
        sizes: dict[tuple[Any, ...], Counter[int]] = {}
        for talk in self.capture.conversations:
            if talk["src"] in (self.ends[0], self.inner[0]):
                # the source port may be a hash of the inner flow (RFC 7348), another one for each echo
                port = talk["dport"] if not self._in_flow(talk) else 0
                key = (_label(talk), talk["protocol"], talk["src"], talk["dst"], port)
                counted = sizes.setdefault(key, Counter())
                counted.update({int(size): n for size, n in talk["sizes"].items()})
        ports = self.promise.outer.port if self.promise.outer else None
        return [
            Carrier(label, protocol, (src, dst), frozenset({port or ports or 0}), length, n // self.count)
            for (label, protocol, src, dst, port), counted in sizes.items()
            for length, n in sorted(counted.items())
            if n >= self.count
        ]

    def readable(self) -> dict[str, bool]:
        """Return the flows in which the nonce can be read: their labels, and whether they are the right one.

        Of an encrypted overlay any direction tells; else only what goes this way is this way's.
        """
        names = {number: name for name, number in PROTOCOLS.items()}
        found: dict[str, bool] = {}
        for packet in self.capture.marked:
            if not self.promise.encrypted and packet["src"] not in (self.ends[0], self.inner[0]):
                continue
            protocol = names.get(packet["protocol"], str(packet["protocol"]))
            ends, ports = (packet["src"], packet["dst"]), (packet["sport"], packet["dport"])
            found[_label(packet | {"protocol": protocol})] = self._fits(protocol, ends, ports)
        return found

    def _in_flow(self, talk: dict[str, Any]) -> bool:
        return self.promise.outer is not None and _matches(self.promise.outer, talk)


def _label(talk: dict[str, Any]) -> str:
    port = f"/{talk['dport']}" if talk["dport"] else ""
    return f"{talk['protocol']}{port} to {talk['dst']}"


def _named(flow: Flow) -> str:
    return f"{flow.protocol}/{flow.port}" if flow.port else flow.protocol


def _matches(flow: Flow, talk: dict[str, Any]) -> bool:
    port = flow.port is None or flow.port in (talk["sport"], talk["dport"])
    return bool(flow.protocol == talk["protocol"] and port)


def strays(captures: Iterable[Capture], promise: Promise, members: set[str]) -> list[str]:
    """Return, in words, the conversations that are neither the overlay's nor the interface's own.

    Of the overlay: in its outer protocol, a declared control flow, or between two of `members`. Of the
    interface: what a kernel says to its link alone (multicast membership, IPv6 neighbours and routers).
    """
    flows = [*([promise.outer] if promise.outer else []), *promise.control]
    found: dict[tuple[str, str, frozenset[str]], None] = {}
    for capture in captures:
        for talk in capture.conversations:
            ours = {talk["src"], talk["dst"]} <= members or any(_matches(flow, talk) for flow in flows)
            if not ours and not _housekeeping(talk):
                ends = frozenset({f"{talk['src']}:{talk['sport']}", f"{talk['dst']}:{talk['dport']}"})
                found[capture.at, talk["protocol"], ends] = None
    return [f"{at}: {protocol} between {' and '.join(sorted(ends))}" for at, protocol, ends in found]


def _housekeeping(talk: dict[str, Any]) -> bool:
    if talk["protocol"] not in (HOP_BY_HOP, IGMP, ICMPV6):
        return False
    dst = ip_address(talk["dst"])
    return dst.is_multicast or dst.is_link_local
