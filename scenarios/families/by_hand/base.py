r"""VXLAN made by hand: what the scenarios share that use no overlay driver of Docker's.

    container eth1 ---veth--- br0 --- vxlan1 ~~~ UDP 4789 ~~~ vxlan1 --- br0 ---veth--- eth1 container
              eth0 --- bridge `gateway` of its node: the way out, and published ports

Docker starts a container; a script on its node (`join`) then puts one end of a veth pair into it. Its address
and its link address are labels of the container, so that a node that boots can join what Docker has started
again. What vxlan1 knows of containers elsewhere, and from whom, is what the scenarios differ in.
"""

from __future__ import annotations

import threading
from abc import abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network
from typing import ClassVar

from fixtures.lab import Lab
from fixtures.node import Node
from fixtures.overlay import Options, Overlay
from overlab.model import Endpoint, Flow, LinkMode, Naming, NodeSpec, Promise, Topology
from probes.neighbours import Table
from scenarios.families.by_hand import steps
from scenarios.families.by_hand.steps import Place
from scenarios.families.vxlan.promise import vxlan

NETWORK = IPv4Network("192.168.0.0/24")
VNI = 42
SERVICE = "overlay"


def topology(name: str) -> Topology:
    """Return the paper's two nodes."""
    return Topology(
        name=name,
        nodes=tuple(NodeSpec(f"node{n}", IPv4Address(f"192.168.56.10{n}")) for n in (1, 2)),
        network=IPv4Network("192.168.56.0/24"),
        layers=("scenarios", f"scenarios/{name}"),
    )


def promise(link: LinkMode, *control: Flow) -> Promise:
    """Return what VXLAN promises; who answers ARP and what is said beside it is the scenario's to say."""
    return vxlan(link, Naming.HOSTS_FILE, *control)


def mac_of(address: IPv4Address) -> str:
    """Return the link address that Docker too derives from an address: 02:42 and its four bytes."""
    return ":".join(f"{byte:02x}" for byte in (0x02, 0x42, *address.packed))


@dataclass(slots=True)
class Plan:
    """Which addresses are given away; may be asked from several threads."""

    taken: set[IPv4Address] = field(default_factory=lambda: {NETWORK[1]})  # a gateway's, by custom
    lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self) -> IPv4Address:
        """Return the lowest free address."""
        with self.lock:
            found = next(address for address in NETWORK.hosts() if address not in self.taken)
            self.taken.add(found)
            return found

    def free(self, address: IPv4Address) -> None:
        """Take an address back."""
        with self.lock:
            self.taken.discard(address)


class HandMade(Overlay):
    """Containers that a script joins to a bridge with a VXLAN device."""

    namespace: ClassVar[str]  # that bridge and device are in; "" for the node's own
    neighbour_settings: ClassVar[Mapping[str, int]] = {}  # of a container's link
    placement: Mapping[str, str] = {
        "rng": "node1",
        "worker": "node1",
        "redis": "node1",
        "hasher": "node2",
        "webui": "node2",
    }

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        self.place = Place(self.namespace, self.promise.interface_mtu(self.topology.mtu))
        self._plan = Plan()
        self._lab: Lab | None = None

    # What a scenario says.

    @abstractmethod
    def device(self, node: Node) -> str:
        """Return the script that makes the VXLAN device of `node` and puts it to the bridge."""

    @abstractmethod
    def up_script(self, node: Node) -> str:
        """Return what a boot does: see `steps.up`."""

    @abstractmethod
    def down_script(self, node: Node) -> str:
        """Return what undoes that."""

    @abstractmethod
    def announce(self, lab: Lab, endpoint: Endpoint) -> None:
        """Let all nodes know where an address is now."""

    @abstractmethod
    def withdraw(self, lab: Lab, endpoint: Endpoint) -> None:
        """Let all nodes know that an address is nowhere."""

    @abstractmethod
    def tables(self, lab: Lab, wanted: Collection[IPv4Address] = ()) -> list[Table]:
        """Read the tables that packets are sent by, on every node, beside what is true of them.

        `wanted` are addresses that were just spoken with: what is made on demand has to know them.
        """

    @abstractmethod
    def why_missing(self, node: Node) -> tuple[str, str]:
        """Say why `node` lacks an entry: the class of the cause, and the reason in words."""

    # What follows.

    @property
    def lab(self) -> Lab:
        """The lab that the overlay is up in."""
        assert self._lab, "the overlay is not up"
        return self._lab

    def up(self, lab: Lab) -> None:
        """Make bridge and device on every node, by a service that does it again at every boot."""
        self._lab = lab
        lab.each(self._build)

    def _build(self, node: Node) -> None:
        # Containers reach each other by the overlay, not by their way out.
        flags = ["bridge.name=" + steps.GATEWAY, "bridge.enable_icc=false"]
        options = [f"--opt=com.docker.network.{flag}" for flag in flags]
        node.run(["docker", "network", "create", "--driver=bridge", *options, steps.GATEWAY])
        node.put(steps.UP, self.up_script(node))
        node.put(steps.DOWN, self.down_script(node))
        node.put(steps.DEVICE, self.device(node))
        node.put(steps.JOIN, steps.join(self.place, NETWORK.prefixlen, self.neighbour_settings))
        node.service(SERVICE, ["sh", "-ex", steps.UP], oneshot=True, stop=["sh", "-ex", steps.DOWN])

    def down(self, lab: Lab) -> None:
        """Undo `up`."""

        def undo(node: Node) -> None:
            node.stop_service(SERVICE)
            node.run(["docker", "network", "rm", steps.GATEWAY])
            node.run(["rm", "-rf", steps.FOLDER])

        lab.each(undo)

    def attach(self, node: Node) -> Sequence[str]:
        """Return the flags of a container before it is joined: its way out."""
        return [f"--network={steps.GATEWAY}"]

    def address(self, node: Node, container: str) -> IPv4Address:
        """See Overlay."""
        shape = f'{{{{index .Config.Labels "{steps.ADDRESS}"}}}}'
        return IPv4Address(node.run(["docker", "inspect", "-f", shape, container], quiet=True).out.strip())

    def populate(self, lab: Lab) -> list[Endpoint]:
        """Start an idle container a node, one after the other: .2 is on node1, .3 on node2."""
        return [self.run(node, "probe0", "overlab/tools") for node in lab.nodes.values()]

    def run(self, node: Node, name: str, image: str, *flags: str, command: Sequence[str] = ()) -> Endpoint:
        """Start a container at the lowest free address, let all nodes know, and join it."""
        return self.start(node, name, image, self._plan.take(), *flags, command=command)

    def start(
        self,
        node: Node,
        name: str,
        image: str,
        address: IPv4Address,
        *flags: str,
        command: Sequence[str] = (),
    ) -> Endpoint:
        """The same at a given address."""
        endpoint = Endpoint(name, node.name, address)
        labels = [f"--label={steps.ADDRESS}={address}", f"--label={steps.MAC}={mac_of(address)}"]
        start = ["docker", "run", "-d", "--name", name, *self.attach(node), *labels]
        node.run([*start, *flags, image, *command])
        # First: a device that still answers ARP for the address would answer the container's own
        # announcement, by its link address, and the bridge would believe it to be behind that device.
        self.announce(self.lab, endpoint)
        self.join(node, endpoint)
        return endpoint

    def join(self, node: Node, endpoint: Endpoint) -> None:
        """Put a container that runs on the overlay; nothing happens where it is there already."""
        given = [endpoint.container, str(endpoint.address), mac_of(endpoint.address)]
        node.run(["sh", "-ex", steps.JOIN, *given])

    def move(self, endpoint: Endpoint, to: Node, image: str) -> Endpoint:
        """Let a container go on at another node, with its name, its address and its link address.

        As a live migration does: the new one is there before the old one is gone.
        """
        moved = self.start(to, endpoint.container, image, endpoint.address)
        self._remove(self.lab.node(endpoint.node), [endpoint])
        return moved

    def _remove(self, node: Node, endpoints: Sequence[Endpoint]) -> None:
        """Remove containers with their links: a namespace that others still use would keep those."""
        super().discard(node, endpoints)
        for endpoint in endpoints:
            delete = [*self.place.ip.split(), "link", "del", steps.port(endpoint.address)]
            node.run(delete, check=False)  # the kernel may have been first

    def discard(self, node: Node, endpoints: Sequence[Endpoint]) -> None:
        """See Overlay; the addresses are free again."""
        self._remove(node, endpoints)
        for endpoint in endpoints:
            self.withdraw(self.lab, endpoint)
            self._plan.free(endpoint.address)

    def revive(self, lab: Lab, endpoints: Sequence[Endpoint]) -> list[Endpoint]:
        """Start and join the containers of a node that was rebooted: their addresses are their own."""
        for endpoint in endpoints:
            node = lab.node(endpoint.node)
            node.run(["docker", "start", endpoint.container])
            self.join(node, endpoint)
        return list(endpoints)
