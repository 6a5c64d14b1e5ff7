r"""Plain routing: a bridge a node, a static route to the other's subnet, and no tunnel at all.

    alpha 10.60.0.1                  beta 10.60.0.2
    | bridge 10.61.1.0/24            | bridge 10.61.2.0/24
    | 10.61.2.0/24 via 10.60.0.2     | 10.61.1.0/24 via 10.60.0.1
    eth1 --------------------------- eth1

Not one of the papers' overlays: it is dropped in by a test, to show that a scenario is one folder.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network

from pydantic import Field

from fixtures import overlay as base
from fixtures.lab import Lab
from fixtures.node import Node
from fixtures.overlay import container_address
from overlab.model import BARE, LinkMode, NodeSpec, Topology

SUBNETS = {"alpha": "10.61.1.0/24", "beta": "10.61.2.0/24"}
NAME = "plain"


class Options(base.Options):
    """Options of the dropped-in scenario."""

    metric: int = Field(10, ge=0, description="metric of the static routes")


class StaticRoutes(base.Overlay):
    """Containers reach each other by their nodes' routes."""

    options_type = Options
    topology = Topology(
        name="staticroutes",
        nodes=(NodeSpec("alpha", IPv4Address("10.60.0.1")), NodeSpec("beta", IPv4Address("10.60.0.2"))),
        network=IPv4Network("10.60.0.0/24"),
        layers=("scenarios", "scenarios/staticroutes"),
        images=("scenarios/staticroutes/images/greeter",),
    )
    promise = replace(BARE, link=LinkMode.L3_ONLY, hops=2)
    placement: Mapping[str, str] = {
        "rng": "alpha",
        "worker": "alpha",
        "redis": "alpha",
        "hasher": "beta",
        "webui": "beta",
    }

    def up(self, lab: Lab) -> None:
        """Make the bridges, and the routes between them."""
        assert isinstance(self.options, Options)
        plain = ["--opt", "com.docker.network.bridge.enable_ip_masquerade=false"]
        for node, other in self._pairs(lab):
            subnet = f"--subnet={SUBNETS[node.name]}"
            node.run(["docker", "network", "create", subnet, *plain, NAME])
            way = [SUBNETS[other.name], "via", str(other.address), "metric", str(self.options.metric)]
            node.run(["ip", "route", "add", *way])

    def down(self, lab: Lab) -> None:
        """Undo `up`."""
        for node, other in self._pairs(lab):
            node.run(["ip", "route", "del", SUBNETS[other.name]])
            node.run(["docker", "network", "rm", NAME])

    def _pairs(self, lab: Lab) -> list[tuple[Node, Node]]:
        alpha, beta = lab.node("alpha"), lab.node("beta")
        return [(alpha, beta), (beta, alpha)]

    def attach(self, node: Node) -> Sequence[str]:
        """See Overlay."""
        return [f"--network={NAME}"]

    def address(self, node: Node, container: str) -> IPv4Address:
        """See Overlay."""
        return container_address(node, container, NAME)


OVERLAY = StaticRoutes
