r"""Docker's own overlay with Consul as its key-value store: a store that one can look into.

    node1 192.168.56.101                   node2 192.168.56.102
    +------------------------------+       +------------------------------+
    | test1 eth0 10.0.0.2          |       | test2 eth0 10.0.0.3          |
    | dockerd --cluster-store      |       | dockerd --cluster-store      |
    |   | 8500 (API and web page)  |       |   | 8500                     |
    | consul server ------------ 8300, 8301 ---- consul agent             |
    | tinyproxy 8888               |       | tinyproxy 8888               |
    +---|--------------------------+       +---|--------------------------+
       eth1 ------ VXLAN, UDP 4789 ------------ eth1
        +------- /vagrant: one folder on both -------+

Each engine talks to the Consul on its own node; node1's is the server, which keeps the data, node2's an
agent, which asks it. Three recorders on node1 show what the kernel does when a container starts and
sends its first packet.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from functools import partial
from ipaddress import IPv4Address, IPv4Network
from typing import ClassVar

from fixtures.lab import Lab
from fixtures.node import Node
from fixtures.waiting import NotYet, limit, wait_for
from overlab.model import Flow, NodeSpec, Topology
from scenarios.consul import proxies
from scenarios.families.docker.base import StoreOverlay, StoreState, overlay_promise
from scenarios.families.docker.libnetwork import ROOT

NETWORK = "demo"
HTTP, RPC, GOSSIP = 8500, 8300, 8301
DATA = "/var/lib/consul"
SHARED = "/vagrant"
# It asks nobody for updates; alone in its cluster, a server need not wait long for others before it leads;
# and a reboot is no farewell: who leaves is forgotten, and known again only a minute after the return.
SETTINGS = "disable_update_check = true performance { raft_multiplier = 1 } leave_on_terminate = false"


class ConsulOverlay(StoreOverlay):
    """The paper's two nodes."""

    network = NETWORK
    store_ports: ClassVar[tuple[int, ...]] = (HTTP,)
    topology = Topology(
        name="consul",
        nodes=(
            NodeSpec("node1", IPv4Address("192.168.56.101")),
            NodeSpec("node2", IPv4Address("192.168.56.102")),
        ),
        network=IPv4Network("192.168.56.0/24"),
        layers=("scenarios", "scenarios/consul"),
        engine_waits=True,
        shared=SHARED,
    )
    promise = overlay_promise(
        Flow("tcp", RPC, "Consul's agent and its server"),
        Flow("tcp", GOSSIP, "Consul's gossip"),
        Flow("udp", GOSSIP, "Consul's gossip"),
    )
    placement: Mapping[str, str] = {
        "rng": "node1",
        "worker": "node1",
        "redis": "node1",
        "hasher": "node2",
        "webui": "node2",
    }

    def start_store(self, lab: Lab) -> None:
        """Start the server and the agent, and the paper's proxies beside them."""
        lab.each(self._start)
        for node in lab.nodes.values():
            wait_for(f"Consul on {node} to have a leader", partial(leader, node), within=limit("members"))

    def _start(self, node: Node) -> None:
        server = self.topology.nodes[0]
        role = ["-server", "-bootstrap-expect=1", "-ui"]
        if node.name != server.name:
            role = [f"-retry-join={server.address}", "-retry-interval=1s", "-ui"]
        own = [f"-node={node.name}", f"-bind={node.address}", "-client=0.0.0.0", f"-data-dir={DATA}"]
        node.service("consul", ["consul", "agent", *role, *own, "-hcl", SETTINGS], before_engine=True)
        proxies.start(node, self.topology)

    def stop_store(self, lab: Lab) -> None:
        """Stop Consul and the proxies."""

        def stop(node: Node) -> None:
            proxies.stop(node)
            node.stop_service("consul")
            node.run(["rm", "-rf", DATA])

        lab.each(stop)

    def store_url(self, node: Node) -> str:
        """Consul on its own node."""
        return f"consul://127.0.0.1:{HTTP}"

    def store_state(self, node: Node) -> tuple[StoreState, str]:
        """See StoreOverlay: an agent without a server, or a server that does not lead, knows no leader."""
        told = node.run(["curl", "-sS", "-m", "10", f"http://127.0.0.1:{HTTP}/v1/status/leader"], check=False)
        if told.status != 0:
            return StoreState.UNREACHABLE, told.err.strip()
        return (StoreState.OK if f":{RPC}" in told.out else StoreState.NO_QUORUM), told.out.strip()

    def stored(self, node: Node) -> dict[str, str]:
        """See StoreOverlay; one request, as Consul gives all keys below one."""
        url = f"http://127.0.0.1:{HTTP}/v1/kv/{ROOT}?recurse"
        rows = json.loads(node.run(["curl", "-sf", url], quiet=True).out)
        return {
            row["Key"].removeprefix(f"{ROOT}/").rstrip("/"): base64.b64decode(row["Value"]).decode()
            for row in rows
            if row["Value"] is not None
        }

    def write(self, node: Node, path: str, value: str | None) -> None:
        """See StoreOverlay; here libnetwork's keys end with a slash."""
        url = f"http://127.0.0.1:{HTTP}/v1/kv/{ROOT}/{path}/"
        if value is None:
            node.run(["curl", "-sSf", "-X", "DELETE", url])
        else:
            node.run(["curl", "-sSf", "-X", "PUT", "--data-binary", "@-", url], input=value)

    def version(self, lab: Lab) -> dict[str, str]:
        """Return Consul's own version, and the engine's: it is another than Debian 12's."""
        node = next(iter(lab.nodes.values()))
        engine = node.run(["docker", "version", "-f", "{{.Server.Version}}"], quiet=True).out.strip()
        return {"consul": node.run(["consul", "version"], quiet=True).out.split()[1], "docker": engine}


def leader(node: Node) -> str:
    """Return the address of the leader that Consul on `node` knows; raise NotYet while it knows none."""
    asked = ["curl", "-s", "-m", "5", f"http://127.0.0.1:{HTTP}/v1/status/leader"]
    told = node.run(asked, check=False, quiet=True).out.strip()
    if f":{RPC}" not in told:
        raise NotYet(told or "nobody answers")
    return str(json.loads(told))


OVERLAY = ConsulOverlay
