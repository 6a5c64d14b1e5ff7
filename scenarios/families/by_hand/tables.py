"""What is true of an overlay made by hand, and what the tables say that its packets are sent by."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Any

from fixtures.containers import in_network_of
from fixtures.lab import Lab
from fixtures.node import Node
from overlab.model import Endpoint
from probes.neighbours import Table
from scenarios.families.by_hand.steps import ADDRESS, LINK, VXLAN, Place, port

NOBODY = "nobody"


@dataclass(frozen=True, slots=True)
class Member:
    """A container on the overlay, as its own kernel interface shows it; `port` is its link's other end."""

    container: str
    node: str
    address: IPv4Address
    mac: str
    port: str

    @property
    def endpoint(self) -> Endpoint:
        """The container as the harness knows it."""
        return Endpoint(self.container, self.node, self.address)


def members(lab: Lab) -> list[Member]:
    """Return every container of the overlay that runs, as its own kernel interface shows it."""
    return [member for found in lab.each(_members).values() for member in found]


def _members(node: Node) -> list[Member]:
    listed = ["docker", "ps", f"--filter=label={ADDRESS}", "--format={{.Names}}"]
    names = node.run(listed, quiet=True).out.split()
    return [_member(node, name) for name in names]


def _member(node: Node, name: str) -> Member:
    link = link_of(node, name)
    address = IPv4Address(link["addr_info"][0]["local"])
    return Member(name, node.name, address, str(link["address"]), port(address))


def link_of(node: Node, container: str) -> dict[str, Any]:
    """Return a container's link to the overlay, as `ip -j address` shows it inside."""
    show = ["ip", "-j", "address", "show", "dev", LINK]
    found: dict[str, Any] = json.loads(in_network_of(node, container, show, quiet=True).out)[0]
    return found


def elsewhere(lab: Lab, node: Node, known: Sequence[Member]) -> dict[str, str]:
    """Return the link addresses of containers on other nodes, and the addresses of those."""
    return {m.mac: str(lab.node(m.node).address) for m in known if m.node != node.name}


def neighbours(node: Node, place: Place, known: Sequence[Member], promised: Collection[str]) -> Table:
    """Return what the VXLAN device of `node` answers ARP from: only of those that are elsewhere."""
    rows = [row for row in node.state("neighbours", namespace=place.path) if row["dev"] == VXLAN]
    there = {str(m.address): m.mac for m in known if m.node != node.name}
    left = {str(row["dst"]): NOBODY for row in rows}
    return Table(f"{node} neighbours", rows, left | there, promised)


def forwarding(
    node: Node,
    place: Place,
    known: Sequence[Member],
    promised: tuple[Collection[str], Collection[str]],
    nodes: Mapping[str, str],
) -> list[Table]:
    """Return the bridge's table, which leads to a port, and the device's, which leads to a node.

    `promised` are the link addresses that must be in each; `nodes` is what is true of the device's.
    What the bridge was told of who is nowhere is wrong; what it has learnt, it forgets by itself.
    """
    rows = node.state("forwarding", namespace=place.path)
    at_port = [row for row in rows if "master" in row and "dst" not in row]
    told = {str(row["mac"]): NOBODY for row in at_port if "extern_learn" in row["flags"]}
    ports = {m.mac: m.port if m.node == node.name else VXLAN for m in known}
    behind = [row for row in rows if "dst" in row and row["ifname"] == VXLAN]
    return [
        Table(f"{node} bridge", at_port, told | ports, promised[0]),
        Table(f"{node} forwarding", behind, nodes, promised[1]),
    ]
