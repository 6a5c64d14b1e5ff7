r"""Docker's own overlay with etcd as its key-value store, as it was before Swarm mode.

    docker-node1 192.168.205.10            docker-node2 192.168.205.11
    +------------------------------+       +------------------------------+
    | test1  eth0 10.0.0.2   (demo)|       | test2  eth0 10.0.0.3   (demo)|
    |        eth1 172.18.0.2 (gw)  |       |        eth1 172.18.0.2 (gw)  |
    | dockerd --cluster-store      |       | dockerd --cluster-store      |
    | etcd 2379 ---- 2380 -------- | ----- | etcd                         |
    +---|--------------------------+       +---|--------------------------+
       eth1 ------ VXLAN, UDP 4789 ------------ eth1

Each engine talks to the etcd on its own node; what one writes (networks, endpoints, addresses) the other
reads. A network has global scope: made on one node, it is there on the other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from ipaddress import IPv4Address, IPv4Network
from typing import ClassVar

from fixtures.lab import Lab
from fixtures.node import Node
from fixtures.overlay import Overlay, container_address
from fixtures.waiting import NotYet, limit, wait_for
from overlab.model import Endpoint, Flow, LinkMode, Naming, NodeSpec, Promise, Topology

NETWORK = "demo"
TOKEN = "etcd-cluster"  # noqa: S105 - the paper's word for the cluster, no secret
VXLAN_OVERHEAD = 50  # IPv4 20 + UDP 8 + VXLAN 8 + inner Ethernet 14
CLIENT, PEER, ENGINE, GOSSIP, VXLAN = 2379, 2380, 2375, 7946, 4789


class EtcdOverlay(Overlay):
    """The paper's two nodes."""

    engines: ClassVar[tuple[str, ...]] = ("20.10",)  # the last line with --cluster-store
    topology = Topology(
        name="etcd",
        nodes=(
            NodeSpec("docker-node1", IPv4Address("192.168.205.10")),
            NodeSpec("docker-node2", IPv4Address("192.168.205.11")),
        ),
        network=IPv4Network("192.168.205.0/24"),
        layers=("scenarios", "scenarios/etcd"),
    )
    promise = Promise(
        link=LinkMode.PROXY_ARP,  # answered on the node, from what the store says
        interface_mtu=lambda underlay: underlay - VXLAN_OVERHEAD,
        path_mtu=lambda underlay: underlay - VXLAN_OVERHEAD,
        wire_bytes=lambda inner, underlay: inner + VXLAN_OVERHEAD,
        outer=Flow("udp", VXLAN, "VXLAN"),
        encrypted=False,
        hops=0,
        naming=Naming.DOCKER_DNS,
        control=(
            Flow("tcp", CLIENT, "engines and etcd"),
            Flow("tcp", PEER, "etcd members"),
            Flow("tcp", GOSSIP, "the engines' gossip"),
            Flow("udp", GOSSIP, "the engines' gossip"),
        ),
    )
    placement: Mapping[str, str] = {
        "rng": "docker-node1",
        "worker": "docker-node1",
        "redis": "docker-node1",
        "hasher": "docker-node2",
        "webui": "docker-node2",
    }

    def up(self, lab: Lab) -> None:
        """Start etcd on both nodes, put the engines on it, and make the network on the first."""
        for node in lab.nodes.values():
            node.service("etcd", self._etcd(node))
        first = next(iter(lab.nodes.values()))
        wait_for("etcd's members to be healthy", lambda: healthy(first), within=limit("members"))
        for node in lab.nodes.values():
            listen = [f"--host=tcp://0.0.0.0:{ENGINE}", "--host=unix:///var/run/docker.sock"]
            store = f"--cluster-store=etcd://{node.address}:{CLIENT}"
            node.configure_engine([*listen, store, f"--cluster-advertise={node.address}:{ENGINE}"])
        first.run(["docker", "network", "create", "-d", "overlay", NETWORK])
        for node in lab.nodes.values():
            wait_for(f"{NETWORK} on {node}", partial(_has_network, node), within=limit("overlay"))

    def _etcd(self, node: Node) -> list[str]:
        cluster = ",".join(f"{n.name}=http://{n.address}:{PEER}" for n in self.topology.nodes)
        return [
            "etcd",
            *("--name", node.name),
            *("--data-dir", "/var/lib/etcd/default"),
            *("--initial-advertise-peer-urls", f"http://{node.address}:{PEER}"),
            *("--listen-peer-urls", f"http://{node.address}:{PEER}"),
            *("--listen-client-urls", f"http://{node.address}:{CLIENT},http://127.0.0.1:{CLIENT}"),
            *("--advertise-client-urls", f"http://{node.address}:{CLIENT}"),
            *("--initial-cluster-token", TOKEN),
            *("--initial-cluster", cluster),
            *("--initial-cluster-state", "new"),
            "--enable-v2",  # libkv, in the engine, speaks the API of etcd 2
        ]

    def down(self, lab: Lab) -> None:
        """Remove the network, take the engines off the store, and stop etcd."""
        next(iter(lab.nodes.values())).run(["docker", "network", "rm", NETWORK])
        for node in lab.nodes.values():
            node.configure_engine()
            node.stop_service("etcd")
            node.run(["rm", "-rf", "/var/lib/etcd/default"])

    def attach(self, node: Node) -> Sequence[str]:
        """See Overlay."""
        return [f"--network={NETWORK}"]

    def address(self, node: Node, container: str) -> IPv4Address:
        """See Overlay."""
        return container_address(node, container, NETWORK)

    def populate(self, lab: Lab) -> list[Endpoint]:
        """Start test1 and test2, one after the other, so that their addresses come in order."""
        first, second = lab.nodes.values()
        return [self.run(first, "test1", "overlab/tools"), self.run(second, "test2", "overlab/tools")]


def healthy(node: Node) -> None:
    """Raise NotYet until every member of the cluster is healthy, asked in the paper's way."""
    shown = node.run(["etcdctl", "cluster-health"], env={"ETCDCTL_API": "2"}, check=False, quiet=True)
    if "cluster is healthy" not in shown.out:
        raise NotYet((shown.out + shown.err).strip()[-200:])


def _has_network(node: Node) -> None:
    names = node.run(["docker", "network", "ls", "--format", "{{.Name}}"], quiet=True).out.split()
    if NETWORK not in names:
        raise NotYet(f"networks {', '.join(names)}")


OVERLAY = EtcdOverlay
