r"""ZeroTier behind sidecars: an Ethernet over UDP, whose members find each other by a root.

    node1 192.168.62.11                             node2 192.168.62.12
    +-----------------------------------+           +-----------------------------------+
    | worker-orig   rng-orig redis-orig |           | hasher-orig   webui-orig          |
    |   : network of  :        :        |           |   : network of  :                 |
    | worker        rng      redis      |           | hasher        webui               |
    |   | zt.. 10.144.0.x, MTU 2800     |           |   | zt.. 10.144.0.y, MTU 2800     |
    |   | eth0 172.19.10.z              |           |   | eth0 172.19.20.z              |
    |   +-- Docker's NAT -- eth1 -------|--+     +--|---+-- Docker's NAT -- eth1        |
    +-----------------------------------+  |     |  +-----------------------------------+
                                  UDP 9993 |     | UDP 9993
                                  control 192.168.62.10: the root, and the network's controller

Every packet is encrypted from member to member. Behind Docker's NAT nothing leads from one node to the
sidecars of the other, so the root relays all of it; members whose ports are published speak directly.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Sequence
from functools import partial
from ipaddress import IPv4Address, IPv4Network
from typing import ClassVar, Literal

from pydantic import Field

from fixtures import overlay as base
from fixtures.containers import pid_of
from fixtures.lab import Lab
from fixtures.node import Node
from fixtures.sidecars import NODES, Sidecar, SidecarOverlay, topology
from fixtures.sidecars.compose import FOLDER
from fixtures.waiting import NotYet, limit, wait_for
from overlab.errors import NotHereError
from overlab.model import Endpoint, Flow, LinkMode, Naming, Promise, Secret
from scenarios.zerotier import one
from scenarios.zerotier.client import HOME, cli, has_address, identity, memberships, peers
from scenarios.zerotier.control import IMAGE, PORT, Control, CoreControl, OneControl, put_bytes

MTU = 2800
PHYSICAL = 1432  # bytes of UDP that the core fills, whatever lies under it (ZT_DEFAULT_PHYSMTU)
UDP = 28  # IPv4 20 + UDP 8
# Packet header 28 (counter 8, addresses 5 + 5, flags 1, authentication 8, verb 1), network 8, ethertype 2.
PACKET = 38
FRAGMENT = 16  # the header of a second packet
PLANET = f"{FOLDER}/planet"


class Options(base.Options):
    """Options of the ZeroTier scenario."""

    node: Literal["core", "one"] = Field(
        "core", description="core: our daemon over ZeroTier's core 1.8.4; one: the real zerotier-one"
    )
    one: str = Field("", description="zerotier-one itself, or an image of it saved by `docker save`")
    network: str = Field("", description="join this network of the public planet, in place of the lab's own")


def wire_bytes(inner: int, underlay_mtu: int) -> int:
    """Return the bytes of the outer IP packets: one, or two where it does not fit into 1432 bytes of UDP."""
    whole = inner + PACKET
    return whole + UDP if whole <= PHYSICAL else whole + FRAGMENT + 2 * UDP


class ZeroTier(SidecarOverlay):
    """The paper's sidecars with ZeroTier."""

    options_type = Options
    folder: ClassVar[str] = "scenarios/zerotier"
    network: ClassVar[IPv4Network] = IPv4Network("10.144.0.0/24")
    sidecar: ClassVar[Sidecar] = Sidecar(
        IMAGE, ("NET_ADMIN", "SYS_ADMIN"), mounts=(f"{PLANET}:{HOME}/planet:ro",)
    )
    topology = topology(
        "zerotier", "192.168.62.0/24", folder=folder, images=("scenarios/zerotier/images/zerotier",)
    )
    promise = Promise(
        link=LinkMode.L2,
        interface_mtu=lambda underlay: MTU,
        path_mtu=lambda underlay: MTU,
        wire_bytes=wire_bytes,
        outer=Flow("udp", PORT, "ZeroTier"),
        encrypted=True,
        hops=0,
        naming=Naming.HOSTS_FILE,
        control=(Flow("icmp", None, "a node's refusal of what the root let its peer try: see the sheet"),),
        relay=topology.node("control").address,
    )

    def __init__(self, options: base.Options) -> None:
        super().__init__(options)
        assert isinstance(options, Options)
        self._options = options
        if options.one:
            one.check(options.one)
        self._lab: Lab | None = None
        self._control: Control | None = None
        self._secrets: dict[tuple[str, str], Secret] = {}
        self.main = options.network  # the id of the network that all sidecars join

    def check_here(self, *, outside: bool) -> None:
        """See Overlay."""
        real = "use -O zerotier.node=one"
        given = "name it with -O zerotier.one=FILE: the program, or an image from the paper's Dockerfile"
        if self._options.node == "one" and not self._options.one:
            raise NotHereError("zerotier-one is not given", given)
        if self._options.node == "core" and self._options.network:
            raise NotHereError("our daemon never speaks to the public planet", real)
        if self._options.network and not outside:
            raise NotHereError("these nodes have no way to the public planet", "use machines of yours")
        if self._options.node == "core" and platform.machine() != "x86_64":
            raise NotHereError(f"libzt's wheel is not for {platform.machine()}", real)

    def variant(self, kernel_has: Callable[[str], bool]) -> dict[str, str]:
        """Name which node runs."""
        core = self._options.node == "core"
        named = {"node": "ZeroTier core 1.8.4 in our own daemon" if core else "zerotier-one"}
        return named | ({"planet": "public"} if self._options.network else {})

    def version(self, lab: Lab) -> dict[str, str]:
        """Return what the root says of itself, and the Compose of the nodes."""
        found = {"docker-compose": self.compose(lab.node(NODES[0])).version()}
        if self._control:
            found["zerotier"] = cli(self._control.node, "root", "info", quiet=True).split()[3]
        return found

    @property
    def control(self) -> Control:
        """The lab's own root and controller, once it is up."""
        assert self._control, "there is none: the overlay is not up, or the planet is public"
        return self._control

    def start_control(self, lab: Lab) -> None:
        """Start the root, make the public network, and give the nodes the planet that names the root."""
        self._lab = lab
        if self._options.node == "one":
            lab.each(lambda node: one.install(node, self._options.one))
        planet = b""  # an empty file: zerotier-one takes the planet that is built into it
        if not self._options.network:
            kind = CoreControl if self._options.node == "core" else OneControl
            self._control = kind(lab)
            self._control.start()
            self.main = f"{self._control.address}000001"
            self._control.create(self.main, "dockercoins", self.network, MTU, private=False)
            planet = self._control.planet
        for name in NODES:
            put_bytes(lab.node(name), PLANET, planet)

    def stop_control(self, lab: Lab) -> None:
        """See SidecarOverlay."""
        if self._control:
            self._control.stop()
        for name in NODES:
            lab.node(name).run(["rm", "-rf", FOLDER])

    def join(self, node: Node, sidecar: str) -> IPv4Address:
        """See SidecarOverlay: join the public network, as the paper does."""
        pid = pid_of(node, sidecar)
        self._meet(node, sidecar, pid)
        words = partial(cli, node, sidecar, "join", self.main)
        wait_for(f"the daemon of {sidecar} on {node}", words, within=limit("service"))
        wait_for(
            f"{sidecar} on {node} to be a member of {self.main}",
            partial(has_address, node, pid),
            within=limit("members"),
        )
        return self.address(node, sidecar)

    def _meet(self, node: Node, sidecar: str, pid: int) -> None:
        """Learn a new member's identity: its secret part is a key, its public one the root may know of."""
        what = f"the identity of {sidecar} on {node}"
        whole = wait_for(what, partial(identity, node, pid), within=limit("members"))
        public, _, secret = whole.rpartition(":")
        known = self._secrets.get((node.name, sidecar))
        if known and known.reveal() == secret:
            return
        assert self._lab
        made = Secret(f"ZT_IDENTITY_{node.name}_{sidecar}".upper().replace("-", "_"), secret)
        self._secrets[node.name, sidecar] = made
        self._lab.secret(made)
        if self._control:
            self._control.introduce(public)

    def address(self, node: Node, container: str) -> IPv4Address:
        """See Overlay."""
        what = f"{container} on {node} to have an address of {self.main}"
        return wait_for(what, lambda: self._given(node, container), within=limit("members"))

    def _given(self, node: Node, container: str) -> IPv4Address:
        found = memberships(node, container).get(self.main)
        if found is None:
            raise NotYet(f"it has not joined {self.main}")
        return found.address

    def path(self, lab: Lab, src: Endpoint, dst: Endpoint) -> str:
        """See SidecarOverlay: by what `peers` says of a node that has a physical address, or has none."""
        own = cli(lab.node(dst.node), dst.container, "info", quiet=True).split()[2]
        known = peers(lab.node(src.node), src.container).get(own)
        return known.path if known else "unknown"

    def secrets(self) -> Sequence[Secret]:
        """See SidecarOverlay."""
        return [*self._secrets.values(), *(self._control.secrets if self._control else [])]


OVERLAY = ZeroTier
