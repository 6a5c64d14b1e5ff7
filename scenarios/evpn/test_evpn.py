"""VXLAN with BGP EVPN: the contract, what FRR tells and enters, and what breaks it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from fixtures.lab import Lab
from fixtures.node import Node
from fixtures.overlay import Overlay
from fixtures.plugin import one_per_node
from fixtures.vantages import Vantages
from fixtures.waiting import NotYet, limit, wait_for
from overlab.errors import NotReadyError
from overlab.model import Endpoint, Finding, Phase
from reports.recording import Recorder
from scenarios.contract import Contract
from scenarios.evpn.overlay import FLOOD, SESSION_DOWN, Evpn, vtysh
from scenarios.families.by_hand import contract as by_hand_contract
from scenarios.families.by_hand.base import VNI, HandMade, mac_of
from scenarios.families.by_hand.contract import Snapshot, check, follow, snapshot
from scenarios.families.by_hand.steps import VXLAN
from scenarios.families.by_hand.tables import members
from scenarios.families.vxlan.contract import all_ok, named, speak


@pytest.fixture(scope="module", autouse=True)
def before(lab: Lab) -> dict[str, Snapshot]:
    """How the nodes were before the overlay: autouse, so that it is taken first."""
    return {name: snapshot(node) for name, node in lab.nodes.items()}


class TestContract(Contract):
    """What every overlay must show."""


class TestMade(by_hand_contract.Made):
    """What the scripts and FRR make."""

    def test_sessions(self, lab: Lab, overlay: Overlay, record: Recorder) -> None:
        """Every node has a BGP session with every other."""
        for node in lab.nodes.values():
            down = evpn(overlay).sessions_down(node)
            finding = Finding("bgp-sessions", SESSION_DOWN if down else "ok", down or "all", src=node.name)
            assert record(finding).ok, finding

    def test_entries_are_external(
        self, lab: Lab, overlay: Overlay, endpoints: list[Endpoint], vantages: Vantages, record: Recorder
    ) -> None:
        """Who is elsewhere was entered from outside (`extern_learn`), at the bridge and at the device."""
        made = evpn(overlay)
        all_ok(check(made, vantages.peers(endpoints)), "not the thing under test: the tables are wrong")
        for node in lab.nodes.values():
            away = {mac_of(e.address) for e in endpoints if e.node != node.name}
            rows = [row for row in node.state("forwarding") if row["mac"] in away]
            kinds = {row["ifname"] + (" self" if "dst" in row else " master"): row["flags"] for row in rows}
            external = sorted(place for place, flags in kinds.items() if "extern_learn" in flags)
            right = external == [f"{VXLAN} master", f"{VXLAN} self"] and len(kinds) == 2
            outcome = "ok" if right else "learnt-otherwise"
            finding = Finding("external", outcome, ", ".join(external), src=node.name, evidence=kinds)
            assert record(finding).ok, rows
            port = next(r for r in node.state("links", namespace=made.place.path) if r["ifname"] == VXLAN)
            assert not port["linkinfo"]["info_slave_data"]["learning"], "the bridge learns from the wire"


class TestTables(by_hand_contract.Tables):
    """They equal the truth."""

    def moved(self, overlay: HandMade, mover: Endpoint, moves: int) -> list[Finding]:
        """Each move raises the number by which routers tell old from new (MAC mobility, RFC 7432)."""
        seen: list[Finding] = []

        def told() -> None:
            seen[:] = [mobility(node, mover, moves) for node in overlay.lab.nodes.values()]
            wrong = [finding for finding in seen if not finding.ok]
            if wrong:
                raise NotYet(str(wrong[0]))

        with suppress(NotReadyError):  # the findings say what is wrong
            wait_for("every node to know where it is", told, within=limit("overlay"))
        return [*seen, left_over(overlay)] if moves else seen


class TestMutations(by_hand_contract.Mutations):
    """Causes by name."""

    def test_session_is_down(
        self, lab: Lab, overlay: Overlay, endpoints: list[Endpoint], vantages: Vantages, record: Recorder
    ) -> None:
        """Symptom: all at once, no node knows any container elsewhere: nobody tells any more."""
        made = evpn(overlay)
        src, dst = one_per_node(endpoints)[:2]
        speak(endpoints, vantages, "not the thing under test: it did not work before")
        lab.node(dst.node).stop_service("bgpd")
        try:
            wait_for("its routes to be withdrawn", lambda: _withdrawn(lab, src, dst), within=limit("overlay"))
            found = follow(made, vantages, src, dst)
        finally:
            made.start_bgp(lab.node(dst.node))
        named([found], SESSION_DOWN, record)
        for node in lab.nodes.values():
            made.until_established(node)
        for healed in check(made, vantages.peers(endpoints)):
            assert record(healed, phase=Phase.HEAL).ok, healed

    def test_forward_policy_drop(
        self, lab: Lab, endpoints: list[Endpoint], vantages: Vantages, record: Recorder
    ) -> None:
        """Symptom: where br_netfilter is loaded, a policy of DROP stops frames between a bridge's ports."""
        dst = one_per_node(endpoints)[1]
        with policy(lab.node(dst.node), "DROP"):
            speak(endpoints, vantages, "the rule does not let the overlay through")


class TestReboot(by_hand_contract.Reboot):
    """It comes back."""


class TestEnd(by_hand_contract.End):
    """It goes."""


def evpn(overlay: Overlay) -> Evpn:
    """Return the overlay as what it is."""
    assert isinstance(overlay, Evpn)
    return overlay


def mobility(node: Node, mover: Endpoint, moves: int) -> Finding:
    """Return how often a container has moved, as zebra on `node` knows it."""
    mac, here = mac_of(mover.address), node.name == mover.node
    told = vtysh(node, f"show evpn mac vni {VNI} mac {mac} json", check=False).get(mac, {})
    number = told.get("localSequence" if here else "remoteSequence")
    right = number == moves and told.get("type") == ("local" if here else "remote")
    outcome = "ok" if right else "wrong-sequence"
    return Finding("mac-mobility", outcome, number, "moves", moves, src=node.name, dst=mac, evidence=told)


def left_over(overlay: HandMade) -> Finding:
    """Return what devices keep of link addresses that came to their own node: told, and not judged.

    FRR 8.4 does not remove it. The bridge, which decides first, knows a port of its own.
    """
    known, kept = members(overlay.lab), []
    for node in overlay.lab.nodes.values():
        here = {member.mac for member in known if member.node == node.name}
        rows = [row for row in node.state("forwarding") if "dst" in row and row["mac"] in here]
        kept += [f"{node}: {row['mac']} behind {row['dst']}" for row in rows]
    return Finding("left-over-entries", "ok", len(kept), "entries", evidence={"entries": kept})


def _withdrawn(lab: Lab, src: Endpoint, dst: Endpoint) -> None:
    rows = [row for row in lab.node(src.node).state("forwarding") if "dst" in row]
    left = [row["mac"] for row in rows if row["mac"] in (FLOOD, mac_of(dst.address))]
    if left:
        raise NotYet(f"{src.node} still has {', '.join(left)}")


@contextmanager
def policy(node: Node, verdict: str) -> Iterator[None]:
    """Give a node's FORWARD chain another policy."""
    node.run(["iptables", "-P", "FORWARD", verdict])
    try:
        yield
    finally:
        node.run(["iptables", "-P", "FORWARD", "ACCEPT"])
