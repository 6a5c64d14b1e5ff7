"""VXLAN by hand: the contract, what is made, what breaks it, and both ways of filling the tables."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from fixtures.containers import forget_neighbours, pid_of
from fixtures.lab import Lab
from fixtures.node import Node
from fixtures.overlay import Overlay
from fixtures.plugin import one_per_node
from fixtures.vantages import Vantages
from overlab.model import Endpoint, Finding, Phase
from reports.recording import Recorder
from scenarios.contract import Contract
from scenarios.families.by_hand import contract as by_hand_contract
from scenarios.families.by_hand.base import mac_of
from scenarios.families.by_hand.contract import Snapshot, check, follow, snapshot
from scenarios.families.by_hand.steps import VXLAN
from scenarios.families.by_hand.tables import members
from scenarios.families.vxlan.contract import named, speak
from scenarios.questions import SHORT_S
from scenarios.vxlan.overlay import CLIENT, NOT_TOLD, STORE, STORE_UNREACHABLE, ByHand, Entries


@pytest.fixture(scope="module", autouse=True)
def before(lab: Lab) -> dict[str, Snapshot]:
    """How the nodes were before the overlay: autouse, so that it is taken first."""
    return {name: snapshot(node) for name, node in lab.nodes.items()}


class TestContract(Contract):
    """What every overlay must show."""

    counted_s = SHORT_S


class TestMade(by_hand_contract.Made):
    """What the talks make by hand."""

    def test_hidden_from_the_node(self, lab: Lab, overlay: Overlay, record: Recorder) -> None:
        """`ip link` on the node shows neither bridge nor device: they are in a namespace, as Docker's are."""
        for node in lab.nodes.values():
            shown = {row["ifname"] for row in node.state("links")} & {"br0", VXLAN}
            finding = Finding("hidden", "shown" if shown else "ok", ", ".join(shown) or "none", dst=node.name)
            assert record(finding).ok, finding


class TestMutations(by_hand_contract.Mutations):
    """Causes by name."""


class Filled:
    """Asked of both ways: entries that were there beforehand, and entries on demand."""

    @pytest.fixture(scope="class", params=["static", "miss"], autouse=True)
    @classmethod
    def entries(cls, request: pytest.FixtureRequest, lab: Lab, overlay: Overlay) -> str:
        """Go over to one way of filling the tables."""
        return by_hand(lab, overlay, request.param).entries

    @pytest.fixture
    def record(self, record: Recorder, overlay: Overlay, entries: str) -> Callable[..., Finding]:
        """Let findings of the way that is not the row's say so in their name."""
        own = overlay.variant(lambda _module: True)["entries"] == entries

        def write(finding: Finding, **how: Any) -> Finding:
            said = finding if own else replace(finding, probe=f"{finding.probe}-{entries}")
            return record(said, **how)

        return write


class TestTables(Filled, by_hand_contract.Tables, by_hand_contract.Reboot):
    """They equal the truth, also after a reboot."""

    def test_entry_is_lost(
        self, lab: Lab, overlay: Overlay, endpoints: list[Endpoint], vantages: Vantages, record: Recorder
    ) -> None:
        """Symptom: one container is reached by nobody on one node. On demand, the entry comes back."""
        made = by_hand(lab, overlay)
        src, dst = one_per_node(endpoints)[:2]
        node, mac = lab.node(src.node), mac_of(dst.address)
        speak(endpoints, vantages, "not the thing under test: it did not work before")
        node.run([*made.place.bridge.split(), "fdb", "del", mac, "dev", VXLAN, "self"])
        if made.entries == "static":
            named([follow(made, vantages, src, dst)], NOT_TOLD, record)
            made.announce(lab, dst)
        for back in check(made, vantages.peers(endpoints)):
            assert record(back, phase=Phase.HEAL).ok, back


class TestOnDemand:
    """What only an agent does."""

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def made(cls, lab: Lab, overlay: Overlay, endpoints: list[Endpoint]) -> ByHand:
        """Go over to entries on demand, and return the overlay."""
        return by_hand(lab, overlay, "miss")

    def test_misses(self, lab: Lab, made: ByHand, endpoints: list[Endpoint], record: Recorder) -> None:
        """An unknown address is asked for (L3), and an unknown link address behind a known one (L2)."""
        src, dst = one_per_node(endpoints)[:2]
        node = lab.node(src.node)
        forget_entries(made, node)
        mac, vtep = mac_of(dst.address), lab.node(dst.node).address
        given = [made.place.path or "", str(pid_of(node, src.container)), str(dst.address), mac]
        watched = node.run(["sh", "-c", WATCHED_PING, "ping", *given]).out
        forwarding, lost = f"{vtep} dev {VXLAN} lladdr {mac} ", f"Deleted {vtep} dev {VXLAN} lladdr {mac} "
        awaited = {
            f"miss {dst.address} dev {VXLAN} ": "l3miss",
            f"{dst.address} dev {VXLAN} lladdr {mac} PERMANENT": "neighbour",
            f"miss dev {VXLAN} lladdr {mac} ": "l2miss",
            forwarding: "forwarding",
            lost: "lost",
        }
        lines = [line.partition("] ")[2] for line in watched.splitlines()]
        seen = [name for line in lines for event, name in awaited.items() if line.startswith(event)]
        rest = iter(seen)  # what is asked again meanwhile may stand in between
        events = [name for name in IN_ORDER if name in rest]
        outcome = "ok" if events == IN_ORDER else "not-in-order"
        told = {"watched": watched.splitlines()}
        finding = Finding("misses", outcome, ", ".join(events), src=str(src), dst=str(dst), evidence=told)
        assert record(finding, paper="misses").ok, watched
        setting = f"net.ipv4.neigh.{VXLAN}.app_solicit"
        asks = node.run(["nsenter", f"--net={made.place.path}", "sysctl", "-n", setting]).out.strip()
        assert record(Finding("app-solicit", "ok", int(asks), dst=f"{node} {VXLAN}"), paper="app-solicit").ok

    def test_store_is_cut_off(
        self, lab: Lab, made: ByHand, endpoints: list[Endpoint], vantages: Vantages, record: Recorder
    ) -> None:
        """Symptom: whom a node knows it reaches, and nobody else; on the store's own node all is well."""
        (cut,) = (e for e in one_per_node(endpoints) if e.node != STORE)
        other = next(e for e in endpoints if e.node == STORE)
        speak(endpoints, vantages, "not the thing under test: it did not work before")
        with lab.underlay.blocked("tcp", CLIENT) as fault:
            speak(endpoints, vantages, "what is known needs no store")
            forget_entries(made, lab.node(cut.node))
            found = follow(made, vantages, cut, other)
            assert fault.hits() > 0, "invalid: nothing met the fault"
        named([found], STORE_UNREACHABLE, record)
        for healed in check(made, vantages.peers(endpoints)):
            assert record(healed, phase=Phase.HEAL).ok, healed


class TestEnd(by_hand_contract.End):
    """It goes."""


IN_ORDER = ["l3miss", "forwarding", "neighbour", "lost", "l2miss", "forwarding"]
# $1 is the namespace, $2 a process of the container, $3 the address and $4 the link address that it asks for.
# What is watched begins once the watcher has seen something that was made for it.
WATCHED_PING = """
nsenter --net=$1 ip -ts monitor neigh >/run/watched &
until grep -q 02:00:00:00:00:01 /run/watched; do
    nsenter --net=$1 ip neigh replace 192.0.2.1 lladdr 02:00:00:00:00:01 dev br0
    nsenter --net=$1 ip neigh del 192.0.2.1 dev br0
done
nsenter -t $2 -n ping -c 1 -w 5 -i 0.2 $3
nsenter --net=$1 bridge fdb del $4 dev vxlan1 self
nsenter -t $2 -n ping -c 1 -w 5 -i 0.2 $3
kill $!
cat /run/watched
"""


def by_hand(lab: Lab, overlay: Overlay, entries: Entries | None = None) -> ByHand:
    """Return the overlay as what it is, its tables filled in the way that is asked for."""
    assert isinstance(overlay, ByHand)
    if entries not in (None, overlay.entries):
        overlay.fill(lab, entries)
    return overlay


def forget_entries(made: ByHand, node: Node) -> None:
    """Empty the device's tables, and what the node's containers know of others."""
    node.run([*made.place.ip.split(), "neigh", "flush", "dev", VXLAN, "nud", "permanent"])
    for row in node.state("forwarding", namespace=made.place.path):
        if "dst" in row:
            node.run([*made.place.bridge.split(), "fdb", "del", row["mac"], "dev", VXLAN, "self"])
    for member in members(made.lab):
        if member.node == node.name:
            forget_neighbours(node, member.container)
