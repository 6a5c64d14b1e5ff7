"""Bulk: every ping is answered, and a download is broken, or never ends."""

from __future__ import annotations

from overlab.model import Finding
from probes import bulk
from probes.bulk import Outcome
from tests.probes.nets import Net, routed

A, B = "10.1.0.2", "10.2.0.2"


def send(net: Net, size: int = 300_000, **how: float) -> Finding:
    return bulk.check(net.peer("a", A), net.peer("b", B), size=size, **how)


def test_twenty_megabytes(healthy: Net) -> None:
    found = send(healthy, bulk.BYTES)
    assert (found.outcome, found.evidence["length"]) == ("ok", 20_000_000), found
    assert isinstance(found.value, float)
    assert found.value > 0


def test_what_is_changed_on_the_way(net: Net) -> None:
    routed(net, 1500)
    net.start("a", "b")
    net.mangle("swap")
    assert send(net).outcome == Outcome.CORRUPTED


def test_a_pause(net: Net) -> None:
    routed(net, 1500)
    net.start("a", "b")
    net.mangle("pause")
    found = send(net, stall_s=0.3)
    assert found.outcome == Outcome.STALLED, found
    assert found.evidence["intact"], "not the thing under test"
    assert "at most 300 ms are allowed" in found.reason


def test_it_never_ends(pair: Net) -> None:
    assert send(pair).ok, "not the thing under test: the path is healthy before the fault"
    # b lets segments of 1500 come, the router's next link does not take them, and its word is lost
    pair["b"].sh("ip link set eth0 mtu 1500")
    pair["r"].sh(f"ip rule add pref 10 iif lo to {A} blackhole")
    found = send(pair, wait_s=0.6)
    assert found.outcome == Outcome.TIMEOUT, found
    assert "connected, and then no progress" in found.reason
    late = send(pair, wait_s=5.0, limit_s=0.3)
    assert (late.outcome, late.reason) == (Outcome.TIMEOUT, "not done after 0.3 s")


def test_nobody_is_there(pair: Net) -> None:
    pair["r"].sh("ip route add prohibit 10.2.0.2/32")
    refused = send(pair)
    assert refused.outcome == Outcome.UNREACHABLE, refused
    pair["r"].sh("ip route replace blackhole 10.2.0.2/32")
    silent = send(pair, wait_s=0.3)
    assert (silent.outcome, silent.value) == (Outcome.UNREACHABLE, None), silent
