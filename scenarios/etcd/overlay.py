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
reads. A network has global scope: made on one node, it is there on the other. Two members are a quorum of
two: when one dies nothing can be written any more, and what runs goes on.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import partial
from ipaddress import IPv4Address, IPv4Network
from typing import Any, ClassVar

from fixtures.lab import Lab
from fixtures.node import Node
from fixtures.waiting import NotYet, limit, wait_for
from overlab.model import Flow, NodeSpec, Topology
from scenarios.families.docker.base import StoreOverlay, StoreState, overlay_promise
from scenarios.families.docker.libnetwork import ROOT

NETWORK = "demo"
TOKEN = "etcd-cluster"  # noqa: S105 - the paper's word for the cluster, no secret
CLIENT, PEER = 2379, 2380
V2 = {"ETCDCTL_API": "2"}
DATA = "/var/lib/etcd/default"


class EtcdOverlay(StoreOverlay):
    """The paper's two nodes."""

    network = NETWORK
    store_ports: ClassVar[tuple[int, ...]] = (CLIENT,)
    topology = Topology(
        name="etcd",
        nodes=(
            NodeSpec("docker-node1", IPv4Address("192.168.205.10")),
            NodeSpec("docker-node2", IPv4Address("192.168.205.11")),
        ),
        network=IPv4Network("192.168.205.0/24"),
        layers=("scenarios", "scenarios/etcd"),
        engine_waits=True,
    )
    promise = overlay_promise(Flow("tcp", CLIENT, "engines and etcd"), Flow("tcp", PEER, "etcd members"))
    placement: Mapping[str, str] = {
        "rng": "docker-node1",
        "worker": "docker-node1",
        "redis": "docker-node1",
        "hasher": "docker-node2",
        "webui": "docker-node2",
    }

    def start_store(self, lab: Lab) -> None:
        """Start a member a node, by the paper's command lines."""
        lab.each(self.start_member)
        for node in lab.nodes.values():
            wait_for("etcd's members to be healthy", partial(healthy, node), within=limit("members"))

    def start_member(self, node: Node) -> None:
        """Start the member on `node`; it knows the others by the cluster's first list."""
        cluster = ",".join(f"{n.name}=http://{n.address}:{PEER}" for n in self.topology.nodes)
        argv = [
            "etcd",
            *("--name", node.name),
            *("--data-dir", DATA),
            *("--initial-advertise-peer-urls", f"http://{node.address}:{PEER}"),
            *("--listen-peer-urls", f"http://{node.address}:{PEER}"),
            *("--listen-client-urls", f"http://{node.address}:{CLIENT},http://127.0.0.1:{CLIENT}"),
            *("--advertise-client-urls", f"http://{node.address}:{CLIENT}"),
            *("--initial-cluster-token", TOKEN),
            *("--initial-cluster", cluster),
            *("--initial-cluster-state", "new"),
            "--enable-v2",  # libkv, in the engine, speaks the API of etcd 2
        ]
        node.service("etcd", argv, before_engine=True)

    def stop_store(self, lab: Lab) -> None:
        """Stop both members."""

        def stop(node: Node) -> None:
            node.stop_service("etcd")
            node.run(["rm", "-rf", DATA])

        lab.each(stop)

    def store_url(self, node: Node) -> str:
        """Its own member, as the paper has it."""
        return f"etcd://{node.address}:{CLIENT}"

    def store_state(self, node: Node) -> tuple[StoreState, str]:
        """See StoreOverlay: a member without a leader says that it is not healthy."""
        url = f"http://{node.address}:{CLIENT}/health"
        told = node.run(["curl", "-sS", "-m", "5", url], check=False)
        if told.status != 0:
            return StoreState.UNREACHABLE, told.err.strip()
        state = StoreState.OK if '"health":"true"' in told.out else StoreState.NO_QUORUM
        return state, told.out.strip()

    def stored(self, node: Node) -> dict[str, str]:
        """See StoreOverlay; one request, as etcd's own API gives a folder as a tree."""
        url = f"http://127.0.0.1:{CLIENT}/v2/keys/{ROOT}?recursive=true"
        tree = json.loads(node.run(["curl", "-sf", url], quiet=True).out)["node"]
        return {leaf["key"].removeprefix(f"/{ROOT}/"): leaf["value"] for leaf in _leaves(tree)}

    def write(self, node: Node, path: str, value: str | None) -> None:
        """See StoreOverlay."""
        words = ["rm", f"/{ROOT}/{path}"] if value is None else ["set", f"/{ROOT}/{path}", value]
        node.run(["etcdctl", *words], env=V2)

    def version(self, lab: Lab) -> dict[str, str]:
        """Return etcd's own version."""
        node = next(iter(lab.nodes.values()))
        return {"etcd": node.run(["etcd", "--version"], quiet=True).out.split()[2]}


def _leaves(tree: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if "value" in tree:
        yield tree
    for node in tree.get("nodes", []):
        yield from _leaves(node)


def healthy(node: Node) -> str:
    """Return what etcd says of its cluster, asked in the paper's way; raise NotYet until all is healthy."""
    shown = node.run(["etcdctl", "cluster-health"], env=V2, check=False, quiet=True)
    if "cluster is healthy" not in shown.out:
        raise NotYet((shown.out + shown.err).strip()[-200:])
    return shown.out


OVERLAY = EtcdOverlay
