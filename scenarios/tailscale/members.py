"""What a member says of itself and of the others: `tailscale status`, read as data.

A path is what the client reports of its own last packets, so somebody has to send some first. While both
ends look for a direct path everything goes by DERP; a heartbeat keeps what was found, and 45 s without
traffic let it go again. Source: tailscale.com/wgengine/magicsock (endpoint.go).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address
from typing import Any

from fixtures.containers import in_network_of
from fixtures.node import Node
from fixtures.waiting import NotYet, limit, wait_for
from overlab.model import Finding

PROBE = "path"
COUNT, PAYLOAD = 10, 1000


class Route(StrEnum):
    """How packets go from one member to another."""

    DIRECT = "direct"
    RELAYED = "relayed"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Member:
    """One member as another (or itself) sees it; `outer` is where its packets go: address and port."""

    name: str
    address: IPv4Address
    online: bool
    active: bool
    relay: str
    outer: str
    ports: Mapping[str, int]  # its own ports as seen from outside, by address; only told of oneself

    @property
    def route(self) -> Route:
        """The path of the last packets."""
        if not self.active:
            return Route.NONE
        return Route.DIRECT if self.outer else Route.RELAYED


@dataclass(frozen=True, slots=True)
class Status:
    """What one member knows."""

    state: str
    version: str
    own: Member
    peers: Mapping[IPv4Address, Member]
    health: tuple[str, ...]


def status(node: Node, sidecar: str, *, quiet: bool = True) -> Status:
    """Read `tailscale status` of a sidecar."""
    shown = node.run(["docker", "exec", sidecar, "tailscale", "status", "--json"], quiet=quiet).out
    data: dict[str, Any] = json.loads(shown)
    peers = [_member(row) for row in (data.get("Peer") or {}).values()]
    return Status(
        data["BackendState"],
        data["Version"].partition("-")[0],
        _member(data["Self"]),
        {peer.address: peer for peer in peers},
        tuple(data.get("Health") or ()),
    )


def _member(row: Mapping[str, Any]) -> Member:
    addresses = [a for a in row.get("TailscaleIPs") or () if ":" not in a]
    ends = [end.rpartition(":") for end in row.get("Addrs") or () if not end.startswith("[")]
    return Member(
        row["DNSName"].partition(".")[0] or row["HostName"],
        IPv4Address(addresses[0] if addresses else 0),
        row["Online"],
        row["Active"],
        row["Relay"],
        row["CurAddr"],
        {address: int(port) for address, _, port in ends},
    )


def running(node: Node, sidecar: str) -> IPv4Address:
    """Return the address that the tailnet gave; raise NotYet before it did."""
    seen = status(node, sidecar)
    if seen.state != "Running" or not int(seen.own.address):
        raise NotYet(f"{sidecar} is {seen.state}: {'; '.join(seen.health)}")
    return seen.own.address


def speak(node: Node, sidecar: str, address: IPv4Address, *, count: int = 1, size: int = 56) -> bool:
    """Send echoes with `size` bytes of payload from a sidecar's network; True when one was answered."""
    ping = ["ping", "-c", str(count), "-s", str(size), "-i", "0.2", "-W", "1", str(address)]
    return in_network_of(node, sidecar, ping, check=False, quiet=True).status == 0


def settled(node: Node, sidecar: str, address: IPv4Address, wanted: Route, *, within: float) -> Member:
    """Send until the packets to `address` take the `wanted` path; return the member as `sidecar` sees it.

    Whoever speaks first opens the way for the other side, and tries again itself after 5 s, or when
    `tailscale ping` asks it to.
    """

    def look() -> Member:
        speak(node, sidecar, address)
        ping = ["tailscale", "ping", "--c=1", "--timeout=1s", str(address)]
        node.run(["docker", "exec", sidecar, *ping], check=False, quiet=True)
        member = status(node, sidecar).peers.get(address)
        if member is None or member.route is not wanted:
            raise NotYet(member.route if member else "it does not know that member")
        return member

    what = f"packets of {node}/{sidecar} to {address} to be {wanted}"
    return wait_for(what, look, within=within, look=f"docker exec {sidecar} tailscale status")


def path(relay: Node, node: Node, sidecar: str, address: IPv4Address, promised: Route) -> Finding:
    """Say by which path packets go now; the value is the path, as the client tells it and `relay` confirms.

    The relay's own interface counts what passes: a client that says "direct" is not believed if it all
    came by there, nor one that says "relayed" if nothing did.
    """
    before = _received(relay)
    answered = speak(node, sidecar, address, count=COUNT, size=PAYLOAD)
    passed = _received(relay) - before
    member = status(node, sidecar, quiet=False).peers.get(address)
    route = member.route if member and answered else Route.NONE
    confirmed = (passed > COUNT * PAYLOAD) == (route is Route.RELAYED)
    outcome = str(route) if route is not promised else "ok" if confirmed else "told-otherwise"
    said = f"the client says {route} and not {promised}" if route is not promised else f"said to be {route}"
    reason = "" if outcome == "ok" else f"{said}, and {passed} bytes went by the relay"
    where = {"outer": member.outer, "relay": member.relay} if member else {}
    ends = f"{node}/{sidecar}", str(address)
    return Finding(
        PROBE, outcome, str(route), "", str(promised), *ends, reason, {**where, "relay_bytes": passed}
    )


def _received(node: Node) -> int:
    path = f"/sys/class/net/{node.interface}/statistics/rx_bytes"
    return int(node.run(["cat", path], quiet=True).out)


def refusal(told: str) -> str:
    """Return why the control plane refused a login, in its own words; "" when it did not.

    Tailscale's test control server says 'invalid authkey', Headscale and the vendor 'invalid key'.
    """
    found = re.search(r"backend error: (.*)", told)
    return found.group(1).strip() if found else ""


def wait_running(node: Node, sidecar: str) -> IPv4Address:
    """Wait until a sidecar is a member, and return its address."""
    return wait_for(
        f"{node}/{sidecar} to be a member",
        lambda: running(node, sidecar),
        within=limit("overlay"),
        look=f"docker logs {sidecar}",
    )
