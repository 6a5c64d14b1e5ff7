"""Trace: a ping is lost somewhere between two containers, and four tcpdumps are open at once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from overlab.model import Finding, Flow
from probes import trace
from probes.trace import Outcome, Point
from tests.probes.nets import Net, routed

A, B = "10.1.0.2", "10.2.0.2"


def build(net: Net) -> Net:
    routed(net, 1500)
    net["b"].sh("ip route add 10.2.0.99/32 via 10.2.0.1")
    net.start("a", "r", "b")
    return net


@pytest.fixture
def walk(net: Net) -> Net:
    return build(net)


@pytest.fixture(scope="module")
def sound() -> Iterator[Net]:
    """The same, for tests that change nothing."""
    made = Net()
    try:
        yield build(made)
    finally:
        made.close()


def points(net: Net) -> list[Point]:
    names = (("a", "eth0"), ("r", "left"), ("r", "right"), ("b", "eth0"))
    return [Point(f"{space} {dev}", net.agents[space], dev) for space, dev in names]


def follow(
    net: Net, at: list[Point] | None = None, protocol: str = "udp", save: Path | None = None
) -> Finding:
    ends = net.peer("a", A), net.peer("b", B)
    return trace.follow(*ends, at or points(net), protocol=protocol, wait_s=0.3, save=save)


@pytest.mark.parametrize("protocol", ["udp", "icmp"])
def test_the_whole_way(sound: Net, protocol: str, tmp_path: Path) -> None:
    sound["a"].sh("ip neigh flush all")
    found = follow(sound, protocol=protocol, save=tmp_path)
    assert (found.outcome, found.value) == ("ok", "b eth0"), found
    seen = found.evidence["points"]
    assert [(p["requests"], p["replies"]) for p in seen] == [(3, 3)] * 4
    assert [p["first"]["ttl"] for p in seen] == [64, 64, 63, 63]
    assert seen[1]["first"]["link_dst"] == sound["r"].sh("ip -br link show left").split()[2]
    assert {entry["op"] for entry in seen[0]["arp"]} <= {"who-has", "is-at"}
    assert seen[0]["arp"], "the first packet had to ask for its gateway"
    assert len(found.evidence["pcap"]) == 4


def test_pcap_opens(sound: Net, tmp_path: Path) -> None:
    from scapy.layers.inet import UDP
    from scapy.utils import rdpcap

    found = follow(sound, save=tmp_path)
    packets = rdpcap(found.evidence["pcap"][0])
    assert len(packets) == 6
    assert packets[0][UDP].dport == sound.agents["b"].udp_port


def test_the_first_point_that_misses_it(walk: Net) -> None:
    walk["r"].sh(f"ip route add blackhole {B}/32")
    found = follow(walk)
    assert (found.outcome, found.value) == (Outcome.LOST, "r left"), found
    assert found.reason == "last seen at r left, not at r right"


def test_a_stale_neighbour(walk: Net) -> None:
    walk["a"].sh("ip neigh replace 10.1.0.1 lladdr 02:00:00:00:00:01 dev eth0 nud permanent")
    found = follow(walk)
    assert (found.outcome, found.value) == (Outcome.LOST, "r left"), found
    assert found.reason == "last seen at r left (sent to another link address), not at r right"


def test_it_never_left(walk: Net) -> None:
    walk["a"].sh("ip route del default")
    found = follow(walk)
    assert (found.outcome, found.reason) == (Outcome.LOST, "never seen, not even at a eth0"), found


def test_an_unanswered_neighbour_shows_in_the_arp(walk: Net) -> None:
    walk["r"].sh("ip link set left arp off")
    walk["a"].sh("ip neigh flush all")
    found = follow(walk)
    assert found.outcome == Outcome.LOST
    asked = [entry["op"] for entry in found.evidence["points"][1]["arp"]]
    assert asked, "the router's interface sees the question"
    assert "is-at" not in asked


def test_addresses_that_change_on_the_way(walk: Net) -> None:
    walk.mangle("nat")
    found = follow(walk)
    assert (found.outcome, found.reason) == (
        Outcome.REWRITTEN,
        f"{A} → {B} became 10.2.0.99 → {B} at r right",
    )


def test_an_interface_without_link_header(walk: Net) -> None:
    walk.mangle("once")
    way = points(walk)
    way.insert(2, Point("tun", walk.agents["r"], "mangle0"))
    found = follow(walk, way)
    assert found.ok, found
    tun = found.evidence["points"][2]
    assert tun["first"]["link_src"] == ""
    assert tun["first"]["src"] == A


def test_the_answer_is_lost(walk: Net) -> None:
    walk["r"].sh(f"ip route add blackhole {A}/32")
    found = follow(walk)
    assert (found.outcome, found.value) == (Outcome.UNANSWERED, "b eth0"), found
    assert "the answer was last seen at r right" in found.reason


def test_a_point_that_is_not_on_the_way(sound: Net) -> None:
    way = points(sound)
    way.insert(2, Point("r lo", sound.agents["r"], "lo"))
    found = follow(sound, way)
    assert (found.outcome, found.reason) == (Outcome.BYPASSED, "seen at r right, not at r lo before it")


def test_inside_an_encapsulation_and_by_the_outer_flow_alone(net: Net) -> None:
    net.space("a", "b")
    net.veth(("a", "eth0", "10.9.0.1/24"), ("b", "eth0", "10.9.0.2/24"))
    for name, own, other in (("a", 1, 2), ("b", 2, 1)):
        net[name].sh(
            f"ip link add vx0 type vxlan id 42 remote 10.9.0.{other} dstport 4789 dev eth0\n"
            f"ip addr add 10.8.0.{own}/24 dev vx0\n"
            "ip link set vx0 up"
        )
    net.start("a", "b")
    a, b = net.peer("a", "10.8.0.1"), net.peer("b", "10.8.0.2")
    way = [
        Point("inner", a.agent, "vx0"),
        Point("outer", a.agent, "eth0"),
        Point("flow", b.agent, "eth0", Flow("udp", 4789)),
        Point("end", b.agent, "vx0"),
    ]
    found = trace.follow(a, b, way, wait_s=0.3)
    assert found.ok, found
    inner, outer, flow, _end = found.evidence["points"]
    assert not inner["first"]["encapsulated"]
    assert outer["first"]["encapsulated"]
    assert (outer["first"]["dport"], outer["first"]["length"] - inner["first"]["length"]) == (4789, 50)
    assert (flow["requests"], flow["replies"]) == (3, None)
    wrong = [*way[:2], Point("flow", b.agent, "eth0", Flow("udp", 51820)), way[3]]
    assert trace.follow(a, b, wrong, wait_s=0.3).outcome == Outcome.BYPASSED
