"""What every overlay in VXLAN must show beside the contract: what breaks it is named by its evidence.

A scenario's test file inherits the class, by way of one that knows where the tables are.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from fixtures.containers import in_network_of
from fixtures.lab import Lab
from fixtures.node import Node
from fixtures.overlay import Overlay
from fixtures.plugin import one_per_node
from fixtures.vantages import Vantages
from overlab.model import Endpoint, Finding, Phase, Verdict
from probes import mtu, neighbours, reachability
from probes.client import Peer
from reports.recording import Recorder
from scenarios.families.vxlan.diagnosis import Cause
from scenarios.families.vxlan.promise import OVERHEAD, PORT

CUT = 1400
ICMP_HEADERS = 28  # IPv4 and ICMP
PINGS = 3


class Mutations:
    """What breaks VXLAN is named; then it is healed, and all is well.

    Where the tables are, and who reads them, is a subclass's to say.
    """

    def tables(self, lab: Lab, overlay: Overlay) -> list[neighbours.Table]:
        """Read every node's tables beside what is true of them."""
        raise NotImplementedError

    def follow(self, lab: Lab, overlay: Overlay, vantages: Vantages, src: Endpoint, dst: Endpoint) -> Finding:
        """Follow a packet; the finding's class is the cause."""
        raise NotImplementedError

    def entry(self, lab: Lab, overlay: Overlay, src: Endpoint, dst: Endpoint) -> tuple[str | None, str]:
        """Return the namespace of the forwarding table by which `src` reaches `dst`, and that one's MAC."""
        raise NotImplementedError

    def test_port_is_blocked(
        self, lab: Lab, overlay: Overlay, endpoints: list[Endpoint], vantages: Vantages, record: Recorder
    ) -> None:
        """Symptom: ARP is answered and names resolve, yet no packet comes through: 4789/udp is blocked."""
        src, dst = one_per_node(endpoints)[:2]
        speak(endpoints, vantages, "not the thing under test: it did not work before")
        with lab.underlay.blocked("udp", PORT) as fault:
            found = self.follow(lab, overlay, vantages, src, dst)
            assert fault.hits() > 0, "invalid: nothing met the fault"
        named([found], Cause.UNDERLAY_BLOCKED, record)
        speak(endpoints, vantages, "the mutation was not healed")

    def test_entry_is_wrong(
        self, lab: Lab, overlay: Overlay, endpoints: list[Endpoint], vantages: Vantages, record: Recorder
    ) -> None:
        """Symptom: one container is reached by nobody on one node: its entry leads to a node that is not."""
        src, dst = one_per_node(endpoints)[:2]
        nowhere = str(lab.topology.network[-2])
        namespace, mac = self.entry(lab, overlay, src, dst)
        with forwarded_to(lab.node(src.node), namespace, mac, nowhere):
            judged = neighbours.check([], tables=self.tables(lab, overlay))
            named([f for f in judged if not f.ok], neighbours.Outcome.STALE, record)
            named([self.follow(lab, overlay, vantages, src, dst)], Cause.WRONG_ENTRY, record)
        speak(endpoints, vantages, "the mutation was not healed")

    def test_node_is_cut(
        self,
        lab: Lab,
        overlay: Overlay,
        endpoints: list[Endpoint],
        vantages: Vantages,
        record: Recorder,
    ) -> None:
        """Symptom: half the packets a second, and nobody complains: the node's interface has 1400 bytes.

        What has no DF is fragmented in silence. What has it is refused by the node's VXLAN device itself,
        with the far container's address as the sender (since Linux 5.9; before, it was fragmented too).
        """
        dst, src = one_per_node(endpoints)[:2]
        ends = vantages.peers([src, dst])
        promised = overlay.promise.path_mtu(lab.underlay.mtu)
        with lab.underlay.node_mtu(lab.node(src.node), CUT):
            named([without_df(lab, vantages, src, dst, promised)], mtu.Outcome.SILENT_FRAGMENTATION, record)
            found = mtu.check(*ends, promised=promised, counters=vantages.fragments)[0]
        told = (found.value, found.evidence["limit"]) == (CUT - OVERHEAD, mtu.Outcome.FRAG_NEEDED)
        fits = told or found.outcome == mtu.Outcome.SILENT_FRAGMENTATION
        record(found, phase=Phase.FAULT, verdict=Verdict.PASS if fits else Verdict.FAIL)
        assert fits, found
        forget_path_mtu(lab, src)
        found = without_df(lab, vantages, src, dst, promised)
        all_ok([found, *mtu.check(*ends, promised=promised, counters=vantages.fragments)], "not healed")

    def test_port_is_cut(
        self,
        lab: Lab,
        overlay: Overlay,
        endpoints: list[Endpoint],
        vantages: Vantages,
        record: Recorder,
    ) -> None:
        """Symptom: ping works and a download hangs: a port on the way swallows what exceeds 1400 bytes."""
        src, dst = vantages.peers(one_per_node(endpoints)[:2])
        promised = overlay.promise.path_mtu(lab.underlay.mtu)
        with lab.underlay.port_mtu(lab.node(dst.agent.vantage.node), CUT) as fault:
            found = mtu.check(src, dst, promised=promised, counters=vantages.fragments)[0]
            assert fault.hits() > 0, "invalid: nothing met the fault"
        named([found], mtu.Outcome.BLACKHOLE, record)
        all_ok(mtu.check(src, dst, promised=promised, counters=vantages.fragments), "not healed")


def without_df(lab: Lab, vantages: Vantages, src: Endpoint, dst: Endpoint, size: int) -> Finding:
    """Send packets of `size` bytes that may be fragmented; the class says what became of them on the way.

    Only this way is judged: the answers, as large, may meet another limit.
    """
    forget_path_mtu(lab, src)  # else the container itself would fragment, where everybody can see it
    arrived, before = _echo_requests(lab, dst), vantages.fragments()
    ping = ["ping", "-M", "dont", "-s", str(size - ICMP_HEADERS), "-c", str(PINGS), "-i", "0.1", "-W", "0.2"]
    in_network_of(lab.node(src.node), src.container, [*ping, str(dst.address)], check=False)
    arrived, after = _echo_requests(lab, dst) - arrived, vantages.fragments()
    changed = {name: after[name] - before[name] for name in after if after[name] != before[name]}
    outcome = mtu.Outcome.SILENT_FRAGMENTATION if changed else mtu.Outcome.OK
    if arrived < PINGS:
        outcome = mtu.Outcome.BLACKHOLE
    reason = f"{arrived} of {PINGS} arrived; " + ", ".join(f"{k} +{v}" for k, v in changed.items())
    reason = "" if outcome is mtu.Outcome.OK else reason
    return Finding("mtu-without-df", outcome, size, "bytes", src=str(src), dst=str(dst), reason=reason)


def forget_path_mtu(lab: Lab, endpoint: Endpoint) -> None:
    """Drop the path MTUs that a container has learnt."""
    in_network_of(lab.node(endpoint.node), endpoint.container, ["ip", "route", "flush", "cache"])


def _echo_requests(lab: Lab, endpoint: Endpoint) -> int:
    """Return how many echo requests a container's kernel has received."""
    shown = in_network_of(lab.node(endpoint.node), endpoint.container, ["cat", "/proc/net/snmp"], quiet=True)
    names, values = (line.split() for line in shown.out.splitlines() if line.startswith("Icmp:"))
    return int(values[names.index("InEchos")])


@contextmanager
def forwarded_to(node: Node, namespace: str | None, mac: str, vtep: str) -> Iterator[None]:
    """Let a forwarding table lead `mac` to another node, and back."""
    rows = node.state("forwarding", namespace=namespace)
    before = next(row for row in rows if row["mac"] == mac and "dst" in row)
    inside = ["nsenter", f"--net={namespace}"] if namespace else []
    replace = [*inside, "bridge", "fdb", "replace", mac, "dev", before["ifname"], "self"]
    kind = "extern_learn" if "extern_learn" in before["flags"] else "permanent"
    node.run([*replace, kind, "dst", vtep])
    try:
        yield
    finally:
        node.run([*replace, kind, "dst", before["dst"]])


def speak(endpoints: list[Endpoint], vantages: Vantages, otherwise: str) -> None:
    """Hold that the first containers of all nodes reach each other."""
    peers: list[Peer] = vantages.peers(one_per_node(endpoints))
    pairs = [(a, b) for a in peers for b in peers if a is not b]
    all_ok(reachability.check(pairs, protocols=[reachability.Protocol.UDP]), otherwise)


def named(found: list[Finding], outcome: str, record: Recorder) -> None:
    """Hold that something was found, and that each finding has the class that the fault must give."""
    assert found, f"nothing was found wrong, where {outcome} was put in"
    for finding in found:
        verdict = Verdict.PASS if finding.outcome == outcome else Verdict.FAIL
        record(finding, phase=Phase.FAULT, verdict=verdict)
        assert finding.outcome == outcome, str(finding)


def all_ok(findings: list[Finding], otherwise: str = "the overlay") -> None:
    """Hold that something was found, and nothing wrong."""
    wrong = [str(f) for f in findings if not f.ok]
    assert findings, "nothing was found at all"
    assert not wrong, f"{otherwise}: {len(wrong)} of {len(findings)}: " + "; ".join(wrong[:3])
