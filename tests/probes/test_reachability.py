"""Reachability: one pair of twenty fails, and only in one direction or only for large packets."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from overlab.model import Finding
from probes import reachability
from probes.client import Peer
from probes.common import ordered_pairs
from probes.reachability import Outcome, Protocol
from tests.probes.nets import Net, routed

A, B = "10.1.0.2", "10.2.0.2"


def ends(net: Net) -> tuple[Peer, Peer]:
    return net.peer("a", A), net.peer("b", B)


def outcomes(findings: list[Finding]) -> dict[tuple[str, int], str]:
    return {(f.evidence["protocol"], f.evidence["size"]): f.outcome for f in findings}


def test_every_pair_by_every_protocol_at_both_sizes(net: Net) -> None:
    names = ["h1", "h2", "h3", "h4", "h5"]
    net.space("sw", *names)
    net["sw"].sh("ip link add br0 type bridge forward_delay 0; ip link set br0 up")
    for number, name in enumerate(names, 1):
        net.veth((name, "eth0", f"10.5.0.{number}/24"), ("sw", f"p{number}", ""))
        net["sw"].sh(f"ip link set p{number} master br0")
    net.start(*names)
    peers = [net.peer(name, f"10.5.0.{number}") for number, name in enumerate(names, 1)]
    found = reachability.check(ordered_pairs(peers), mtu=1500)
    assert [str(f) for f in found if not f.ok] == []
    assert Counter((f.src, f.dst) for f in found) == {(str(a), str(b)): 6 for a, b in ordered_pairs(peers)}


def test_a_packet_lost_once_is_not_unreachable(net: Net) -> None:
    routed(net, 1500)
    net.start("a", "b")
    net.mangle("once")
    found = reachability.check([ends(net)], protocols=[Protocol.UDP], wait_s=0.5)
    assert [(f.outcome, f.evidence["attempts"]) for f in found] == [("ok", 2)]


def test_large_packets_alone_are_lost(pair: Net) -> None:
    a, b = ends(pair)
    small, large = 64, 1500
    found = outcomes(reachability.check([(a, b)], mtu=large, wait_s=0.4))
    assert {found[p, small] for p in ("icmp", "udp", "tcp")} == {"ok"}
    assert found["udp", large] == Outcome.UNREACHABLE  # frag-needed, by name
    assert found["tcp", large] == "ok"  # TCP adapts, as it should


def test_silence(pair: Net) -> None:
    pair["r"].sh("ip route add blackhole 10.2.0.2/32")
    found = reachability.check([ends(pair)], wait_s=0.3)
    assert set(outcomes(found).values()) == {Outcome.TIMEOUT}
    assert "in 2 attempts; next hop 10.1.0.1 on eth0, neighbour REACHABLE" in found[0].reason


def test_a_refusal_names_its_code_and_its_hop(pair: Net) -> None:
    pair["r"].sh("ip route add prohibit 10.2.0.2/32")
    found = reachability.check([ends(pair)], protocols=[Protocol.ICMP, Protocol.UDP], wait_s=1.0)
    assert set(outcomes(found).values()) == {Outcome.UNREACHABLE}
    assert "admin-prohibited from 10.1.0.1, in 2 attempts" in found[0].reason


def test_no_route_is_named(pair: Net) -> None:
    pair["a"].sh("ip route del default")
    found = reachability.check([ends(pair)])
    assert set(outcomes(found).values()) == {Outcome.UNREACHABLE}
    assert all("ENETUNREACH here" in f.reason for f in found)


def test_a_translated_source_is_seen_by_the_peer(net: Net) -> None:
    routed(net, 1500)
    net["b"].sh("ip route add 10.2.0.99/32 via 10.2.0.1")
    net.start("a", "b")
    a, b = ends(net)
    net.mangle("nat")
    (udp,) = reachability.check([(a, b)], protocols=[Protocol.UDP])
    assert udp.outcome == Outcome.WRONG_SOURCE, udp
    assert udp.reason == "the peer saw 10.2.0.99, not 10.1.0.2"


def test_what_is_changed_on_the_way_is_corrupted(net: Net) -> None:
    routed(net, 1500)
    net.start("a", "b")
    net.mangle("swap")
    found = outcomes(reachability.check([ends(net)], mtu=1400))
    assert found["udp", 64] == "ok", "not the thing under test: small packets are left alone"
    assert {found[p, 1400] for p in ("icmp", "udp", "tcp")} == {Outcome.CORRUPTED}


@pytest.mark.parametrize(
    ("line", "outcome"),
    [("10.2.0.2 web", "ok"), ("10.2.0.77 web", Outcome.WRONG_NAME), ("10.2.0.2 db", Outcome.WRONG_NAME)],
)
def test_names(pair: Net, tmp_path: Path, line: str, outcome: str) -> None:
    (tmp_path / "hosts").write_text(line + "\n")
    (tmp_path / "nsswitch.conf").write_text("hosts: files\n")
    for name in ("hosts", "nsswitch.conf"):
        pair["a"].sh(f"touch /etc/{name}; mount --bind {tmp_path}/{name} /etc/{name}")
    pair.agents["a"].close()
    pair.start("a")
    (found,) = reachability.check([(pair.peer("a", A), pair.peer("b", B, "web"))], protocols=[Protocol.NAME])
    assert found.outcome == outcome, found


def test_what_must_not_be_reachable(pair: Net) -> None:
    leaked = reachability.blocked([ends(pair)])
    assert {f.outcome for f in leaked} == {Outcome.LEAKED}, "it must see what is open"
    pair["r"].sh("ip route add blackhole 10.2.0.2/32")
    assert {f.outcome for f in reachability.blocked([ends(pair)], wait_s=0.3)} == {"ok"}
