"""Docker's overlay on etcd: the contract, and what the paper prints."""

from __future__ import annotations

import json
from typing import Any

from fixtures.containers import in_network_of
from fixtures.lab import Lab
from fixtures.node import Node
from fixtures.vantages import Vantages
from overlab.model import Endpoint, Finding
from probes import routing
from reports.recording import Recorder
from scenarios.contract import Contract
from scenarios.etcd.overlay import NETWORK

CLUSTER_HEALTH = {"ETCDCTL_API": "2"}


class TestContract(Contract):
    """What every overlay must show."""


class TestPaper:
    """The facts that the paper prints."""

    def test_members(self, lab: Lab, endpoints: list[Endpoint], record: Recorder) -> None:
        """Both members are healthy, under the ids that token and addresses give them."""
        shown = lab.node("docker-node2").run(["etcdctl", "cluster-health"], env=CLUSTER_HEALTH).out
        for node in ("docker-node1", "docker-node2"):
            url = f"http://{lab.node(node).address}:2379"
            member = next(line.split()[1] for line in shown.splitlines() if line.endswith(url))
            finding = Finding("member", "ok", member, dst=node)
            assert record(finding, paper=f"member-{node}").ok, finding

    def test_network_is_everywhere(self, lab: Lab, endpoints: list[Endpoint], record: Recorder) -> None:
        """A network that was made on one node is on the other, with one id and global scope."""
        seen = [_network(node) for node in lab.nodes.values()]
        assert seen[0]["Id"] == seen[1]["Id"]
        for what, value in (("scope", seen[1]["Scope"]), ("subnet", seen[1]["IPAM"]["Config"][0]["Subnet"])):
            finding = Finding(what, "ok", value, dst=NETWORK)
            assert record(finding, paper=what).ok, finding

    def test_interfaces(self, lab: Lab, endpoints: list[Endpoint], record: Recorder) -> None:
        """eth0 is on the overlay, eth1 on the node's own gateway bridge: the same address on both nodes."""
        for endpoint in endpoints:
            shown = in_network_of(lab.node(endpoint.node), endpoint.container, ["ip", "-j", "address"])
            links = {row["ifname"]: row for row in json.loads(shown.out)}
            for name in ("eth0", "eth1"):
                facts = {
                    "address": links[name]["addr_info"][0]["local"],
                    "mac": links[name]["address"],
                    "mtu": links[name]["mtu"],
                }
                for what, value in facts.items():
                    unit = "bytes" if what == "mtu" else ""
                    finding = Finding(f"{name}-{what}", "ok", value, unit, dst=f"{endpoint} {name}")
                    assert record(finding, paper=f"{endpoint.container}-{name}-{what}").ok, finding

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

    def test_ttl(self, endpoints: list[Endpoint], vantages: Vantages, record: Recorder) -> None:
        """Nobody routes on an overlay's own link: TTL 64 arrives as 64."""
        src, dst = (vantages.peer(e) for e in endpoints)
        found = routing.one_way(src, dst, hops=0)
        assert found.ok, found
        assert isinstance(found.value, int)
        finding = Finding("ttl", "ok", 64 - found.value, src=str(src), dst=str(dst))
        assert record(finding, paper="ttl").ok, finding


def _network(node: Node) -> dict[str, Any]:
    shown = node.run(["docker", "network", "inspect", NETWORK]).out
    found: dict[str, Any] = json.loads(shown)[0]
    return found
