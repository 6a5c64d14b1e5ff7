"""Docker's own overlay driver with a key-value store: what the scenarios on it share.

Before Swarm mode, engines told each other of networks and endpoints through a store (`--cluster-store`), and
of their containers' whereabouts by gossip (Serf, 7946). The packets travel in VXLAN, UDP 4789.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from enum import StrEnum
from functools import partial
from ipaddress import IPv4Address
from typing import ClassVar

from fixtures.lab import Lab
from fixtures.node import Node
from fixtures.overlay import Overlay, container_address
from fixtures.waiting import NotYet, limit, wait_for
from overlab.model import Endpoint, Finding, Flow, LinkMode, Naming, Promise
from scenarios.families.docker.engine import has_network, make_network, remove_network, run_container
from scenarios.families.vxlan.promise import vxlan

ENGINE, GOSSIP = 2375, 7946
CONTROL = (Flow("tcp", GOSSIP, "the engines' gossip"), Flow("udp", GOSSIP, "the engines' gossip"))


def overlay_promise(*control: Flow) -> Promise:
    """Return what Docker's overlay promises; `control` are the store's own flows between nodes.

    ARP is answered on the node, from what engines told each other.
    """
    return vxlan(LinkMode.PROXY_ARP, Naming.DOCKER_DNS, *control, *CONTROL)


class StoreState(StrEnum):
    """Classes of a finding about the store, as a node sees it."""

    OK = "ok"
    UNREACHABLE = "store-unreachable"
    NO_QUORUM = "quorum-lost"
    REFUSED = "refused"


class EngineOverlay(Overlay):
    """Containers on one overlay network of the engines' own."""

    network: ClassVar[str]
    patience: ClassVar[str] = "overlay"  # which limit an engine has that misses its store

    def attach(self, node: Node) -> Sequence[str]:
        """See Overlay."""
        return [f"--network={self.network}"]

    def address(self, node: Node, container: str) -> IPv4Address:
        """See Overlay."""
        return container_address(node, container, self.network)

    def run(self, node: Node, name: str, image: str, *flags: str, command: Sequence[str] = ()) -> Endpoint:
        """See Overlay."""
        words = [*self.attach(node), *flags, image, *command]
        run_container(node, name, *words, within=limit(self.patience))
        return Endpoint(name, node.name, self.address(node, name))


class StoreOverlay(EngineOverlay):
    """An overlay network of engines that share a key-value store."""

    engines: ClassVar[tuple[str, ...]] = ("20.10",)  # the last line with --cluster-store
    store_ports: ClassVar[tuple[int, ...]]  # TCP: where an engine reaches the store

    @abstractmethod
    def start_store(self, lab: Lab) -> None:
        """Start the store on the nodes, and wait until it can be written."""

    @abstractmethod
    def stop_store(self, lab: Lab) -> None:
        """Stop the store, and remove its data."""

    @abstractmethod
    def store_url(self, node: Node) -> str:
        """Return what the engine of `node` is given as its store."""

    @abstractmethod
    def store_state(self, node: Node) -> tuple[StoreState, str]:
        """Ask the store that the engine of `node` uses how it is; return that, and its own words."""

    @abstractmethod
    def stored(self, node: Node) -> dict[str, str]:
        """Return what engines keep in the store: path below libnetwork's root → JSON."""

    @abstractmethod
    def write(self, node: Node, path: str, value: str | None) -> None:
        """Write a value below libnetwork's root, or with None remove it."""

    def up(self, lab: Lab) -> None:
        """Start the store, put the engines on it, and make the network on the first."""
        self.start_store(lab)
        lab.each(self._use_store)
        lab.each(gossips)
        first = next(iter(lab.nodes.values()))
        make_network(first, self.network)
        for node in lab.nodes.values():
            wait_for(
                f"{self.network} on {node}", partial(has_network, node, self.network), within=limit("overlay")
            )

    def _use_store(self, node: Node) -> None:
        # --tls=false says that the open port is meant: else 20.10 stands still for 15 s at every start
        listen = [f"--host=tcp://0.0.0.0:{ENGINE}", "--host=unix:///var/run/docker.sock", "--tls=false"]
        advertise = f"--cluster-advertise={node.address}:{ENGINE}"
        node.configure_engine([*listen, f"--cluster-store={self.store_url(node)}", advertise])

    def down(self, lab: Lab) -> None:
        """Remove the network, take the engines off the store, and stop it."""
        remove_network(next(iter(lab.nodes.values())), self.network)
        lab.each(lambda node: node.configure_engine())
        self.stop_store(lab)

    def populate(self, lab: Lab) -> list[Endpoint]:
        """Start test1, test2, ... one after the other, so that their addresses come in order."""
        return [self.run(node, f"test{n}", "overlab/tools") for n, node in enumerate(lab.nodes.values(), 1)]

    def revive(self, lab: Lab, endpoints: Sequence[Endpoint]) -> list[Endpoint]:
        """See Overlay; only once the engine gossips.

        An engine that starts a network's first container before that never asks where others are: it
        listens for misses only where Serf lived when it made the hidden namespace.
        """
        for name in {endpoint.node for endpoint in endpoints}:
            gossips(lab.node(name))
        return super().revive(lab, endpoints)


def ask_for_network(overlay: StoreOverlay, lab: Lab, node: Node, name: str = "asked") -> Finding:
    """Make a network on `node` and remove it again: what needs the store most.

    "ok" when every engine had it. Else the class says how the store is, and the reason holds the engine's
    own words; the value is the seconds until they came.
    """
    made = node.run(["docker", "network", "create", "-d", "overlay", name], check=False)
    engine = " ".join(made.err.partition("daemon: ")[2].split())
    if made.status == 0:
        for other in lab.nodes.values():
            wait_for(f"{name} on {other}", partial(has_network, other, name), within=limit("overlay"))
        remove_network(node, name)
        state, words = StoreState.OK, ""
    else:
        state, words = overlay.store_state(node)
        state = StoreState.REFUSED if state is StoreState.OK else state
    reason = f"the engine says '{engine}', the store '{words}'" if engine else ""
    return Finding("new-network", state, round(made.duration, 2), "s", dst=node.name, reason=reason)


def network_again(overlay: StoreOverlay, lab: Lab, node: Node) -> Finding:
    """Ask `node` for a network until it makes one: an engine may have been answered a moment too early."""

    def made() -> Finding:
        found = ask_for_network(overlay, lab, node)
        if not found.ok:
            raise NotYet(str(found))
        return found

    return wait_for(f"{node} to make a network again", made, within=limit("overlay"))


def gossips(node: Node) -> None:
    """Wait until the engine of `node` takes part in the gossip."""

    def listens() -> None:
        asked = ["ss", "-Hltn", "src", f"{node.address}:{GOSSIP}"]
        if not node.run(asked, quiet=True).out.strip():
            raise NotYet(f"nobody listens on {node.address}:{GOSSIP}")

    wait_for(
        f"the engine of {node} to gossip", listens, within=limit("members"), look="./lab logs NODE docker"
    )
