"""The length of an outage: one that is hidden by what was not asked meanwhile, or by its own end."""

from __future__ import annotations

import time

import pytest

from probes import outage
from tests.probes.nets import Net

A, B = "10.1.0.2", "10.2.0.2"
CUT = "ip route add blackhole 10.2.0.2/32"
HEAL = "ip route del blackhole 10.2.0.2/32"


@pytest.mark.parametrize("seconds", [0.5, 1.5])
def test_its_length_is_that_of_the_cut(pair: Net, seconds: float) -> None:
    """Symptom: a fallback that took seconds is told as none, as nobody sent while it lasted."""
    cut: list[float] = []

    def action() -> None:
        began = time.monotonic()
        pair["r"].sh(CUT)
        time.sleep(seconds)  # this is what is measured
        pair["r"].sh(HEAL)
        cut.append(time.monotonic() - began)

    found = outage.during(pair.peer("a", A), pair.peer("b", B), action)
    assert found.ok, found
    assert isinstance(found.value, float)
    assert seconds - 0.05 < found.value < cut[0] + 2 * outage.LAST_ANSWERS_S + 0.1, (found, cut)
    assert found.evidence["lost"] > 0


def test_nothing_happens(healthy: Net) -> None:
    """Symptom: the pauses of the schedule itself are told as an outage."""
    found = outage.during(healthy.peer("a", A), healthy.peer("b", B), lambda: time.sleep(1))
    assert (found.outcome, found.value, found.evidence["lost"]) == ("ok", 0.0, 0), found


def test_it_has_not_ended(pair: Net) -> None:
    """Symptom: what never came back is told as a short outage."""
    found = outage.during(pair.peer("a", A), pair.peer("b", B), lambda: pair["r"].sh(CUT))
    assert (found.outcome, found.value) == (outage.Outcome.NOT_RESTORED, None), found


def test_it_was_there_before(pair: Net) -> None:
    """Symptom: a network that never worked is told as one that was cut."""
    pair["r"].sh(CUT)
    done: list[str] = []
    found = outage.during(pair.peer("a", A), pair.peer("b", B), lambda: done.append("done"))
    assert (found.outcome, done) == (outage.Outcome.NEVER_THERE, []), found


def test_what_the_action_raises_is_raised(healthy: Net) -> None:
    """Symptom: a fault that could not be put in place is measured as no outage."""

    def fails() -> None:
        raise ValueError("no such port")

    with pytest.raises(ValueError, match="no such port"):
        outage.during(healthy.peer("a", A), healthy.peer("b", B), fails)
