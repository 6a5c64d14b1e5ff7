"""Why does a packet not arrive on the WireGuard bridge? Its way is followed, then the cause is read.

    container - ovl0 - wg0 - eth1 ~~~ UDP 12345 ~~~ eth1 - wg0 - ovl0 - container

Where it was last seen narrows the cause down to one or two; the node there tells which.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from ipaddress import IPv4Address

from fixtures.lab import Lab
from fixtures.node import Node
from fixtures.vantages import Vantages
from overlab.model import Endpoint, Finding, Flow
from probes import trace
from probes.trace import Point

SIZE = 1000  # larger than any gossip of Serf, which shares the tunnel


class Cause(StrEnum):
    """Classes of this diagnosis."""

    OK = "ok"
    OUTSIDE = "outside-the-overlay"
    NO_PROXY_ARP = "proxy-arp-off"
    ROUTE_BY_BRIDGE = "route-by-ovl0"
    SOURCE_REWRITTEN = "source-rewritten"
    UNDERLAY_BLOCKED = "underlay-blocked"
    FORWARD_DROP = "forward-drop"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Case:
    """What a rule looks at: the way's two nodes, the ends, and what was seen."""

    near: Node
    far: Node
    src: Endpoint
    dst: Endpoint
    way: Finding

    def reached(self, label: str) -> bool:
        """True when the packet was seen at a point."""
        points = {p["point"]: p for p in self.way.evidence["points"]}
        return bool(points[label]["requests"])

    def source_at(self, label: str) -> str:
        """Return the source address that the packet had at a point."""
        points = {p["point"]: p for p in self.way.evidence["points"]}
        return str(points[label]["first"].get("src", ""))


def follow(
    lab: Lab, vantages: Vantages, src: Endpoint, dst: Endpoint, port: int, *, wait_s: float = 0.6
) -> Finding:
    """Follow one packet from `src` to `dst`; the finding's class is the cause, the evidence the way.

    `wait_s` is how long an answer may take: with a cold neighbour cache, longer than proxy_delay.
    """
    near, far = lab.node(src.node), lab.node(dst.node)
    outer = Flow("udp", port)
    ends = (str(near.address), str(far.address))
    here, there = vantages.node(near.name), vantages.node(far.name)
    points = [
        Point("leaves the bridge", here, "ovl0"),
        Point("enters wg0", here, "wg0"),
        Point("leaves on the underlay", here, near.interface, outer, ends),
        Point("arrives on the underlay", there, far.interface, outer, ends),
        Point("comes out of wg0", there, "wg0"),
        Point("reaches the bridge", there, "ovl0"),
    ]
    way = trace.follow(
        vantages.peer(src), vantages.peer(dst), points, size=SIZE, count=1, wait_s=wait_s, attempts=1
    )
    cause, reason = _cause(Case(near, far, src, dst, way))
    return replace(way, probe="diagnosis", outcome=str(cause), value=way.value or "nowhere", unit="last seen",
                   reason=reason)  # fmt: skip


def _cause(case: Case) -> tuple[Cause, str]:
    if case.way.ok:
        return Cause.OK, ""
    for cause, rule in RULES:
        told = rule(case)
        if told:
            return cause, told
    return Cause.UNKNOWN, case.way.reason


def _outside(case: Case) -> str:
    own = _own_subnet(case.near, case.src.address)
    return "" if own else f"{case.src} has {case.src.address}, which is in no subnet of ovl0"


def _own_subnet(node: Node, address: IPv4Address) -> bool:
    """True when the node itself would send to `address` through ovl0."""
    found = json.loads(node.run(["ip", "-j", "route", "get", str(address)], quiet=True).out)
    return bool(found[0].get("dev") == "ovl0")


def _no_proxy_arp(case: Case) -> str:
    if case.reached("leaves the bridge"):
        return ""
    value = case.near.run(["sysctl", "-n", "net.ipv4.conf.ovl0.proxy_arp"], quiet=True).out.strip()
    return f"nobody answers ARP for {case.dst.address}: proxy_arp of ovl0 is 0" if value == "0" else ""


def _route_by_bridge(case: Case) -> str:
    if case.reached("enters wg0"):
        return ""
    asked = ["ip", "-j", "route", "get", str(case.dst.address), "from", str(case.src.address), "iif", "ovl0"]
    found = case.near.run(asked, quiet=True, check=False)
    device = json.loads(found.out)[0].get("dev") if found.status == 0 and found.out else "none"
    return f"the route to {case.dst.address} is by {device}, not wg0" if device != "wg0" else ""


def _source_rewritten(case: Case) -> str:
    if not case.reached("enters wg0"):
        return ""
    source = case.source_at("enters wg0")
    if source == str(case.src.address):
        return ""
    return (
        f"wg0 carries {source} in place of {case.src.address}: {case.far} drops what AllowedIPs does not name"
    )


def _underlay_blocked(case: Case) -> str:
    if case.reached("leaves on the underlay") and not case.reached("arrives on the underlay"):
        return f"UDP leaves {case.near} and never arrives at {case.far}"
    return ""


def _forward_drop(case: Case) -> str:
    if not case.reached("comes out of wg0") or case.reached("reaches the bridge"):
        return ""
    policy = case.far.run(["iptables", "-S", "FORWARD"], quiet=True).out.splitlines()[0]
    return f"{case.far} has `{policy}`, and no rule lets wg0 through" if policy.endswith("DROP") else ""


RULES: tuple[tuple[Cause, Callable[[Case], str]], ...] = (
    (Cause.OUTSIDE, _outside),
    (Cause.NO_PROXY_ARP, _no_proxy_arp),
    (Cause.ROUTE_BY_BRIDGE, _route_by_bridge),
    (Cause.SOURCE_REWRITTEN, _source_rewritten),
    (Cause.UNDERLAY_BLOCKED, _underlay_blocked),
    (Cause.FORWARD_DROP, _forward_drop),
)
