r"""A WireGuard bridge: one subnet over all nodes, a Docker bridge on each, routed through wg0.

    barge1 10.10.10.101          barge2 10.10.10.102          barge3 10.10.10.103
    +----------------------+     +----------------------+     +----------------------+
    | serf0   172.20.101.1 |     | serf0   172.20.102.1 |     | serf0   172.20.103.1 |
    |   |                  |     |   |  serf1 ..102.2   |     |   |  ... serf4       |
    | ovl0    172.20.101.0 |     | ovl0    172.20.102.0 |     | ovl0    172.20.103.0 |
    |   | proxy_arp        |     |   | proxy_arp        |     |   | proxy_arp        |
    | wg0 (no address)     |     | wg0 (no address)     |     | wg0 (no address)     |
    +---|------------------+     +---|------------------+     +---|------------------+
       eth1 ---- UDP 12345 -------- eth1 ------- UDP 12345 ------ eth1

Each container believes that 172.20.0.0/16 is its own link. It is not: the bridge answers ARP for the
others (proxy_arp), the node routes 172.20.0.0/16 into wg0 and only its own /24 to ovl0, and a rule at
the top of POSTROUTING keeps Docker from rewriting the source, which the peer's AllowedIPs would drop.
The three are taken away one by one in the tests.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from ipaddress import IPv4Address, IPv4Network
from typing import Literal

from pydantic import Field

from fixtures import overlay as base
from fixtures.lab import Lab
from fixtures.node import Node
from fixtures.overlay import container_address
from fixtures.waiting import NotYet, limit, wait_for
from overlab.errors import UsageError
from overlab.model import Endpoint, Flow, LinkMode, Naming, NodeSpec, Promise, Secret, Topology
from scenarios.wireguard import steps

OVERLAY_NETWORK = IPv4Network("172.20.0.0/16")
PORT = 12345
SERFS = {"barge1": 1, "barge2": 2, "barge3": 5}
WG_MTU = 1420  # wg0's default, whatever lies under it


class Options(base.Options):
    """Options of the WireGuard scenario."""

    implementation: Literal["auto", "kernel", "userspace"] = Field(
        "auto",
        description="kernel: the kernel's own; userspace: wireguard-go; auto: the kernel's where it is",
    )


def subnet_of(node: NodeSpec) -> IPv4Network:
    """Return the /24 of a node by the paper's plan: 172.20.NNN.0/24, NNN being its address's last byte."""
    return IPv4Network((int(OVERLAY_NETWORK.network_address) + (int(node.address) & 0xFF) * 256, 24))


def check_plan(topology: Topology) -> None:
    """Refuse a topology that does not fit the plan of 256 nodes with 254 containers each."""
    subnets = [subnet_of(n) for n in topology.nodes]
    if len(set(subnets)) != len(subnets):
        raise UsageError(
            "two nodes would share one /24 of 172.20.0.0/16", "give each an address with its own last byte"
        )


def wire_bytes(inner: int, underlay_mtu: int) -> int:
    """Return the bytes of the outer IP packet: padded to 16 within wg0's MTU, plus 60 over IPv4.

    60 = IPv4 20 + UDP 8 + WireGuard data header 16 + Poly1305 tag 16.
    """
    return min((inner + 15) // 16 * 16, WG_MTU) + 60


class WireGuardBridge(base.Overlay):
    """The paper's overlay, on as many nodes as the topology has."""

    options_type = Options
    topology = Topology(
        name="wireguard",
        nodes=tuple(NodeSpec(f"barge{i}", IPv4Address(f"10.10.10.{100 + i}")) for i in (1, 2, 3)),
        network=IPv4Network("10.10.10.0/24"),
        layers=("scenarios", "scenarios/wireguard"),
        images=("scenarios/wireguard/images/serf",),
    )
    promise = Promise(
        link=LinkMode.PROXY_ARP,
        interface_mtu=lambda underlay: underlay,  # ovl0 is an ordinary bridge
        path_mtu=lambda underlay: WG_MTU,
        wire_bytes=wire_bytes,
        outer=Flow("udp", PORT, "WireGuard data"),
        encrypted=True,
        hops=2,
        naming=Naming.HOSTS_FILE,
        control=(Flow("udp", PORT, "handshakes and keepalives share the data port"),),
    )
    placement: Mapping[str, str] = {
        "rng": "barge1",
        "worker": "barge1",
        "redis": "barge1",
        "hasher": "barge2",
        "webui": "barge2",
    }

    def __init__(self, options: base.Options) -> None:
        super().__init__(options)
        check_plan(self.topology)
        assert isinstance(options, Options)
        self.implementation = options.implementation

    def up(self, lab: Lab) -> None:
        """Build the overlay on every node, in the paper's order."""
        keys = lab.each(lambda node: self._key(lab, node))
        public = lab.each(lambda node: node.run(["wg", "pubkey"], input=keys[node.name]).out.strip())

        def build(node: Node) -> None:
            spec = self.topology.node(node.name)
            self._network(node, subnet_of(spec))
            self._tunnel(node, spec, keys[spec.name], public)
            self._bridge(node, subnet_of(spec))

        lab.each(build)
        self._shake_hands(lab)

    def _shake_hands(self, lab: Lab) -> None:
        """Let the first of each pair speak: two that begin at once may each wait 5 s to begin again."""
        for number, spec in enumerate(self.topology.nodes):
            for peer in self.topology.nodes[number + 1 :]:
                lab.node(spec.name).run(["bash", "-c", f"echo >/dev/udp/{subnet_of(peer)[1]}/9"])

        def shaken(node: Node) -> None:
            shown = node.run(["wg", "show", "wg0", "latest-handshakes"], quiet=True).out
            silent = [line for line in shown.splitlines() if line.endswith("\t0")]
            if silent:
                raise NotYet(f"{len(silent)} peers of {node} without a handshake")

        for node in lab.nodes.values():
            wait_for(f"the handshakes of {node}", partial(shaken, node), within=limit("overlay"))

    def _key(self, lab: Lab, node: Node) -> Secret:
        made = node.run(["wg", "genkey"], quiet=True).out.strip()
        key = Secret(f"WG_KEY_{node.name.upper()}", made)
        lab.secret(key)
        lab.transcript.record(node.name, ["wg", "genkey"], 0, str(key))
        return key

    def _network(self, node: Node, subnet: IPv4Network) -> None:
        flags = [f"--subnet={OVERLAY_NETWORK}", f"--ip-range={subnet}"]
        name = ["--opt", "com.docker.network.bridge.name=ovl0"]
        node.run(["docker", "network", "create", "--driver=bridge", *flags, *name, "ovl0"])

    def _tunnel(self, node: Node, spec: NodeSpec, key: Secret, public: dict[str, str]) -> None:
        config = steps.wg_config(spec, self.topology, key.reveal(), public, subnet_of, PORT)
        node.put("/etc/wireguard/wg0.conf", config, mode="0600")
        if self._in_kernel(node.kernel_has):
            add, remove = (
                ("ip", "link", "add", "dev", "wg0", "type", "wireguard"),
                ("ip", "link", "del", "wg0"),
            )
            node.service("wg0", add, oneshot=True, stop=remove)
        else:
            node.service("wg0", ["wireguard-go", "-f", "wg0"], ready=["wg", "show", "wg0"])

    def _bridge(self, node: Node, subnet: IPv4Network) -> None:
        """Join ovl0 and wg0: a oneshot, so that it is done again after dockerd at every boot."""
        node.put(steps.UP, steps.up_script(OVERLAY_NETWORK, subnet))
        node.put(steps.DOWN, steps.down_script(OVERLAY_NETWORK, subnet))
        node.service("ovl0", ["sh", "-ex", steps.UP], oneshot=True, stop=["sh", "-ex", steps.DOWN])

    def _in_kernel(self, kernel_has: Callable[[str], bool]) -> bool:
        if self.implementation == "auto":
            return kernel_has("wireguard")
        return self.implementation == "kernel"

    def down(self, lab: Lab) -> None:
        """Undo `up`, in reverse."""

        def undo(node: Node) -> None:
            node.stop_service("ovl0")
            node.stop_service("wg0")
            node.run(["docker", "network", "rm", "ovl0"])
            node.run(["rm", "-f", steps.UP, steps.DOWN, "/etc/wireguard/wg0.conf"])

        lab.each(undo)

    def attach(self, node: Node) -> Sequence[str]:
        """See Overlay."""
        return ["--network=ovl0"]

    def address(self, node: Node, container: str) -> IPv4Address:
        """See Overlay."""
        return container_address(node, container, "ovl0")

    def populate(self, lab: Lab) -> list[Endpoint]:
        """Start the paper's eight Serf agents, one by one on each node, so that addresses come in order."""

        def start(node: Node) -> list[Endpoint]:
            return [
                self.run(node, f"serf{n}", "overlab/serf", f"--hostname={node.name}-serf{n}")
                for n in range(SERFS[node.name])
            ]

        # The agent that all others join must be there first: they try again only after 30 s.
        known = start(lab.node("barge1"))
        started = lab.each(lambda node: known if node.name == "barge1" else start(node))
        return [endpoint for endpoints in started.values() for endpoint in endpoints]

    def variant(self, kernel_has: Callable[[str], bool]) -> dict[str, str]:
        """Name what carries the packets: the kernel's WireGuard, or wireguard-go."""
        return {"wireguard": "kernel" if self._in_kernel(kernel_has) else "wireguard-go"}

    def version(self, lab: Lab) -> dict[str, str]:
        """Return the tools' version."""
        node = next(iter(lab.nodes.values()))
        return {"wireguard-tools": node.run(["wg", "--version"], quiet=True).out.split()[1]}

    def proxy_mac(self, lab: Lab, endpoint: Endpoint) -> str | None:
        """ovl0 answers for everybody who is not on this node."""
        links = lab.node(endpoint.node).state("links")
        return next(str(row["address"]) for row in links if row["ifname"] == "ovl0")


OVERLAY = WireGuardBridge
