"""The WireGuard bridge: the contract, the paper's own facts, its ingredients taken away, and its end."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fixtures.containers import forget_neighbours, in_network_of
from fixtures.lab import Lab
from fixtures.node import Node
from fixtures.overlay import Overlay
from fixtures.plugin import one_per_node
from fixtures.vantages import Vantages
from fixtures.waiting import NotYet, limit, wait_for
from overlab.model import Endpoint, Finding, Phase, Verdict
from probes import mtu, reachability, routing
from reports.recording import Recorder
from scenarios.contract import Contract
from scenarios.wireguard.breaks import (
    Breaks,
    behind_another_rule,
    forward_dropped,
    forward_policy_drop,
    healthy,
    port_blocked,
    routed_by_the_bridge,
    without_proxy_arp,
    without_the_rule,
)
from scenarios.wireguard.diagnose import Cause, follow
from scenarios.wireguard.overlay import OVERLAY_NETWORK, PORT, WireGuardBridge, subnet_of

pytestmark = pytest.mark.vm  # there the kernel's own WireGuard carries the packets

Snapshot = dict[str, Any]


@pytest.fixture(scope="module", autouse=True)
def before(lab: Lab) -> dict[str, Snapshot]:
    """How the nodes were before the overlay: autouse, so that it is taken first."""
    return {name: snapshot(node) for name, node in lab.nodes.items()}


def snapshot(node: Node) -> Snapshot:
    """Return what the overlay could leave behind on a node."""
    return {
        "links": sorted(row["ifname"] for row in node.state("links")),
        "routes": sorted(f"{r['dst']} {r['dev']}" for r in node.state("routes") if _is_ours(r)),
        "nat": node.run(["iptables", "-t", "nat", "-S"], quiet=True).out,
        "filter": node.run(["iptables", "-S"], quiet=True).out,
        "files": node.sh("ls -A /etc/wireguard", quiet=True).out,
        "services": [s["name"] for s in node.services()],
        "networks": sorted(n.name for n in node.docker.networks.list()),
    }


def _is_ours(route: dict[str, Any]) -> bool:
    """Leave out what every interface that was ever up has: local and link-local routes."""
    return route.get("table") != "local" and not str(route["dst"]).startswith("fe80")


class TestContract(Contract):
    """What every overlay must show."""


class TestPaper:
    """The facts that the paper prints, or that follow from its text."""

    def test_members(self, lab: Lab, endpoints: list[Endpoint], record: Recorder) -> None:
        """Asked on barge3, Serf lists eight members that are alive, by name, address and port."""
        expected = sorted(f"{e.node}-{e.container} {e.address}:7946 alive" for e in endpoints)

        def listed() -> list[str]:
            shown = lab.node("barge3").run(["docker", "exec", "serf0", "serf", "members"], quiet=True).out
            seen = sorted(" ".join(line.split()[:3]) for line in shown.splitlines())
            if seen != expected:
                raise NotYet(f"{len(seen)} of {len(expected)}: {seen}")
            return seen

        seen = wait_for("eight Serf members on barge3", listed, within=limit("members"))
        lab.node("barge3").run(["docker", "exec", "serf0", "serf", "members"])
        assert record(
            Finding("members", "ok", len(seen), "members", evidence={"seen": seen}), paper="members"
        ).ok

    def test_addresses(self, endpoints: list[Endpoint], record: Recorder) -> None:
        """Containers get their addresses in order, from their node's own /24."""
        for endpoint in endpoints:
            printed = f"{endpoint.node}-{endpoint.container}"
            finding = Finding("address", "ok", str(endpoint.address), dst=str(endpoint))
            assert record(finding, paper=printed).ok, finding

    def test_host_routes(self, lab: Lab, record: Recorder) -> None:
        """A node has two routes: its own /24 by the bridge, the rest of the network by wg0."""
        routes = {r["dst"]: r["dev"] for r in lab.node("barge1").state("routes") if "dev" in r}
        own = Finding("route", "ok", f"172.20.101.0/24 dev {routes['172.20.101.0/24']}", src="barge1")
        rest = Finding("route", "ok", f"172.20.0.0/16 dev {routes['172.20.0.0/16']}", src="barge1")
        assert record(own, paper="host-route-own").ok
        assert record(rest, paper="host-route-rest").ok

    def test_container_routes(self, lab: Lab, record: Recorder) -> None:
        """A container believes that the whole network is its own link, and its gateway is .0."""
        shown = in_network_of(lab.node("barge1"), "serf0", ["ip", "-j", "route"])
        routes = {r["dst"]: r for r in json.loads(shown.out)}
        gateway = Finding("gateway", "ok", routes["default"]["gateway"], src="barge1/serf0")
        link = Finding(
            "route", "ok", f"172.20.0.0/16 dev {routes['172.20.0.0/16']['dev']}", src="barge1/serf0"
        )
        assert record(gateway, paper="container-gateway").ok
        assert record(link, paper="container-route").ok

    def test_arp_answer(
        self, overlay: Overlay, lab: Lab, endpoints: list[Endpoint], vantages: Vantages, record: Recorder
    ) -> None:
        """A container's own neighbour table says: a remote container is at the bridge's link address."""
        src, dst = one_per_node(endpoints)[:2]
        healthy(lab, vantages, src, dst, "no traffic, so no neighbour")
        bridge = overlay.proxy_mac(lab, src)
        shown = in_network_of(lab.node(src.node), src.container, ["ip", "-j", "neigh"])
        known = {row["dst"]: row.get("lladdr", "nobody") for row in json.loads(shown.out)}
        answer = "ovl0" if known[str(dst.address)] == bridge else known[str(dst.address)]
        assert record(Finding("arp-answer", "ok", answer, src=str(src), dst=str(dst)), paper="arp-answer").ok

    def test_ttl_and_source(self, endpoints: list[Endpoint], vantages: Vantages, record: Recorder) -> None:
        """Two nodes route the packet, so TTL 64 arrives as 62; the source is the container's own."""
        src, dst = one_per_node(endpoints)[:2]
        found = routing.one_way(vantages.peer(src), vantages.peer(dst), hops=2)
        assert found.ok, found
        assert isinstance(found.value, int)
        assert record(Finding("ttl", "ok", 64 - found.value, src=str(src), dst=str(dst)), paper="ttl").ok

    def test_path_mtu(self, endpoints: list[Endpoint], vantages: Vantages, record: Recorder) -> None:
        """wg0's default of 1420 bytes is the path's MTU, and the first hop names it."""
        src, dst = one_per_node(endpoints)[:2]
        for found in mtu.check(vantages.peer(src), vantages.peer(dst), promised=1420):
            assert record(found, paper="path-mtu").ok, found

    def test_wg0(self, lab: Lab, record: Recorder) -> None:
        """wg0 has no address, listens on 12345, and each peer owns one /24."""
        node = lab.node("barge2")
        addresses = next(r["addr_info"] for r in node.state("addresses") if r["ifname"] == "wg0")
        ipv4 = [a["local"] for a in addresses if a["family"] == "inet"]
        assert record(Finding("wg-address", "ok", ", ".join(ipv4) or "none"), paper="wg0-address").ok
        port = int(node.run(["wg", "show", "wg0", "listen-port"]).out)
        assert record(Finding("wg-port", "ok", port), paper="listen-port").ok
        allowed = {
            line.split("\t")[1] for line in node.run(["wg", "show", "wg0", "allowed-ips"]).out.splitlines()
        }
        assert allowed == {"172.20.101.0/24", "172.20.103.0/24"}

    def test_rule_is_first(self, lab: Lab) -> None:
        """The rule that keeps sources stands before every other rule of POSTROUTING."""
        for node in lab.nodes.values():
            rules = node.run(["iptables", "-t", "nat", "-S", "POSTROUTING"]).out.splitlines()
            assert rules[1] == f"-A POSTROUTING -s {OVERLAY_NETWORK} -o wg0 -j ACCEPT"


class TestNotInThePaper:
    """What the paper leaves to the host."""

    def test_forward_policy_drop(
        self, lab: Lab, endpoints: list[Endpoint], vantages: Vantages, record: Recorder
    ) -> None:
        """With FORWARD at DROP the overlay goes on, by a rule in DOCKER-USER; see the mutation without."""
        src, dst = one_per_node(endpoints)[:2]
        with forward_policy_drop(lab.node(dst.node)):
            found = follow(lab, vantages, src, dst, PORT)
        assert record(found).ok, found

    def test_reboot(
        self, lab: Lab, scenario: Overlay, endpoints: list[Endpoint], vantages: Vantages, record: Recorder
    ) -> None:
        """After a reboot dockerd restores its own route and rule; the overlay is applied after that."""
        node = lab.node("barge2")
        vantages.forget(node.name)
        node.reboot()
        mine = [e for e in endpoints if e.node == node.name]
        back = scenario.revive(lab, mine)
        assert back == mine, "the paper's plan of addresses does not survive a reboot"
        others = [e for e in one_per_node(endpoints) if e.node != node.name]
        pairs = [(o, b) for b in vantages.peers(back) for o in vantages.peers(others)]
        for found in reachability.check(pairs, protocols=[reachability.Protocol.UDP], attempts=5):
            assert record(found, phase=Phase.HEAL).ok, found


class TestMutations:
    """Each ingredient is taken away, and the finding names it; then it is put back, and all is well."""

    @pytest.mark.parametrize(
        ("breaks", "cause", "cold"),
        [
            (without_proxy_arp, Cause.NO_PROXY_ARP, True),
            (routed_by_the_bridge, Cause.ROUTE_BY_BRIDGE, True),
            (without_the_rule, Cause.SOURCE_REWRITTEN, False),
            (behind_another_rule, Cause.SOURCE_REWRITTEN, False),
            (forward_dropped, Cause.FORWARD_DROP, False),
            (port_blocked, Cause.UNDERLAY_BLOCKED, False),
        ],
        ids=lambda value: value.__name__ if callable(value) else None,
    )
    def test_cause_is_named(
        self,
        breaks: Breaks,
        cause: Cause,
        cold: bool,
        lab: Lab,
        endpoints: list[Endpoint],
        vantages: Vantages,
        record: Recorder,
    ) -> None:
        """The packet is lost, and the finding says which ingredient is missing."""
        src, dst = one_per_node(endpoints)[:2]
        healthy(lab, vantages, src, dst, "not the thing under test: it did not work before")
        with breaks(lab, src, dst):
            if cold:  # a warm neighbour cache hides that nobody answers ARP any more
                forget_neighbours(lab.node(src.node), src.container)
            found = follow(lab, vantages, src, dst, PORT, wait_s=1.2 if cold else 0.6)
            verdict = Verdict.PASS if found.outcome == cause else Verdict.FAIL
            record(found, phase=Phase.FAULT, verdict=verdict)
        assert found.outcome == cause, found
        if cold:
            forget_neighbours(lab.node(src.node), src.container)
        healthy(lab, vantages, src, dst, "the mutation was not healed")

    @pytest.mark.parametrize(
        ("cut", "outcome"),
        [("node_mtu", mtu.Outcome.SILENT_FRAGMENTATION), ("port_mtu", mtu.Outcome.BLACKHOLE)],
        ids=["interface", "port"],
    )
    def test_underlay_is_cut(
        self,
        cut: str,
        outcome: mtu.Outcome,
        lab: Lab,
        endpoints: list[Endpoint],
        vantages: Vantages,
        record: Recorder,
    ) -> None:
        """An MTU of 1400 under the tunnel: the node's own interface fragments, a port on the way swallows."""
        src, dst = (vantages.peer(e) for e in one_per_node(endpoints)[:2])
        with getattr(lab.underlay, cut)(lab.node(dst.agent.vantage.node), 1400):
            for found in mtu.check(src, dst, promised=1420, counters=vantages.fragments):
                # The port swallows what goes to its node; the interface fragments what leaves it.
                hit = found.dst if cut == "port_mtu" else found.src
                if hit == str(dst):
                    verdict = Verdict.PASS if found.outcome == outcome else Verdict.FAIL
                    record(found, phase=Phase.FAULT, verdict=verdict)
                    assert found.outcome == outcome, found
        healed = mtu.check(src, dst, promised=1420, counters=vantages.fragments)
        assert all(f.ok for f in healed), healed

    def test_container_outside(
        self, lab: Lab, vantages: Vantages, endpoints: list[Endpoint], record: Recorder
    ) -> None:
        """A container on Docker's own bridge is named as being outside, not as a broken overlay."""
        node = lab.node("barge1")
        node.run(["docker", "run", "-d", "--name", "stranger", "overlab/tools"])
        address = node.docker.containers.get("stranger").attrs["NetworkSettings"]["IPAddress"]
        stranger = Endpoint("stranger", node.name, address)
        try:
            found = follow(lab, vantages, stranger, one_per_node(endpoints)[1], PORT)
            verdict = Verdict.PASS if found.outcome == Cause.OUTSIDE else Verdict.FAIL
            record(found, phase=Phase.FAULT, verdict=verdict)
            assert found.outcome == Cause.OUTSIDE, found
        finally:
            vantages.drop(vantages.peer(stranger))
            node.run(["docker", "rm", "-f", "stranger"])


class TestEnd:
    """The overlay goes, and leaves the nodes as they were."""

    def test_down_undoes_all(
        self,
        lab: Lab,
        scenario: Overlay,
        endpoints: list[Endpoint],
        vantages: Vantages,
        before: dict[str, Snapshot],
    ) -> None:
        """Nothing of the overlay is left: no link, route, rule, file, service or network."""
        vantages.forget()
        lab.each(
            lambda n: n.run(["docker", "rm", "-f", *(e.container for e in endpoints if e.node == n.name)])
        )
        scenario.down(lab)
        for name, node in lab.nodes.items():
            assert snapshot(node) == before[name]


def test_plan_of_the_addresses() -> None:
    """Two nodes whose addresses end alike would share one /24: the plan is refused before any boot."""
    topology = WireGuardBridge.topology
    assert [str(subnet_of(n)) for n in topology.nodes] == [
        "172.20.101.0/24",
        "172.20.102.0/24",
        "172.20.103.0/24",
    ]
