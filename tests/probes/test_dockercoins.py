"""DockerCoins: the page shows a rate that no network could give, or hides one that stopped."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from overlab.model import Finding
from probes import dockercoins
from probes.common import at_once
from probes.dockercoins import App, Outcome, ServiceTimes
from tests.probes.nets import Net

SECONDS = 2.5
CASES = ["one", "four", "double", "slow", "fall", "stall", "deaf"]
FAULTS = {name: name for name in CASES[2:]}


def app(net: Net, workers: int, sleep: float = 0.1, fault: str = "") -> App:
    """Run the application in its own namespace, across a veth from the agent."""
    user, server = f"user{fault}{workers}", f"app{fault}{workers}"
    net.space(user, server)
    net.veth((user, "eth0", "10.4.0.1/24"), (server, "eth0", "10.4.0.2/24"))
    script = str(Path(__file__).with_name("coinapp.py"))
    net.run(server, sys.executable, script, str(workers), str(sleep), *[fault] * bool(fault))
    net.start(user)
    return App(net.agents[user], "10.4.0.2", "10.4.0.2:8001", "10.4.0.2:8002")


@pytest.fixture(scope="module")
def rates() -> Iterator[dict[str, Finding]]:
    """Rates of healthy and faulty applications, taken side by side: they mostly sleep."""
    net = Net()
    try:

        def make(name: str) -> App:
            return app(net, 4 if name == "four" else 1, fault=FAULTS.get(name, ""))

        apps = dict(zip(CASES, at_once(make, CASES), strict=True))
        times = dockercoins.service_times(apps["one"], samples=3)[0]
        assert times is not None

        def take(name: str) -> Finding:
            return dockercoins.rate(apps[name], times, seconds=SECONDS, workers=4 if name == "four" else 1)

        found = dict(zip(CASES, at_once(take, CASES), strict=True))
        found["wallet"] = dockercoins.wallet(apps["one"])
        found["services"] = dockercoins.service_times(apps["stall"], samples=1)[1]
        yield found
    finally:
        net.close()


@pytest.mark.parametrize(
    ("name", "outcome"),
    [
        ("one", Outcome.OK),
        ("four", Outcome.OK),
        ("double", Outcome.TOO_FAST),
        ("slow", Outcome.TOO_SLOW),
        ("fall", Outcome.FELL),
        ("stall", Outcome.STALLED),
        ("deaf", Outcome.NO_ANSWER),
    ],
)
def test_rates(rates: dict[str, Finding], name: str, outcome: Outcome) -> None:
    assert rates[name].outcome == outcome, rates[name]


def test_a_rate_lies_within_what_the_polls_allow(rates: dict[str, Finding]) -> None:
    one = rates["one"]
    assert isinstance(one.value, float)
    assert one.evidence["least"] <= one.value <= one.evidence["most"]


def test_coins_are_checked(rates: dict[str, Finding]) -> None:
    assert rates["wallet"].ok, rates["wallet"]
    assert int(rates["wallet"].value or 0) >= 1
    assert rates["services"].ok


def test_no_sleeps(net: Net) -> None:
    found = dockercoins.raw_rate(app(net, 1, 0.0), seconds=1.7)
    assert found.ok, found
    assert (found.value or 0) > 20  # type: ignore[operator]


def test_a_worker_that_was_just_thawed(net: Net) -> None:
    """Symptom: a worker, frozen within a request, gets over that first; its slot counts as a stall."""
    found = dockercoins.raw_rate(app(net, 1, 0.0, "late"), seconds=1.7)
    assert found.ok, found
    assert found.evidence["first"] > 0, "the time began before the counter moved"


def test_a_pace_that_was_too_slow_is_asked_for_again(net: Net) -> None:
    """Symptom: a moment in which the machine is busy with something else turns a whole row red."""
    reached = app(net, 1, fault="dawdle")
    times, rate = dockercoins.pace(reached, samples=1, seconds=2.5, attempts=3)
    assert times.ok
    assert rate.ok, rate
    assert rate.evidence["before"], "not the thing under test: it was never slow"


def test_a_pace_that_stays_too_slow_is_told(net: Net) -> None:
    _times, rate = dockercoins.pace(app(net, 1, fault="slow"), samples=1, seconds=2.5)
    assert rate.outcome == Outcome.TOO_SLOW
    assert len(rate.evidence["before"]) == 1


def test_a_hasher_that_errs(net: Net) -> None:
    times, finding = dockercoins.service_times(app(net, 1, 0.0, "badhash"), samples=1)
    assert times is None
    assert finding.outcome == Outcome.WRONG_ANSWER


def test_a_coin_that_is_none(net: Net) -> None:
    found = dockercoins.wallet(app(net, 0, fault="badcoin"))
    assert (found.outcome, found.evidence["bad_count"]) == (Outcome.BAD_COIN, 1)


def test_bounds_hold_what_was_measured() -> None:
    low, high = ServiceTimes(0.11, 0.12).bounds(1)
    assert (round(low, 3), high) == (round(0.85 / 0.33, 3), 3.34)
    low, high = ServiceTimes(0.11, 0.12).bounds(4)
    assert (round(low, 3), high) == (round(0.85 / 0.11, 3), 10.0)


def test_edges_beat_raw_reads() -> None:
    rate = dockercoins.edge_rate([[0.95, 1.0, 10], [2.0, 2.05, 13], [3.0, 3.05, 16]])
    assert rate is not None
    assert (round(rate.estimate, 3), round(rate.least, 3), round(rate.most, 3)) == (2.927, 2.857, 3.0)
    assert dockercoins.edge_rate([[0.95, 1.0, 10]]) is None


def test_workers_that_add_together_are_not_too_fast() -> None:
    """From the first of a cluster of additions to the last of another there is one cluster too many."""
    edges = [[t + 0.05 * i, t + 0.05 * i + 0.05, 2.5 * (4 * t + i)] for t in range(4) for i in range(4)]
    rate = dockercoins.edge_rate(edges, workers=4)
    assert rate is not None
    assert rate.least < 10 < rate.most
    assert abs(rate.estimate - 10) < 1
