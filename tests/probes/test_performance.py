"""Latency and goodput: a figure that looks fine because what was slow or lost is not in it."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from overlab.model import Finding
from probes import goodput, latency
from tests.probes.nets import Net, routed

A, B = "10.1.0.2", "10.2.0.2"


def times(net: Net, seconds: float = 0.5, wait_s: float = 1.0) -> Finding:
    return latency.measure(net.peer("a", A), net.peer("b", B), seconds=seconds, wait_s=wait_s)


def flow(net: Net, **how: Any) -> Finding:
    return goodput.measure(net.peer("a", A), net.peer("b", B), **how)


def broken(net: Net, fault: str) -> Net:
    routed(net, 1500)
    net.start("a", "b")
    net.mangle(fault)
    return net


def test_every_sample_is_there(healthy: Net) -> None:
    found = times(healthy)
    assert found.ok, found
    samples = found.evidence["samples"]
    assert (len(samples), found.evidence["sent"], found.evidence["lost"]) == (50, 50, 0)
    assert min(samples) > 0
    assert found.value == latency.percentile(samples, 50)


def test_a_moment_that_is_slow_for_many(net: Net) -> None:
    found = times(broken(net, "hold"), seconds=0.8)
    assert found.ok, found
    slow = [sample for sample in found.evidence["samples"] if sample > 50_000]
    assert len(slow) >= 15, "a sender that waits for its answer would have one"


def test_what_is_lost_is_said(net: Net) -> None:
    found = times(broken(net, "once"), wait_s=0.2)
    assert (found.outcome, found.reason) == (latency.Outcome.LOSSY, "1 of 50 were lost"), found


def test_no_answer_at_all(pair: Net) -> None:
    pair["r"].sh("ip route add blackhole 10.2.0.2/32")
    found = times(pair, seconds=0.1, wait_s=0.1)
    assert (found.outcome, found.value) == (latency.Outcome.UNREACHABLE, None), found
    assert "none of 10 came back; next hop 10.1.0.1" in found.reason


@pytest.mark.parametrize(("rank", "expected"), [(50, 5), (90, 9), (99, 10), (100, 10), (0, 1)])
def test_percentiles(rank: float, expected: float) -> None:
    assert latency.percentile([3, 1, 2, 10, 9, 8, 7, 6, 5, 4], rank) == expected


@pytest.mark.parametrize("streams", [1, 8])
def test_a_shaped_link_is_the_oracle(net: Net, streams: int) -> None:
    routed(net, 1500)
    net.start("a", "b")
    rate = 30
    net["r"].sh(f"tc qdisc replace dev right root tbf rate {rate}mbit burst 32kb latency 50ms")
    clock = itertools.count(0.0, 0.5)
    found = flow(net, seconds=0.8, streams=streams, cpu=lambda: next(clock))
    assert found.ok, found
    oracle = rate * (1500 - 52) / 1514
    assert found.value == pytest.approx(oracle, rel=0.08), found
    assert len(found.evidence["share_of_each"]) == streams
    sent = found.evidence["bytes"] * 8e-9
    assert found.evidence["cpu_s_per_gbit"] == [pytest.approx(0.5 / sent)]


def test_a_stream_that_dies(net: Net) -> None:
    found = flow(broken(net, "end"), seconds=0.1, idle_s=0.2)
    assert (found.outcome, found.value) == (goodput.Outcome.STALLED, None), found


def test_no_connection(pair: Net) -> None:
    pair["r"].sh("ip route add prohibit 10.2.0.2/32")
    found = flow(pair, seconds=0.2)
    assert (found.outcome, found.value) == (goodput.Outcome.UNREACHABLE, None), found


def test_parts_are_of_the_time_in_which_all_ran() -> None:
    one = {"marks": [[0.0, 0], [1.0, 1_000_000], [2.0, 2_000_000]]}
    two = {"marks": [[1.0, 0], [1.75, 0], [2.0, 3_000_000]]}
    assert goodput.parts([one]) == [8.0] * 4
    assert goodput.parts([one, two]) == [8.0, 56.0]
