r"""Docker Swarm: one manager, four workers, and the overlay networks that the manager hands out.

    docker-manager-alex .10   docker-worker1 .11   docker-worker2 .12   ...-polina .13   ...-zfs-polina .14
    +---------------------+   +----------------+   +----------------+   +------------+   +----------------+
    | swarm manager  2377 |   | swarm worker   |   | swarm worker   |   | worker     |   | worker         |
    | registry       5000 |   |                |   |                |   |            |   |                |
    | probe1 10.0.1.x     |   | probe2         |   | probe3         |   | probe4     |   | probe5         |
    +----|----------------+   +---|------------+   +---|------------+   +---|--------+   +---|------------+
       enp1s0 ------ 192.168.122.0/24: gossip 7946, VXLAN UDP 4789 -----------------------------

No store beside the engines: the managers keep the state among themselves (Raft), and the engines tell each
other of networks and endpoints by gossip. A network reaches a worker when its first container does. The
contract's containers are started by `docker run`, which an attachable network allows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from ipaddress import IPv4Address, IPv4Network
from typing import Literal

from pydantic import Field

from fixtures import overlay as base
from fixtures.lab import Lab
from overlab.model import Endpoint, Flow, NodeSpec, Topology
from scenarios.families.docker.base import EngineOverlay, overlay_promise
from scenarios.families.docker.engine import remove_network
from scenarios.swarm import cluster, storage

NETWORK = "dockercoins"
REGISTRY = "192.168.122.10:5000"
FLAGS = (f"--insecure-registry={REGISTRY}",)
NAMES = (
    "docker-manager-alex",
    "docker-worker1",
    "docker-worker2",
    "docker-worker-polina",
    "docker-worker-zfs-polina",
)
# The node that the paper gives another storage driver.
STORAGE_NODE = "docker-worker-zfs-polina"


class Options(base.Options):
    """Options of the Swarm scenario."""

    storage: Literal["overlay2", "btrfs", "zfs"] = Field(
        "overlay2", description=f"storage driver of {STORAGE_NODE}; the others have overlay2"
    )


class Swarm(EngineOverlay):
    """The paper's farm."""

    network = NETWORK
    patience = "members"  # a manager may be silent for 20 s before an engine is refused
    options_type = Options
    topology = Topology(
        name="swarm",
        nodes=tuple(NodeSpec(name, IPv4Address(f"192.168.122.{n}")) for n, name in enumerate(NAMES, 10)),
        network=IPv4Network("192.168.122.0/24"),
        interface="enp1s0",
        layers=("scenarios", "scenarios/swarm"),
        images=("scenarios/swarm/images/nginx", "scenarios/swarm/images/nginx-lb"),
        flags=FLAGS,
    )
    promise = overlay_promise(Flow("tcp", cluster.PORT, "workers and managers"))
    placement: Mapping[str, str] = {
        "redis": "docker-manager-alex",
        "rng": "docker-worker1",
        "hasher": "docker-worker2",
        "worker": "docker-worker-polina",
        "webui": "docker-worker-zfs-polina",
    }

    def __init__(self, options: base.Options) -> None:
        super().__init__(options)
        assert isinstance(options, Options)
        self.storage = options.storage

    def up(self, lab: Lab) -> None:
        """Make the farm in the paper's order: the manager, its four workers; then the network."""
        if self.storage != storage.DEFAULT:
            storage.use(lab.node(STORAGE_NODE), self.storage, FLAGS)
        cluster.name_nodes(lab)
        manager = lab.node(NAMES[0])
        cluster.init(lab, manager)
        cluster.join_all(lab, manager, [lab.node(name) for name in NAMES[1:]])
        manager.run(["docker", "network", "create", "--driver=overlay", "--attachable", NETWORK])

    def down(self, lab: Lab) -> None:
        """Remove the network, then let everybody leave; the last manager has to be forced."""
        manager = lab.node(NAMES[0])
        remove_network(manager, NETWORK)
        for name in reversed(NAMES):
            lab.node(name).run(["docker", "swarm", "leave", "--force"])

    def populate(self, lab: Lab) -> list[Endpoint]:
        """Start an idle container a node; each with a name of its own, as the network knows one of a name."""
        numbers = {name: number for number, name in enumerate(NAMES, 1)}
        start = lab.each(lambda node: self.run(node, f"probe{numbers[node.name]}", "overlab/tools"))
        return list(start.values())

    def variant(self, kernel_has: Callable[[str], bool]) -> dict[str, str]:
        """Name how services are reached: that needs IPVS in the kernel, or does without."""
        return {"balancing": cluster.balancing(kernel_has).value, "storage": self.storage}


OVERLAY = Swarm
