"""Routing: packets arrive, but by another way, or under another name, than the overlay promised."""

from __future__ import annotations

import pytest

from overlab.model import Finding
from probes import routing
from probes.routing import Outcome
from tests.probes.nets import Net, routed

A, B = "10.1.0.2", "10.2.0.2"


def forward(net: Net, **promised: object) -> Finding:
    return routing.one_way(net.peer("a", A), net.peer("b", B), **promised)  # type: ignore[arg-type]


@pytest.fixture
def wide(net: Net) -> Net:
    routed(net, 1500)
    net.start("a", "b")
    return net


def test_both_ways(healthy: Net) -> None:
    found = routing.check(healthy.peer("a", A), healthy.peer("b", B), hops=1, device="eth0")
    assert [(f.outcome, f.value) for f in found] == [("ok", 1), ("ok", 1)], found
    assert found[0].evidence["hops"] == [1] * 5
    assert found[0].evidence["route"]["gateway"] == "10.1.0.1"


def test_another_number_of_hops(healthy: Net) -> None:
    found = forward(healthy, hops=0)
    assert (found.outcome, found.value) == (Outcome.WRONG_HOPS, 1)


@pytest.mark.parametrize("promised", [{"device": "eth1"}, {"gateway": ""}, {"gateway": "10.1.0.9"}])
def test_another_route(healthy: Net, promised: dict[str, str]) -> None:
    assert forward(healthy, **promised).outcome == Outcome.WRONG_ROUTE


def test_another_source_by_the_route(pair: Net) -> None:
    pair["a"].sh("ip addr add 10.1.0.7/24 dev eth0\nip route change default via 10.1.0.1 src 10.1.0.7")
    found = forward(pair)
    assert (found.outcome, found.reason) == (Outcome.WRONG_ROUTE, "source is 10.1.0.7, not 10.1.0.2")


def test_nat(wide: Net) -> None:
    wide["b"].sh("ip route add 10.2.0.99/32 via 10.2.0.1")
    wide.mangle("nat")
    found = forward(wide)
    assert found.outcome == Outcome.SOURCE_REWRITTEN, found
    assert "arrived from 10.2.0.99:" in found.reason


def test_a_flow_on_two_ways(wide: Net) -> None:
    wide.mangle("ttl")
    assert forward(wide).outcome == Outcome.UNSTABLE


def test_unreachable(pair: Net) -> None:
    pair["r"].sh("ip route add prohibit 10.2.0.2/32")
    assert forward(pair).outcome == Outcome.UNREACHABLE
    pair["a"].sh("ip route del default")
    assert forward(pair).reason == "no route: ENETUNREACH"
