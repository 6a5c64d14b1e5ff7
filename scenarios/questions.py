"""The first part of the contract: what an overlay does, shown with packets and with an application.

What the overlay promises (`Promise`) decides what is expected; nothing here knows what it is made of.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from ipaddress import IPv4Address
from typing import ClassVar

import pytest

from fixtures import dockercoins as application_of
from fixtures.browser import see_page
from fixtures.dockercoins import DockerCoins
from fixtures.lab import Lab
from fixtures.overlay import Overlay, container_address
from fixtures.plugin import alone_on_this_machine, one_per_node
from fixtures.vantages import Vantages
from overlab.model import Endpoint, Finding, Phase, Verdict
from probes import arp, bulk, dockercoins, encapsulation, mtu, neighbours, reachability, routing
from probes.client import Peer
from probes.common import at_once, ordered_pairs
from reports.files import RunFolder
from reports.recording import Recorder

COMPARED_S = 20.0
SHORT_S = 6.0  # known to 1.7 %, by two polls of 50 ms; the bounds are 15 % apart
SAMPLES = 5
OUTSIDE = "outside"


class Questions:
    """The questions, in the order in which they are asked."""

    # How long the counter is read, in seconds; rows that are compared by their costs take the same time.
    counted_s: ClassVar[float] = COMPARED_S

    @pytest.fixture(scope="class")
    @classmethod
    def peers(cls, vantages: Vantages, endpoints: list[Endpoint]) -> list[Peer]:
        """One endpoint a node."""
        return vantages.peers(one_per_node(endpoints))

    def test_underlay_control(self, lab: Lab, vantages: Vantages, record: Recorder) -> None:
        """Not the overlay under test: the nodes themselves reach each other."""
        nodes = at_once(vantages.underlay_peer, list(lab.nodes))
        found = reachability.check(ordered_pairs(nodes), mtu=lab.topology.mtu)
        _all_ok([record(f, phase=Phase.CONTROL) for f in found], "the harness, not the overlay")

    def test_reachability(self, overlay: Overlay, lab: Lab, peers: list[Peer], record: Recorder) -> None:
        """Every container reaches every other, small and at the path MTU."""
        size = overlay.promise.path_mtu(lab.underlay.mtu)
        _all_ok([record(f) for f in reachability.check(ordered_pairs(peers), mtu=size)])

    def test_outside(
        self, lab: Lab, overlay: Overlay, peers: list[Peer], vantages: Vantages, record: Recorder
    ) -> None:
        """A container on Docker's own bridge is not reached, and reaches in only where that is promised."""
        node = lab.node(peers[0].agent.vantage.node)
        node.run(["docker", "run", "-d", "--name", OUTSIDE, "--network=bridge", "overlab/tools"])
        outside = vantages.peer(Endpoint(OUTSIDE, node.name, container_address(node, OUTSIDE, "bridge")))
        try:
            inward, outward = [(outside, p) for p in peers[1:]], [(p, outside) for p in peers[1:]]
            found = reachability.blocked([*outward, *(inward if overlay.promise.closed else [])])
            if not overlay.promise.closed:
                found += [_translated(f) for f in reachability.check(inward)]
            _all_ok([record(f) for f in found])
        finally:
            vantages.drop(outside)
            node.run(["docker", "rm", "-f", OUTSIDE])

    def test_arp(
        self, overlay: Overlay, lab: Lab, endpoints: list[Endpoint], vantages: Vantages, record: Recorder
    ) -> None:
        """Each address has exactly one link address, found in the way that is promised; or none, if so."""
        first, *others = one_per_node(endpoints)
        proxy = overlay.proxy_mac(lab, first)
        src, proxies = vantages.peer(first), [proxy] if proxy else []

        def ask(other: Endpoint) -> Finding:
            return arp.check(src, vantages.peer(other), promised=overlay.promise.link, proxies=proxies)

        _all_ok([record(f) for f in at_once(ask, others)])

    def test_routing(self, overlay: Overlay, peers: list[Peer], record: Recorder) -> None:
        """The hops are the promised ones, in both directions, and sources arrive unchanged."""
        for other in peers[1:]:
            found = routing.check(peers[0], other, hops=overlay.promise.hops)
            _all_ok([record(f) for f in found])

    def test_mtu(
        self, overlay: Overlay, lab: Lab, peers: list[Peer], vantages: Vantages, record: Recorder
    ) -> None:
        """The path MTU is the promised one to the byte, in each direction, with nothing fragmented."""
        promised = overlay.promise.path_mtu(lab.underlay.mtu)
        found = mtu.check(peers[0], peers[1], promised=promised, counters=vantages.fragments)
        _all_ok([record(f) for f in found])

    def test_encapsulation(
        self,
        overlay: Overlay,
        lab: Lab,
        peers: list[Peer],
        endpoints: list[Endpoint],
        vantages: Vantages,
        record: Recorder,
    ) -> None:
        """On the wire is what is promised around each packet, to the byte, and nothing undeclared."""
        ask = encapsulation_of(overlay, lab, peers, endpoints, vantages)
        _all_ok([record(f) for f in ask(None)])

    def test_encapsulation_can_fail(
        self,
        overlay: Overlay,
        lab: Lab,
        peers: list[Peer],
        endpoints: list[Endpoint],
        vantages: Vantages,
        record: Recorder,
    ) -> None:
        """A marker that is sent beside the overlay is seen: the check before could have failed."""
        near, far = wires(lab, peers, vantages)
        ask = encapsulation_of(overlay, lab, peers, endpoints, vantages)
        found = ask(lambda nonce: encapsulation.outside(near, far, nonce))
        caught = [f for f in found if not f.ok]
        assert caught, "a packet outside the overlay went unseen"
        record(caught[0], phase=Phase.FAULT, verdict=Verdict.PASS)

    def test_neighbours(self, overlay: Overlay, lab: Lab, peers: list[Peer], record: Recorder) -> None:
        """After everybody spoke with everybody, no neighbour entry is stale or missing."""
        proxies = {
            str(p): overlay.proxy_mac(lab, Endpoint(p.name, p.agent.vantage.node, IPv4Address(p.address)))
            for p in peers
        }
        own = neighbours.own_addresses(peers)

        def owner(peer: Peer, address: str) -> str:
            return (
                (proxies[str(peer)] or own(peer, address))
                if overlay.promise.hops == 0 or proxies[str(peer)]
                else ""
            )

        _all_ok([record(f) for f in neighbours.check(peers, owner=owner)])

    def test_bulk(self, peers: list[Peer], record: Recorder) -> None:
        """20 MB arrive as they were sent, without a stall: what a ping cannot see."""
        finding = bulk.check(peers[0], peers[1])
        assert record(finding).ok, finding

    @pytest.fixture(scope="class")
    @classmethod
    def application(cls, lab: Lab, overlay: Overlay, endpoints: list[Endpoint]) -> Iterator[DockerCoins]:
        """DockerCoins, placed as the paper places it."""
        deployed = application_of.deploy(lab, overlay)
        yield deployed
        application_of.remove(lab, overlay, deployed)

    def test_names(
        self, overlay: Overlay, application: DockerCoins, vantages: Vantages, record: Recorder
    ) -> None:
        """The worker finds rng, hasher and redis by name, as the overlay promises names."""
        worker = vantages.peer(application["worker"])
        needed = [vantages.peer(application[name]) for name in application_of.NEEDS["worker"]]
        pairs = [(worker, peer) for peer in needed]
        _all_ok([record(f) for f in reachability.check(pairs, protocols=[reachability.Protocol.NAME])])

    def test_dockercoins(
        self,
        lab: Lab,
        overlay: Overlay,
        application: DockerCoins,
        vantages: Vantages,
        record: Recorder,
        run_folder: RunFolder,
        pytestconfig: pytest.Config,
    ) -> None:
        """The application lives: its counter grows within bounds, every coin is one, its graph grows.

        A browser inside the lab looks while the counter is read: that is how the application is used.
        """
        worker = vantages.peer(application["worker"])
        where = {name: str(application[name].address) for name in application_of.NEEDS["worker"]}
        reached = dockercoins.App(worker.agent, **where)
        url, viewer = application_of.page_url(lab, overlay, application), lab.node(application["rng"].node)
        desk = lab.desk(viewer) if overlay.promise.publishes else viewer
        picture = run_folder.evidence / f"webui-{lab.topology.name}.png"
        seconds = COMPARED_S if pytestconfig.getoption("--costs") else self.counted_s
        with alone_on_this_machine(), ThreadPoolExecutor(1) as beside:
            page = beside.submit(see_page, desk, url, picture)
            found = dockercoins.pace(reached, samples=SAMPLES, seconds=seconds)
        told = [record(f, phase=Phase.PERF) for f in found]
        _all_ok([*told, record(dockercoins.wallet(reached)), record(page.result())])


def wires(lab: Lab, peers: list[Peer], vantages: Vantages) -> tuple[encapsulation.Wire, encapsulation.Wire]:
    """Return the underlay interfaces of the first two peers' nodes."""
    nodes = [lab.node(peer.agent.vantage.node) for peer in peers[:2]]
    near, far = (encapsulation.Wire(vantages.node(n.name), n.interface, str(n.address)) for n in nodes)
    return near, far


def encapsulation_of(
    overlay: Overlay, lab: Lab, peers: list[Peer], endpoints: list[Endpoint], vantages: Vantages
) -> Callable[[Callable[[str], object] | None], list[Finding]]:
    """Return the encapsulation probe between the first two peers; it takes what happens meanwhile."""
    near, far = wires(lab, peers, vantages)

    def ask(during: Callable[[str], object] | None) -> list[Finding]:
        with encapsulation.without_offloads(near, far):
            return encapsulation.check(
                peers[0],
                peers[1],
                near,
                far,
                promise=replace(overlay.promise, control=(*overlay.promise.control, *lab.harness)),
                underlay_mtu=lab.underlay.mtu,
                members=[str(e.address) for e in endpoints],
                during=during,
            )

    return ask


def _translated(finding: Finding) -> Finding:
    """Judge a way in that is promised open: the node's address stands in for the container's own."""
    came = finding.ok or finding.outcome == reachability.Outcome.WRONG_SOURCE
    return replace(finding, probe="reachability-open", outcome="ok" if came else finding.outcome)


def _all_ok(findings: list[Finding], who: str = "the overlay") -> None:
    wrong = [str(f) for f in findings if not f.ok]
    assert findings, "the probe found nothing at all"
    assert not wrong, f"{who}: {len(wrong)} of {len(findings)}: " + "; ".join(wrong[:3])
