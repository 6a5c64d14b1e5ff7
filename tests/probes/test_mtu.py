"""Path MTU: a ping of the default size passes, and the first large transfer hangs."""

from __future__ import annotations

import pytest

from overlab.model import Finding
from probes import mtu
from tests.probes.nets import Net, routed

A, B = "10.1.0.2", "10.2.0.2"


def both(net: Net, promised: int | None = 1400) -> tuple[Finding, Finding]:
    forward, reverse = mtu.check(net.peer("a", A), net.peer("b", B), promised=promised, wait_s=0.4)
    return forward, reverse


def test_the_hop_that_refuses_is_named(healthy: Net) -> None:
    forward, reverse = both(healthy)
    assert forward.ok, forward
    assert reverse.ok, reverse
    assert (forward.value, forward.evidence["limit"]) == (1400, "frag-needed")
    assert forward.evidence["hop"] == "10.1.0.1"
    assert reverse.evidence["limit"] == "local-limit"
    assert len(forward.evidence["udp"]["probes"]) <= 5


@pytest.mark.parametrize("size", [1499, 1420, 1280, 577])
def test_exact_to_the_byte(net: Net, size: int) -> None:
    routed(net, size)
    net.start("a", "b")
    forward, _reverse = both(net, size)
    assert (forward.value, forward.outcome) == (size, "ok"), forward


def test_another_size_than_promised_is_named_by_its_limit(healthy: Net) -> None:
    forward, reverse = both(healthy, 1450)
    assert forward.outcome == mtu.Outcome.FRAG_NEEDED
    assert "10.1.0.1" in forward.reason
    assert reverse.outcome == mtu.Outcome.LOCAL_LIMIT


def test_a_black_hole_is_found_to_the_byte(pair: Net) -> None:
    assert both(pair)[0].ok, "not the thing under test: the path is healthy before the fault"
    # what the router itself sends to a is lost (its frag-needed); what it forwards is not
    pair["r"].sh(f"ip rule add pref 10 iif lo to {A} blackhole")
    forward, reverse = both(pair)
    assert (forward.outcome, forward.value) == (mtu.Outcome.BLACKHOLE, 1400), forward
    assert forward.duration_ms < 10_000
    assert reverse.ok, reverse


def test_fragments_behind_the_back_are_counted(net: Net) -> None:
    net.space("a", "b")
    net.veth(("a", "eth0", "10.9.0.1/24"), ("b", "eth0", "10.9.0.2/24"))
    for name, own, other in (("a", 1, 2), ("b", 2, 1)):
        # without `dev` the tunnel does not know its underlay, and takes 1500 for its own MTU
        net[name].sh(
            f"ip link add vx0 type vxlan id 42 remote 10.9.0.{other} local 10.9.0.{own} dstport 4789\n"
            f"ip addr add 10.8.0.{own}/24 dev vx0\n"
            "ip link set vx0 up"
        )
    net.start("a", "b")
    a, b = net.peer("a", "10.8.0.1"), net.peer("b", "10.8.0.2")
    forward, reverse = mtu.check(a, b, promised=1500)
    assert forward.outcome == mtu.Outcome.SILENT_FRAGMENTATION, forward
    assert reverse.outcome == mtu.Outcome.SILENT_FRAGMENTATION, reverse
    for name in ("a", "b"):
        net[name].sh("ip link set vx0 mtu 1450")
    assert [f.outcome for f in mtu.check(a, b, promised=1450)] == ["ok", "ok"]


def test_counters_of_the_caller_are_believed(healthy: Net) -> None:
    count = iter(range(100))
    found = mtu.check(
        healthy.peer("a", A),
        healthy.peer("b", B),
        promised=1400,
        counters=lambda: {"FragCreates": next(count)},
    )
    assert {f.outcome for f in found} == {mtu.Outcome.SILENT_FRAGMENTATION}


def test_two_ways_of_different_width(net: Net) -> None:
    routed(net, 1500)
    net.start("a", "b")
    # a locked route MTU holds for forwarded packets, in this direction alone
    net["r"].sh("ip route change 10.2.0.0/24 dev right mtu lock 1400")
    forward, reverse = both(net, 1500)
    assert (forward.outcome, forward.value) == (mtu.Outcome.ASYMMETRIC, 1400), forward
    assert (reverse.outcome, reverse.value) == ("ok", 1500), reverse
    assert {f.outcome for f in both(net, None)} == {mtu.Outcome.ASYMMETRIC}


def test_a_refused_destination_is_unreachable(pair: Net) -> None:
    pair["r"].sh("ip route add prohibit 10.2.0.2/32")
    forward, _reverse = both(pair)
    assert (forward.outcome, forward.value) == (mtu.Outcome.UNREACHABLE, None), forward
    assert "admin-prohibited" in forward.reason


def test_silence_is_a_timeout(pair: Net) -> None:
    pair["r"].sh("ip route add blackhole 10.2.0.2/32")
    forward, _reverse = both(pair)
    assert forward.outcome == mtu.Outcome.TIMEOUT, forward
