"""What every one of Docker's overlays must show beside the contract: true tables, and causes by name.

A scenario's test file inherits the classes that it can keep, and names its network:

    class TestTables(Tables):
        network = "demo"
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import ClassVar

from fixtures.containers import in_network_of
from fixtures.lab import Lab
from fixtures.node import Node
from fixtures.overlay import Overlay, container_address
from fixtures.plugin import one_per_node
from fixtures.vantages import Vantages
from overlab.model import Endpoint, Finding, Phase
from probes import neighbours
from probes.common import at_once
from probes.neighbours import Table
from reports.recording import Recorder
from scenarios.families.docker import hidden, libnetwork
from scenarios.families.docker.base import (
    StoreOverlay,
    StoreState,
    ask_for_network,
    network_again,
)
from scenarios.families.docker.engine import make_network, remove_container, remove_network, run_container
from scenarios.families.vxlan import contract as vxlan_contract
from scenarios.families.vxlan.contract import all_ok, named, speak

BACK_S = 2.0  # that engines have to tell each other


class Tables:
    """The tables of the hidden namespaces equal the truth."""

    network: ClassVar[str]

    def test_hidden_tables(
        self, lab: Lab, endpoints: list[Endpoint], vantages: Vantages, record: Recorder
    ) -> None:
        """After traffic between all pairs every table says what is true, and nobody is missing."""
        found = hidden.check(lab, self.network, vantages.peers(one_per_node(endpoints)))
        all_ok([record(f) for f in found])
        record(hidden.left_over(hidden.tables(lab, self.network, hidden.members(lab, self.network))))

    def test_a_container_moves(
        self, lab: Lab, endpoints: list[Endpoint], vantages: Vantages, record: Recorder
    ) -> None:
        """A container that goes to the other node is followed: no table sends anybody to the old one.

        On a network of its own, whose addresses have no past. The way back is told, and not judged: who was
        asked for on its own node before it left may be looked for there ever after by an engine on a store;
        then a table must be found stale, and nothing else be wrong.
        """
        here, there = list(lab.nodes.values())[:2]
        with own_network(here, "moving") as network, started() as start:
            with ThreadPoolExecutor(3) as beside:
                places = [(here, "stayed"), (here, "mover"), (there, "other")]
                asked = [beside.submit(start, node, name, network) for node, name in places]
                stayed, before, other = (each.result() for each in asked)
            ping = ["ping", "-c", "3", "-i", "0.2", "-w", "5", str(before.address)]
            in_network_of(there, other.container, ping)  # so that it is known where it was
            remove_container(here, "mover", network)
            after = start(there, "mover", network)
            peers = vantages.peers([stayed, other, after])
            found = hidden.check(lab, network, peers)
            all_ok([record(f) for f in found])
            at_once(vantages.drop, peers)
            remove_container(there, "mover", network)
            start(here, "mover", network)
            back = hidden.settled(lab, network, within=BACK_S)
            wrong = [f for f in back if not f.ok]
            outcomes = {f.outcome for f in wrong}
            assert outcomes <= {neighbours.Outcome.STALE}, wrong
            reason = "; ".join(f"{f.src}: {f.reason}" for f in wrong)
            record(Finding("moved-back", "ok", "followed" if not wrong else "lost", reason=reason))


class Store:
    """What lies in the store is true."""

    def test_store_is_true(
        self, lab: Lab, overlay: Overlay, endpoints: list[Endpoint], record: Recorder
    ) -> None:
        """Network, VNI, and every endpoint's name, address, link address and node are what they are."""
        store = _store_of(overlay)
        found = libnetwork.compare(lab, store.network, store.stored(next(iter(lab.nodes.values()))))
        assert len(found) >= 1 + 2 * len(lab.nodes)
        all_ok([record(f) for f in found])

    def test_a_ghost_is_seen(
        self, lab: Lab, overlay: Overlay, endpoints: list[Endpoint], record: Recorder
    ) -> None:
        """Symptom: a name or an address is taken by a container that is nowhere (an engine that died)."""
        store, node = _store_of(overlay), next(iter(lab.nodes.values()))
        identity = hidden.identity(node, store.network)
        path, value = libnetwork.ghost(store.stored(node), identity, "ghost")
        store.write(node, path, value)
        try:
            found = libnetwork.compare(lab, store.network, store.stored(node))
        finally:
            store.write(node, path, None)
        named([f for f in found if not f.ok], libnetwork.Outcome.LEFT_OVER, record)
        all_ok(libnetwork.compare(lab, store.network, store.stored(node)), "the mutation was not healed")

    def test_store_is_cut_off(
        self, lab: Lab, overlay: Overlay, endpoints: list[Endpoint], vantages: Vantages, record: Recorder
    ) -> None:
        """Symptom: a node makes no network and starts no container, and what runs on it is well."""
        store = _store_of(overlay)
        cut = list(lab.nodes.values())[-1]
        with refused_ports(cut, store.store_ports):
            named([ask_for_network(store, lab, cut)], StoreState.UNREACHABLE, record)
            speak(endpoints, vantages, "running containers need no store")
        record(network_again(store, lab, cut), phase=Phase.HEAL)


class Mutations(vxlan_contract.Mutations):
    """The same, by the tables of the hidden namespaces."""

    network: ClassVar[str]

    def tables(self, lab: Lab, overlay: Overlay) -> list[Table]:
        """See vxlan_contract."""
        return hidden.tables(lab, self.network, hidden.members(lab, self.network))

    def follow(self, lab: Lab, overlay: Overlay, vantages: Vantages, src: Endpoint, dst: Endpoint) -> Finding:
        """See vxlan_contract."""
        return hidden.follow(lab, vantages, self.network, src, dst)

    def entry(self, lab: Lab, overlay: Overlay, src: Endpoint, dst: Endpoint) -> tuple[str | None, str]:
        """See vxlan_contract."""
        node = lab.node(src.node)
        mac = next(m.mac for m in hidden.members(lab, self.network) if m.container == dst.container)
        return hidden.namespace(node, hidden.identity(node, self.network)), mac


@contextmanager
def own_network(node: Node, name: str) -> Iterator[str]:
    """Make an overlay network on `node` for a while."""
    make_network(node, name, "--attachable")
    try:
        yield name
    except BaseException:
        node.run(["docker", "network", "rm", name], check=False)  # what went wrong is on its way up
        raise
    remove_network(node, name)


@contextmanager
def started() -> Iterator[Callable[[Node, str, str], Endpoint]]:
    """Give what starts an idle container of a name on a network; the last of each name goes at the end."""
    made: dict[str, Node] = {}

    def start(node: Node, name: str, network: str) -> Endpoint:
        run_container(node, name, f"--network={network}", "overlab/tools")
        made[name] = node
        return Endpoint(name, node.name, container_address(node, name, network))

    try:
        yield start
    finally:
        with ThreadPoolExecutor(max(1, len(made))) as beside:
            for name, node in made.items():
                beside.submit(node.run, ["docker", "rm", "-f", name], check=False)


@contextmanager
def refused_ports(node: Node, ports: tuple[int, ...]) -> Iterator[None]:
    """Refuse every connection of `node` to TCP `ports`, wherever they are."""
    rules = [
        ["OUTPUT", "-p", "tcp", "--dport", str(p), "-j", "REJECT", "--reject-with", "tcp-reset"]
        for p in ports
    ]
    for rule in rules:
        node.run(["iptables", "-I", *rule])
    try:
        yield
    finally:
        for rule in rules:
            node.run(["iptables", "-D", *rule])


def _store_of(overlay: Overlay) -> StoreOverlay:
    assert isinstance(overlay, StoreOverlay)
    return overlay
