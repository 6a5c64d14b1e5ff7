"""Docker's hidden overlay namespace: what its tables must say, and what they do say.

Every overlay network of Docker has, on each node with a container of it, a network namespace that `ip link`
does not show: a bridge with the local containers, and a VXLAN device that answers ARP for all others. Its
neighbour table maps their addresses to link addresses, its forwarding table link addresses to nodes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface
from pathlib import PurePosixPath
from typing import Any

from fixtures.containers import in_network_of
from fixtures.lab import Lab
from fixtures.node import Node
from fixtures.vantages import Vantages
from fixtures.waiting import NotYet, limit, wait_for
from overlab.errors import NotReadyError, OverlabError
from overlab.model import Endpoint, Finding
from probes import neighbours
from probes.client import Peer
from probes.neighbours import Table
from scenarios.families.vxlan import diagnosis

ELSEWHERE = "ep-"  # how an engine shows endpoints that others keep in the store


@dataclass(frozen=True, slots=True)
class Member:
    """A container of the network: the node it runs on, and what its own interface has.

    `port` is the name of its link's other end in the hidden namespace; "" where it has no container of its
    own (a load balancer's endpoint). `endpoint` is Docker's id of it.
    """

    container: str
    node: str
    address: IPv4Address
    mac: str
    port: str
    endpoint: str


def inspect(node: Node, network: str) -> dict[str, Any]:
    """Return what a node's engine says of a network, as soon as it knows the network.

    An engine on a store asks its store each time, and says "No such network" when that does not answer at
    once: a member that is elected, or one that is just back and has not read all of its log.
    """

    def told() -> dict[str, Any]:
        done = node.run(["docker", "network", "inspect", network], check=False, quiet=True)
        if done.status != 0:
            raise NotYet(done.err.strip() or f"status {done.status}")
        shown: list[dict[str, Any]] = json.loads(done.out)
        return shown[0]

    return wait_for(f"network {network} on {node}", told, within=limit("overlay"))


def identity(node: Node, network: str) -> str:
    """Return a network's id; see `inspect`."""
    return str(inspect(node, network)["Id"])


def namespace(node: Node, network_id: str) -> str:
    """Return the path of the network's hidden namespace; OverlabError where no container needed it yet."""
    wanted = f"-{network_id[:10]}"
    found = [path for path in node.namespaces() if path.endswith(wanted)]
    if not found:
        raise OverlabError(f"{node} has no namespace of network {network_id[:10]}", "start a container there")
    # named after a count of their makings: the highest is the one in use
    return max(found, key=lambda path: int(PurePosixPath(path).name.partition("-")[0]))


def members(lab: Lab, network: str) -> list[Member]:
    """Return every container of the network, on all nodes, as its own kernel interface shows it."""
    found = lab.each(lambda node: _members(node, inspect(node, network)) if _knows(node, network) else [])
    return [member for on_node in found.values() for member in on_node]


def _knows(node: Node, network: str) -> bool:
    """Tell whether a node has the network: in a Swarm a worker has it with its first container."""
    return any(found.name == network for found in node.docker.networks.list(names=[network]))


def _members(node: Node, network: dict[str, Any]) -> list[Member]:
    own = {key: told for key, told in network["Containers"].items() if not key.startswith(ELSEWHERE)}
    if not own:
        return []
    ports = {row["ifindex"]: row["ifname"] for row in _links(node, namespace(node, network["Id"]))}
    return [_member(node, key, told, ports) for key, told in own.items()]


def _links(node: Node, path: str) -> list[dict[str, Any]]:
    return node.state("links", namespace=path)


def _member(node: Node, key: str, told: dict[str, Any], ports: dict[int, str]) -> Member:
    address = IPv4Interface(told["IPv4Address"]).ip
    mac, port = str(told["MacAddress"]), ""
    if len(key) == 64:  # a container's id
        shown = json.loads(in_network_of(node, key, ["ip", "-j", "address"], quiet=True).out)
        link = next((row for row in shown if str(address) in _addresses(row)), None)
        if link is None:
            raise OverlabError(f"{told['Name']} on {node} has no interface with {address}", "restart it")
        mac, port = str(link["address"]), ports.get(int(link["link_index"]), "")
    return Member(str(told["Name"]), node.name, address, mac, port, str(told["EndpointID"]))


def _addresses(link: dict[str, Any]) -> list[str]:
    return [str(row["local"]) for row in link.get("addr_info", [])]


def tables(lab: Lab, network: str, known: Sequence[Member]) -> list[Table]:
    """Read the tables of every node that has a container of the network, beside what is true of them.

    Neighbours and VXLAN forwarding: every member on another node must be there. The bridge learns who is at
    which of its ports from what they send, so there none is missing. What nobody has is not judged here:
    see `left_over`.
    """
    network_id = str(inspect(next(iter(lab.nodes.values())), network)["Id"])
    at = {member.node for member in known}
    read = lab.each(lambda node: _tables(lab, node, network_id, known) if node.name in at else [])
    return [table for on_node in read.values() for table in on_node]


def _tables(lab: Lab, node: Node, network_id: str, known: Sequence[Member]) -> list[Table]:
    path = namespace(node, network_id)
    others = [member for member in known if member.node != node.name]
    rows = node.state("neighbours", namespace=path)
    truth = {str(member.address): member.mac for member in known}
    promised = [str(member.address) for member in others]
    neighbour = Table(f"{node} hidden neighbours", rows, truth, promised)
    rows = node.state("forwarding", namespace=path)
    own = {member.mac for member in known if member.node == node.name}
    here = {str(node.address), "127.0.0.1"}
    # Asked for locally, own containers are looked up as any other: such an entry leads to the node itself.
    vteps = [row for row in rows if "dst" in row and not (row["mac"] in own and row["dst"] in here)]
    truth = {member.mac: str(lab.node(member.node).address) for member in known}
    forwarding = Table(f"{node} hidden forwarding", vteps, truth, [member.mac for member in others])
    learned = [row for row in rows if "master" in row and "dst" not in row]
    tunnel = next((str(row["ifname"]) for row in rows if "dst" in row), "")
    truth = {member.mac: member.port if member.node == node.name else tunnel for member in known}
    bridge = Table(f"{node} hidden bridge", learned, {mac: port for mac, port in truth.items() if port})
    return [neighbour, forwarding, bridge]


def left_over(read: Sequence[Table]) -> Finding:
    """Return what the neighbour and VXLAN tables have of containers that are gone: told, and not judged.

    What an engine had to ask for, it does not remove when the container goes (libnetwork calls the entry
    a "dummy", and logs that). It misleads nobody until its address is another's, which `tables` judges.
    """
    kinds = [table for table in read if not table.label.endswith("bridge")]
    gone = [
        f"{table.label}: {key} at {owner}"
        for table in kinds
        for key, owner in table.entries()
        if key not in table.truth
    ]
    return Finding("left-over-entries", "ok", len(gone), "entries", evidence={"entries": gone})


def check(lab: Lab, network: str, peers: Sequence[Peer]) -> list[Finding]:
    """Let all pairs speak, then judge the containers' own tables and the hidden ones: one Finding each.

    Engines tell each other of a container a moment later, so what is not true yet has some time.
    """
    return [*neighbours.check(peers), *settled(lab, network, within=limit("overlay"))]


def settled(lab: Lab, network: str, *, within: float) -> list[Finding]:
    """Judge the hidden tables once they are true, or as they are after `within` seconds."""
    seen: list[Finding] = []

    def true() -> None:
        seen[:] = neighbours.check([], tables=tables(lab, network, members(lab, network)))
        wrong = [finding for finding in seen if not finding.ok]
        if wrong:
            raise NotYet(str(wrong[0]))

    with suppress(NotReadyError):  # the findings say what is wrong
        wait_for("the hidden tables to be true", true, within=within)
    return seen


def follow(
    lab: Lab, vantages: Vantages, network: str, src: Endpoint, dst: Endpoint, *, wait_s: float = 0.6
) -> Finding:
    """Follow one packet from `src` to `dst` by the tables of the hidden namespaces: see the diagnosis."""

    def read(_left: bool) -> Sequence[Table]:
        return tables(lab, network, members(lab, network))

    return diagnosis.follow(read, lab, vantages, src, dst, wait_s=wait_s)
