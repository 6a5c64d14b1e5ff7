"""What every overlay made by hand must show beside the contract: true tables, causes by name, a way back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from ipaddress import IPv4Address
from typing import Any

from fixtures.containers import in_network_of
from fixtures.lab import Lab
from fixtures.node import Node
from fixtures.overlay import Overlay
from fixtures.plugin import one_per_node
from fixtures.vantages import Vantages
from fixtures.waiting import NotYet, limit, wait_for
from overlab.errors import NotReadyError
from overlab.model import Endpoint, Finding, Phase
from probes import neighbours, reachability
from probes.client import Peer
from probes.common import ordered_pairs
from probes.neighbours import Table
from reports.recording import Recorder
from scenarios.families.by_hand.base import VNI, HandMade, mac_of
from scenarios.families.by_hand.steps import FOLDER, VXLAN
from scenarios.families.by_hand.tables import link_of
from scenarios.families.vxlan import contract as vxlan_contract
from scenarios.families.vxlan import diagnosis
from scenarios.families.vxlan.contract import all_ok
from scenarios.families.vxlan.diagnosis import Cause
from scenarios.families.vxlan.promise import PORT

TOOLS = "overlab/tools"
MOVER = "mover"
Snapshot = dict[str, Any]


class Made:
    """What the scripts have made is what the overlay promises."""

    def test_nodes(self, lab: Lab, record: Recorder) -> None:
        """The nodes have the paper's addresses."""
        for node in lab.nodes.values():
            finding = Finding("address", "ok", str(node.address), dst=node.name)
            assert record(finding, paper=node.name).ok, finding

    def test_links(self, lab: Lab, overlay: Overlay, endpoints: list[Endpoint], record: Recorder) -> None:
        """A container's link has the promised MTU, and the link address that its address gives it."""
        promised = overlay.promise.interface_mtu(lab.underlay.mtu)
        for endpoint in endpoints:
            node = lab.node(endpoint.node)
            link = link_of(node, endpoint.container)
            wrong = link["mtu"] != promised or link["address"] != mac_of(endpoint.address)
            outcome = "wrong-link" if wrong else "ok"
            finding = Finding("link-mtu", outcome, link["mtu"], "bytes", promised, dst=str(endpoint))
            assert record(finding).ok, link

    def test_device(self, lab: Lab, overlay: Overlay, record: Recorder) -> None:
        """The device has the id of the talks, VXLAN's own port, and learns nothing."""
        made = by_hand(overlay)
        for node in lab.nodes.values():
            links = node.state("links", namespace=made.place.path)
            found = next(row for row in links if row["ifname"] == VXLAN)
            data = found["linkinfo"]["info_data"]
            right = (data["id"], data["port"], data["learning"]) == (VNI, PORT, False)
            outcome = "ok" if right and found["mtu"] == made.place.mtu else "wrong-device"
            finding = Finding("vxlan-id", outcome, data["id"], dst=f"{node} {VXLAN}", evidence=data)
            assert record(finding, paper="vxlan-id").ok, found


class Tables:
    """The tables equal the truth."""

    def test_tables(
        self, overlay: Overlay, endpoints: list[Endpoint], vantages: Vantages, record: Recorder
    ) -> None:
        """After traffic between all pairs every table says what is true, with nobody missing or left over."""
        all_ok([record(f) for f in check(by_hand(overlay), vantages.peers(endpoints))])

    def test_a_container_moves(
        self, lab: Lab, overlay: Overlay, endpoints: list[Endpoint], vantages: Vantages, record: Recorder
    ) -> None:
        """A container goes to the other node, with its addresses: nobody is sent to the old one any more."""
        made = by_hand(overlay)
        stayed, other = one_per_node(endpoints)[:2]
        mover = made.run(lab.node(stayed.node), MOVER, TOOLS)
        try:
            # Not the thing under test: the other node knows it where it was.
            ping = ["ping", "-c", "1", "-i", "0.2", "-w", "10", str(mover.address)]
            in_network_of(lab.node(other.node), other.container, ping)
            before = self.moved(made, mover, 0)
            mover = made.move(mover, lab.node(other.node), TOOLS)
            found = check(made, vantages.peers([stayed, other, mover]))
            vantages.drop(vantages.peer(mover))
            all_ok([record(f) for f in [*before, *found, *self.moved(made, mover, 1)]])
        finally:
            made.discard(lab.node(mover.node), [mover])
        all_ok(check(made, vantages.peers(endpoints)), "something was left of it")

    def moved(self, overlay: HandMade, mover: Endpoint, moves: int) -> list[Finding]:
        """Return what else there is to say of a container that has moved so many times."""
        return []


class Mutations(vxlan_contract.Mutations):
    """Causes by name, by the tables of bridge and device."""

    def tables(self, lab: Lab, overlay: Overlay) -> list[Table]:
        """See vxlan_contract."""
        return by_hand(overlay).tables(lab)

    def follow(self, lab: Lab, overlay: Overlay, vantages: Vantages, src: Endpoint, dst: Endpoint) -> Finding:
        """See vxlan_contract."""
        return follow(by_hand(overlay), vantages, src, dst)

    def entry(self, lab: Lab, overlay: Overlay, src: Endpoint, dst: Endpoint) -> tuple[str | None, str]:
        """See vxlan_contract."""
        return by_hand(overlay).place.path, mac_of(dst.address)


class Reboot:
    """A node shuts down and boots: bridge, device, entries and links come back."""

    def test_reboot(
        self, lab: Lab, overlay: Overlay, endpoints: list[Endpoint], vantages: Vantages, record: Recorder
    ) -> None:
        """Its container is joined by the node itself, and speaks and is spoken to; all tables are true."""
        made = by_hand(overlay)
        gone = one_per_node(endpoints)[0]
        node = lab.node(gone.node)
        node.run(["docker", "update", "--restart=always", gone.container])
        vantages.forget(node.name)
        node.reboot()
        assert link_of(node, gone.container)["mtu"] == made.place.mtu
        assert made.revive(lab, [gone]) == [gone], "what runs and is joined stays as it is"
        for found in check(made, vantages.peers(endpoints)):
            assert record(found, phase=Phase.HEAL).ok, found


class End:
    """The overlay goes, and leaves the nodes as they were."""

    def test_down_undoes_all(
        self,
        lab: Lab,
        overlay: Overlay,
        endpoints: list[Endpoint],
        vantages: Vantages,
        before: dict[str, Snapshot],
    ) -> None:
        """Nothing of the overlay is left: no link, namespace, rule, file, service or network."""
        vantages.forget()
        lab.each(lambda node: overlay.discard(node, [e for e in endpoints if e.node == node.name]))
        overlay.down(lab)
        for name, node in lab.nodes.items():
            now = snapshot(node)
            left = {what: now[what] for what in now if now[what] != before[name][what]}
            assert not left, f"{name} was {before[name]}, and has {left}"


def snapshot(node: Node) -> Snapshot:
    """Return what an overlay could leave behind on a node."""
    return {
        "links": sorted(row["ifname"] for row in node.state("links")),
        "namespaces": node.run(["ip", "netns", "list"], quiet=True).out,
        "rules": node.run(["iptables-save"], quiet=True).out.count("br0"),
        "files": node.sh(f"ls -A {FOLDER} /etc/frr /var/lib/etcd", check=False, quiet=True).out,
        "services": [service["name"] for service in node.services()],
        "networks": sorted(network.name for network in node.docker.networks.list()),
    }


def by_hand(overlay: Overlay) -> HandMade:
    """Return `overlay` as what it is."""
    assert isinstance(overlay, HandMade)
    return overlay


def check(overlay: HandMade, peers: Sequence[Peer]) -> list[Finding]:
    """Let all pairs speak, then judge the containers' own tables and those of every node: one Finding each.

    Nodes learn of a change a moment later, so what is not true yet has some time.
    """
    lab, wanted = overlay.lab, [IPv4Address(peer.address) for peer in peers]
    seen: list[Finding] = []

    def true() -> None:
        seen[:] = reachability.check(ordered_pairs(peers), protocols=[reachability.Protocol.UDP])
        seen.extend(neighbours.check(peers, tables=overlay.tables(lab, wanted)))
        wrong = [finding for finding in seen if not finding.ok]
        if wrong:
            raise NotYet(f"{len(wrong)} of {len(seen)} wrong: {wrong[0]}")

    try:
        wait_for("all tables to be true", true, within=limit("overlay"))
    except NotReadyError:
        return seen  # the findings say what is wrong
    return seen


def follow(overlay: HandMade, vantages: Vantages, src: Endpoint, dst: Endpoint) -> Finding:
    """Follow one packet from `src` to `dst`; the finding's class is the cause, its evidence the way."""
    lab = overlay.lab

    def read(left: bool) -> list[Table]:
        # What left its node lacked nothing there; it may have been sent to the wrong one.
        return overlay.tables(lab, [] if left else [dst.address])

    found = diagnosis.follow(read, lab, vantages, src, dst)
    if found.outcome != Cause.NO_ENTRY:
        return found
    why, reason = overlay.why_missing(lab.node(src.node))
    return replace(found, outcome=why, reason=f"{found.reason}; {reason}")
