"""Docker's overlay on etcd: the contract, what the paper prints, the store, and a quorum of two."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from ipaddress import IPv4Network

from fixtures.containers import in_network_of
from fixtures.lab import Lab
from fixtures.overlay import Overlay
from fixtures.vantages import Vantages
from fixtures.waiting import limit, wait_for
from overlab.model import Endpoint, Finding, Phase, Verdict
from probes import reachability, routing
from probes.common import ordered_pairs
from reports.recording import Recorder
from scenarios.contract import Contract
from scenarios.etcd.overlay import NETWORK, V2, EtcdOverlay, healthy
from scenarios.families.docker import hidden, libnetwork
from scenarios.families.docker.base import StoreState, ask_for_network, network_again
from scenarios.families.docker.contract import Mutations, Store, Tables
from scenarios.questions import SHORT_S

UNAVAILABLE = "etcd cluster is unavailable"


class TestContract(Contract):
    """What every overlay must show."""

    counted_s = SHORT_S


class TestPaper:
    """The facts that the paper prints."""

    def test_members(self, lab: Lab, endpoints: list[Endpoint], record: Recorder) -> None:
        """Both members are healthy, under the ids that token and addresses give them."""
        shown = lab.node("docker-node2").run(["etcdctl", "cluster-health"], env=V2).out
        words = "cluster is healthy" if "cluster is healthy" in shown else shown.strip().splitlines()[-1]
        assert record(Finding("health", "ok", words), paper="health").ok, shown
        for node in ("docker-node1", "docker-node2"):
            url = f"http://{lab.node(node).address}:2379"
            member = next(line.split()[1] for line in shown.splitlines() if line.endswith(url))
            finding = Finding("member", "ok", member, dst=node)
            assert record(finding, paper=f"member-{node}").ok, finding

    def test_network_is_everywhere(self, lab: Lab, endpoints: list[Endpoint], record: Recorder) -> None:
        """A network that was made on one node is on the other, with one id and global scope."""
        seen = [hidden.inspect(node, NETWORK) for node in lab.nodes.values()]
        assert seen[0]["Id"] == seen[1]["Id"]
        told = {
            "scope": seen[1]["Scope"],
            "driver": seen[1]["Driver"],
            "ipam": seen[1]["IPAM"]["Driver"],
            "subnet": seen[1]["IPAM"]["Config"][0]["Subnet"],
            "gateway": seen[1]["IPAM"]["Config"][0]["Gateway"],
        }
        for what, value in told.items():
            finding = Finding(what, "ok", value, dst=NETWORK)
            assert record(finding, paper=what).ok, finding

    def test_interfaces(self, lab: Lab, endpoints: list[Endpoint], record: Recorder) -> None:
        """eth0 is on the overlay, eth1 on the node's own gateway bridge: the same address on both nodes."""
        for endpoint in endpoints:
            shown = in_network_of(lab.node(endpoint.node), endpoint.container, ["ip", "-j", "address"])
            links = {row["ifname"]: row for row in json.loads(shown.out)}
            for name in ("eth0", "eth1"):
                inet = links[name]["addr_info"][0]
                facts = {
                    "address": inet["local"],
                    "netmask": str(IPv4Network((0, inet["prefixlen"])).netmask),
                    "mac": links[name]["address"],
                    "mtu": links[name]["mtu"],
                }
                for what, value in facts.items():
                    unit = "bytes" if what == "mtu" else ""
                    finding = Finding(f"{name}-{what}", "ok", value, unit, dst=f"{endpoint} {name}")
                    assert record(finding, paper=f"{endpoint.container}-{name}-{what}").ok, finding
                if (endpoint.container, name) == ("test1", "eth0"):
                    finding = Finding("eth0-broadcast", "ok", inet["broadcast"], dst=f"{endpoint} {name}")
                    assert record(finding, paper="test1-eth0-broadcast").ok, finding

    def test_a_name_is_taken(self, lab: Lab, endpoints: list[Endpoint], record: Recorder) -> None:
        """A second test1 is refused on the other node, in the engine's own words, and costs no address."""
        node = lab.node("docker-node2")
        refused = node.run(
            ["docker", "run", "-d", "--name", "test1", f"--network={NETWORK}", "overlab/tools"], check=False
        )
        node.run(["docker", "rm", "-f", "test1"], check=False)
        said = refused.err.strip().rpartition("daemon: ")[2]
        taken = "endpoint with name test1 already exists" in said
        finding = Finding("second-test1", "ok" if taken else "not-refused", said, dst=node.name)
        assert record(finding, paper="second-test1").ok, finding
        third = ["docker", "run", "--rm", f"--network={NETWORK}", "overlab/tools", "hostname", "-i"]
        assert "10.0.0.4" in node.run(third).out.split(), "the refused container kept an address"

    def test_ping(self, lab: Lab, endpoints: list[Endpoint], record: Recorder) -> None:
        """The paper's own ping, container to container: answered, with as many bytes."""
        src, dst = endpoints
        shown = in_network_of(
            lab.node(src.node), src.container, ["ping", "-c", "2", "-i", "0.2", str(dst.address)]
        )
        size = int(shown.out.partition("(")[2].partition("56(")[2].partition(")")[0])
        assert " 0% packet loss" in shown.out
        finding = Finding("ping", "ok", size, "bytes", src=str(src), dst=str(dst))
        assert record(finding, paper="ping-bytes").ok, finding

    def test_ttl(self, endpoints: list[Endpoint], vantages: Vantages, record: Recorder) -> None:
        """Nobody routes on an overlay's own link: TTL 64 arrives as 64."""
        src, dst = (vantages.peer(e) for e in endpoints)
        found = routing.one_way(src, dst, hops=0)
        assert found.ok, found
        assert isinstance(found.value, int)
        finding = Finding("ttl", "ok", 64 - found.value, src=str(src), dst=str(dst))
        assert record(finding, paper="ttl").ok, finding


class TestTables(Tables):
    """The hidden namespaces tell the truth."""

    network = NETWORK


class TestStore(Store):
    """So does the store."""


class TestQuorum:
    """Two members are a quorum of two."""

    def test_one_member_dies(
        self, lab: Lab, overlay: Overlay, endpoints: list[Endpoint], vantages: Vantages, record: Recorder
    ) -> None:
        """What runs goes on; a new network is refused on both nodes, and the finding says why."""
        assert isinstance(overlay, EtcdOverlay)
        left, dead = lab.nodes.values()
        dead.run(["pkill", "-KILL", "-x", "etcd"])
        dead.stop_service("etcd")
        with ThreadPoolExecutor(2) as pool:
            asked = [pool.submit(ask_for_network, overlay, lab, node, f"on-{node}") for node in (left, dead)]
            pairs = ordered_pairs(vantages.peers(endpoints))
            talking = reachability.check(pairs, mtu=overlay.promise.path_mtu(lab.underlay.mtu))
            assert not any(future.done() for future in asked), "invalid: the engines had been answered before"
            assert all(record(f, phase=Phase.FAULT).ok for f in talking), talking
            refused = [future.result() for future in asked]
        for found, state in zip(refused, (StoreState.NO_QUORUM, StoreState.UNREACHABLE), strict=True):
            named = found.outcome == state and UNAVAILABLE in found.reason
            record(found, phase=Phase.FAULT, verdict=Verdict.PASS if named else Verdict.FAIL)
            assert named, found
        overlay.start_member(dead)
        for node in lab.nodes.values():
            wait_for("both members to be healthy again", partial(healthy, node), within=limit("members"))
            record(network_again(overlay, lab, node), phase=Phase.HEAL)
        content = overlay.stored(dead)
        assert all(f.ok for f in libnetwork.compare(lab, NETWORK, content)), "the store lost something"


class TestMutations(Mutations):
    """Causes by name."""

    network = NETWORK


class TestReboot:
    """A node shuts down and boots: its member and its engine come back by themselves."""

    def test_reboot(
        self, lab: Lab, overlay: Overlay, endpoints: list[Endpoint], vantages: Vantages, record: Recorder
    ) -> None:
        """The member rejoins, the network is there, and its container speaks and is spoken to again."""
        stayed, gone = endpoints
        node = lab.node(gone.node)
        vantages.forget(node.name)
        node.reboot()
        wait_for("both members to be healthy again", partial(healthy, node), within=limit("members"))
        assert hidden.identity(node, NETWORK) == hidden.identity(lab.node(stayed.node), NETWORK)
        (back,) = overlay.revive(lab, [gone])
        peers = vantages.peers([stayed, back])
        # Whoever was not there when the others came has to ask for them: first packets are lost.
        met = reachability.check(ordered_pairs(peers), attempts=5)
        for found in [*met, *hidden.check(lab, NETWORK, peers)]:
            assert record(found, phase=Phase.HEAL).ok, found
