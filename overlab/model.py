"""The words of the laboratory as plain typed data: no input, no output, no running things.

Everything that travels between rooms is defined here. What runs (nodes, labs, agents) lives in
`fixtures/` and `probes/`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Secret:
    """A value that must never be shown: everywhere but in `reveal()` it is its name.

    `Secret("WG_KEY_BARGE1", "...")` prints as `$WG_KEY_BARGE1`.
    """

    name: str
    value: str = field(repr=False)

    def reveal(self) -> str:
        """Return the value itself; call it only where the value leaves for a node."""
        return self.value

    def __str__(self) -> str:
        return f"${self.name}"

    def __repr__(self) -> str:
        return f"${self.name}"

    def __format__(self, spec: str) -> str:
        return format(str(self), spec)


Arg = str | Secret


@dataclass(frozen=True, slots=True)
class NodeSpec:
    """One machine a scenario asks for: its name and its address on the underlay."""

    name: str
    address: IPv4Address


@dataclass(frozen=True, slots=True)
class Topology:
    """What a scenario asks of a provider.

    `layers` name the package lists (folders with a `needs.toml`) whose packages every node has;
    `images` name the folders of container images that every engine holds. Both are paths relative
    to the checkout. `mtu` is the underlay's, in bytes; `engine` is a Docker Engine line ("20.10").
    `flags` are the engine's. An engine that waits (`engine_waits`) is first started by the overlay, with
    flags that name what has to run before it; where engines run anyway, it is started again.
    `shared` is where every node has the lab's one shared folder ("" has none). `wire` is how VMs are joined:
    by a network of their own, or as members of the host's ("bridged", for what needs that of real adapters).
    """

    name: str
    nodes: tuple[NodeSpec, ...]
    network: IPv4Network
    mtu: int = 1500
    interface: str = "eth1"
    engine: str = "20.10"
    layers: tuple[str, ...] = ()
    images: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    engine_waits: bool = False
    shared: str = ""
    wire: Literal["private", "bridged"] = "private"

    def node(self, name: str) -> NodeSpec:
        """Return the node called `name`; KeyError names the ones there are."""
        for spec in self.nodes:
            if spec.name == name:
                return spec
        raise KeyError(f"no node {name!r} in {self.name}; there are {', '.join(n.name for n in self.nodes)}")


class LinkMode(StrEnum):
    """How a container finds the link address of a container on another node."""

    L2 = "l2"
    PROXY_ARP = "proxy-arp"
    L3_ONLY = "l3-only"


class Naming(StrEnum):
    """Who answers for a container's name on another node."""

    DOCKER_DNS = "docker-dns"
    HOSTS_FILE = "hosts-file"


@dataclass(frozen=True, slots=True)
class Flow:
    """A conversation on the underlay: IP protocol name, and UDP/TCP port where it has one."""

    protocol: str
    port: int | None = None
    why: str = ""


@dataclass(frozen=True, slots=True)
class Promise:
    """What an overlay says of itself before it is probed, as functions of what lies under it.

    Sizes are bytes at the IP layer. `interface_mtu` and `path_mtu` take the underlay's MTU;
    `wire_bytes` takes (inner packet size, underlay MTU) and gives the sum of the outer IP packets.
    `closed` says that a container of the engine's own bridge, which is not on the overlay, cannot reach
    in; `publishes` that a published port leads in from the node.
    `hops` is the number of routers that lower the TTL between two containers on different nodes.
    `relay` is the node that every packet goes through, where two containers' nodes do not speak directly.
    """

    link: LinkMode
    interface_mtu: Callable[[int], int]
    path_mtu: Callable[[int], int]
    wire_bytes: Callable[[int, int], int]
    outer: Flow | None
    encrypted: bool
    hops: int
    naming: Naming
    control: tuple[Flow, ...] = ()
    closed: bool = True
    publishes: bool = True
    relay: IPv4Address | None = None


# What is promised where nothing is put around a packet and nothing stands in its way.
BARE = Promise(
    link=LinkMode.L2,
    interface_mtu=lambda underlay: underlay,
    path_mtu=lambda underlay: underlay,
    wire_bytes=lambda inner, underlay: inner,
    outer=None,
    encrypted=False,
    hops=0,
    naming=Naming.HOSTS_FILE,
    closed=False,
)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A container that the overlay joins: its name on its node, and its overlay address.

    `workload` is the container with the service's own process, where another one (a sidecar) has the
    network.
    """

    container: str
    node: str
    address: IPv4Address
    workload: str = ""

    @property
    def process(self) -> str:
        """The container whose processes are the service's own."""
        return self.workload or self.container

    @property
    def containers(self) -> tuple[str, ...]:
        """All containers of the endpoint, in the order in which they start."""
        return (self.container, self.workload) if self.workload else (self.container,)

    def __str__(self) -> str:
        return f"{self.node}/{self.container}"


class VantageKind(StrEnum):
    """From where a probe looks."""

    ENDPOINT = "endpoint"
    NODE = "node"


@dataclass(frozen=True, slots=True)
class Vantage:
    """Where a probe looks from: a container's network namespace, or the node's own."""

    kind: VantageKind
    node: str
    container: str = ""

    def __str__(self) -> str:
        return f"{self.node}/{self.container}" if self.container else self.node


class Verdict(StrEnum):
    """What became of one question."""

    PASS = "pass"  # noqa: S105 - no password
    FAIL = "fail"
    SKIP = "skip"
    UNRESOLVED = "unresolved"
    INVALID = "invalid"


class Phase(StrEnum):
    """The part of a run a result belongs to."""

    SETUP = "setup"
    CONTROL = "control"
    PROBE = "probe"
    PERF = "perf"
    FAULT = "fault"
    HEAL = "heal"
    TEARDOWN = "teardown"


@dataclass(frozen=True, slots=True)
class Finding:
    """A typed answer: one value with its unit, a named outcome, and what it rests on.

    `outcome` is the class of the finding ("ok" when nothing is wrong); `promised` is what the
    overlay said beforehand, in the same unit. `evidence` is small data (counters, addresses,
    command output); files (captures) are named in it by path.
    """

    probe: str
    outcome: str
    value: float | int | str | None = None
    unit: str = ""
    promised: float | int | str | None = None
    src: str = ""
    dst: str = ""
    reason: str = ""
    evidence: Mapping[str, Any] = field(default_factory=dict)
    duration_ms: float = 0.0

    @property
    def ok(self) -> bool:
        """True when the outcome is the healthy one."""
        return self.outcome == "ok"

    def __str__(self) -> str:
        path = f" {self.src} → {self.dst}" if self.src or self.dst else ""
        shown = f" = {self.value} {self.unit}".rstrip() if self.value is not None else ""
        why = f": {self.reason}" if self.reason else ""
        return f"{self.probe}{path}{shown} [{self.outcome}]{why}"
