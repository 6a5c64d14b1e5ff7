r"""macvlan: no overlay at all. Containers sit on the underlay itself, each with a MAC of its own.

    node1 192.168.10.11                node2 192.168.10.12
    +---------------------------+      +---------------------------+
    | probe0      192.168.10.65 |      | probe0     192.168.10.129 |
    |   | macvlan (bridge mode) |      |   | macvlan (bridge mode) |
    |   |                       |      |   |                       |
    +---|-- eth1 ---------------+      +---|-- eth1 ---------------+
        +------------- 192.168.10.0/24 ---+

The paper calls this the underlay approach. Nothing is put around a packet, so nothing is lost; the price
is that the network must carry any number of MACs a port, that each engine hands out addresses without
knowing of the other (hence disjoint ranges, and the nodes' own addresses reserved), and that a node and
its own containers cannot reach each other, which is how the kernel's macvlan works.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network

from fixtures.lab import Lab
from fixtures.node import Node
from fixtures.overlay import Overlay, container_address
from overlab.model import BARE, NodeSpec, Topology

NETWORK = IPv4Network("192.168.10.0/24")
NAME = "lan"
RANGES = {"node1": "192.168.10.64/26", "node2": "192.168.10.128/26"}


class Macvlan(Overlay):
    """Containers directly on the underlay."""

    topology = Topology(
        name="macvlan",
        nodes=(
            NodeSpec("node1", IPv4Address("192.168.10.11")),
            NodeSpec("node2", IPv4Address("192.168.10.12")),
        ),
        network=NETWORK,
        layers=("scenarios",),
    )
    # Open: the engine translates its own bridge to the node, and the node is on the underlay.
    promise = replace(BARE, publishes=False)
    placement: Mapping[str, str] = {
        "rng": "node1",
        "worker": "node1",
        "redis": "node1",
        "hasher": "node2",
        "webui": "node2",
    }

    def up(self, lab: Lab) -> None:
        """Make one macvlan network on each node, over the same subnet."""
        lab.each(self._network)

    def _network(self, node: Node) -> None:
        flags = [f"--subnet={NETWORK}", f"--ip-range={RANGES[node.name]}"]
        # Docker would give a gateway's address out of the range, and knows no other node's.
        reserved = [f"--aux-address={n.name}={n.address}" for n in self.topology.nodes]
        parent = ["--opt", f"parent={node.interface}"]
        node.run(["docker", "network", "create", "--driver=macvlan", *flags, *reserved, *parent, NAME])

    def down(self, lab: Lab) -> None:
        """Remove the networks."""
        lab.each(lambda node: node.run(["docker", "network", "rm", NAME]))

    def attach(self, node: Node) -> Sequence[str]:
        """See Overlay."""
        return [f"--network={NAME}"]

    def address(self, node: Node, container: str) -> IPv4Address:
        """See Overlay."""
        return container_address(node, container, NAME)


OVERLAY = Macvlan
