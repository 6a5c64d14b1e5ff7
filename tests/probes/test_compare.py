"""Shares: a machine that slows down while it is measured makes an overlay look better than it is."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from overlab.model import Finding, Verdict
from probes import compare
from probes.compare import CPU, LATENCY, Outcome


class Bench:
    """Slots on a machine whose speed drifts; the overlay takes a fixed share."""

    def __init__(self, share: float, speed: Callable[[int], float] = lambda _slot: 100.0) -> None:
        self.share = share
        self.speed = speed
        self.order = ""
        self.seconds: set[float] = set()

    def slot(self, name: str, share: float) -> Callable[[float], Finding]:
        def measure(seconds: float) -> Finding:
            value = self.speed(len(self.order)) * share
            self.order += name
            self.seconds.add(seconds)
            found = [value * (1 + wobble) for wobble in (-0.01, 0.0, 0.01)]
            evidence = {"samples": found, "cpu_s_per_gbit": [1 / share]}
            return Finding("goodput", "ok", value, "Mbit/s", src=name, dst="x", evidence=evidence)

        return measure

    def run(self, **how: float) -> compare.Run:
        return compare.abba(self.slot("A", 1.0), self.slot("B", self.share), figure=LATENCY, **how)  # type: ignore[arg-type]


def test_order_and_share() -> None:
    bench = Bench(0.9)
    found = compare.judge(bench.run(seconds=2.0, blocks=5), "goodput", figure=LATENCY)
    assert (bench.order, bench.seconds) == ("ABBA", {2.0}), "one block is enough where it is resolved"
    assert (found.probe, found.outcome, found.value, found.unit) == ("goodput-share", "ok", 0.9, "× control")
    assert found.evidence["a_a"]["value"] == 1.0
    assert len(found.evidence["slots"][0]) == 4
    assert compare.verdict(found) is Verdict.PASS


def test_a_straight_drift_falls_out() -> None:
    bench = Bench(0.9, lambda slot: 100.0 - slot)
    found = compare.judge(bench.run(), "goodput", figure=LATENCY)
    assert found.value == pytest.approx(0.9, abs=0.001), found
    assert found.evidence["a_a"]["value"] == 0.97, "and A/A shows it"


def test_noise_is_unresolved() -> None:
    speeds = [100.0, 60.0, 90.0, 40.0]
    bench = Bench(0.9, lambda slot: speeds[slot % 4])
    found = compare.judge(bench.run(blocks=3), "goodput", figure=LATENCY)
    assert bench.order == "ABBA" * 3, "more blocks were tried"
    assert found.outcome == Outcome.UNRESOLVED, found
    assert "half-width" in found.reason
    assert found.value is not None
    assert compare.verdict(found) is Verdict.UNRESOLVED


def test_one_run_has_two_figures() -> None:
    run = Bench(0.5).run()
    assert compare.judge(run, "goodput", figure=LATENCY).value == 0.5
    cpu = compare.judge(run, "cpu", figure=CPU)
    assert (cpu.probe, cpu.value) == ("cpu-share", 2.0)


@pytest.mark.parametrize(
    ("who", "outcome", "verdict", "order"),
    [
        ("A", Outcome.CONTROL_FAILED, Verdict.INVALID, ""),
        ("B", Outcome.OVERLAY_FAILED, Verdict.FAIL, "A"),
    ],
)
def test_a_slot_that_fails(who: str, outcome: Outcome, verdict: Verdict, order: str) -> None:
    bench = Bench(0.9)

    def fails(_seconds: float) -> Finding:
        return Finding("goodput", "stalled", reason="a stream died")

    ways = {"A": bench.slot("A", 1.0), "B": bench.slot("B", 0.9)} | {who: fails}
    found = compare.judge(compare.abba(ways["A"], ways["B"], figure=LATENCY), "goodput", figure=LATENCY)
    assert (found.outcome, found.value, bench.order) == (outcome, None, order)
    assert compare.verdict(found) is verdict
    assert ("the harness, not the overlay" in found.reason) is (who == "A")
    assert "a stream died" in found.reason
