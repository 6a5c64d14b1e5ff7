"""macvlan: the contract, and what sets containers on the underlay apart."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Network

from fixtures.containers import in_network_of
from fixtures.lab import Lab
from fixtures.node import Node
from fixtures.overlay import Overlay
from fixtures.vantages import Vantages
from fixtures.waiting import NotYet, wait_for
from overlab.model import Endpoint, Finding
from probes import reachability
from reports.recording import Recorder
from scenarios.contract import Contract
from scenarios.macvlan.overlay import RANGES


class TestContract(Contract):
    """What every overlay must show; here there is nothing around a packet, and ARP is real."""


class TestMacvlan:
    """What the paper's 'underlay approach' gives and takes."""

    def test_ranges_are_disjoint(self, endpoints: list[Endpoint], record: Recorder) -> None:
        """Two engines that know nothing of each other must not give one address twice."""
        for endpoint in endpoints:
            own = IPv4Network(RANGES[endpoint.node])
            outcome = "ok" if endpoint.address in own else "outside-its-range"
            finding = Finding("address", outcome, str(endpoint.address), dst=str(endpoint), reason=str(own))
            assert record(finding).ok, finding

    def test_own_mac(self, lab: Lab, endpoints: list[Endpoint], vantages: Vantages, record: Recorder) -> None:
        """The neighbour entry for a remote container holds that container's own MAC."""
        src, dst = endpoints
        reachability.check([(vantages.peer(src), vantages.peer(dst))])
        true = vantages.peer(dst).agent.interface_of(str(dst.address))["mac"]
        shown = in_network_of(
            lab.node(src.node), src.container, ["ip", "neigh", "show", str(dst.address)]
        ).out
        finding = Finding(
            "own-mac", "ok" if true in shown else "another-mac", true, src=str(src), dst=str(dst)
        )
        assert record(finding).ok, shown

    def test_host_and_child(self, endpoints: list[Endpoint], vantages: Vantages, record: Recorder) -> None:
        """A node cannot reach its own container, nor be reached by it; the other node can."""
        child = vantages.peer(endpoints[0])
        own, other = (vantages.underlay_peer(e.node) for e in endpoints)
        reached = reachability.check([(other, child), (child, other)])
        assert all(record(f).ok for f in reached), "not the thing under test: nobody reaches the container"
        kept_apart = reachability.blocked([(own, child), (child, own)])
        assert all(record(f).ok for f in kept_apart), kept_apart

    def test_published_ports_do_nothing(
        self, lab: Lab, overlay: Overlay, endpoints: list[Endpoint], record: Recorder
    ) -> None:
        """`--publish` is accepted and ignored: nobody listens on the node."""
        node, other = lab.nodes.values()
        script = "from http.server import test, SimpleHTTPRequestHandler as H; test(H, port=80)"
        web = overlay.run(
            node, "web", "overlab/tools", "--publish=8080:80", command=["python3", "-c", script]
        )
        try:
            wait_for(
                "the server to answer at its own address", _answers(other, str(web.address), 80), within=10
            )
            published = connects(other, str(node.address), 8080)
            finding = Finding(
                "published-port", "leaked" if published else "ok", src=other.name, dst=f"{node}:8080"
            )
            assert record(finding).ok, finding
        finally:
            node.run(["docker", "rm", "-f", "web"])


def connects(node: Node, address: str, port: int) -> bool:
    """True when a TCP connection from `node` comes about within two seconds."""
    return node.run(["timeout", "2", "bash", "-c", f"</dev/tcp/{address}/{port}"], check=False).status == 0


def _answers(node: Node, address: str, port: int) -> Callable[[], None]:
    def answers() -> None:
        if not connects(node, address, port):
            raise NotYet("no connection")

    return answers
