"""Statistics: an interval that is too narrow turns noise into a finding."""

from __future__ import annotations

import random

import pytest

from probes.statistics import share


def noisy(dice: random.Random, centre: float, count: int, spread: float) -> list[float]:
    return [dice.gauss(centre, spread * centre) for _ in range(count)]


def test_the_same_pairs_give_the_same_interval() -> None:
    pairs = [([10.0, 11.0, 12.0], [5.0, 5.5, 6.5]), ([9.0, 10.0, 11.0], [5.0, 5.2, 5.1])]
    assert share(pairs) == share(pairs)
    assert share(pairs).value == pytest.approx((5.5 / 11 + 5.1 / 10) / 2)
    assert share(pairs).low <= share(pairs).value <= share(pairs).high


def test_one_pair_is_never_resolved() -> None:
    assert not share([([1.0], [1.0])]).resolved()
    assert share([([1.0, 1.0], [1.0, 1.0])] * 2).resolved()


def test_single_samples_need_more_pairs() -> None:
    """Symptom: two ratios that happen to be close are shown as a figure, and the next run shows another."""
    few, enough = (share([([1.0], [1.0])] * pairs) for pairs in (5, 6))
    assert (few.resolved(), enough.resolved()) == (False, True)
    assert "5 pairs, and it takes 6" in few.doubt()
    assert enough.doubt() == ""


def test_two_pairs_that_disagree_are_not_resolved_by_many_samples() -> None:
    dice = random.Random(1)
    pairs = [(noisy(dice, 100, 500, 0.01), noisy(dice, centre, 500, 0.01)) for centre in (80, 95)]
    found = share(pairs)
    assert found.low < 0.81
    assert found.high > 0.94
    assert not found.resolved()


def test_the_noise_within_a_slot_counts() -> None:
    quiet = [([100.0] * 9, [90.0] * 9)] * 2
    loud = [([60.0, 80, 90, 95, 100, 105, 110, 120, 140], [90.0] * 9)] * 2
    assert share(quiet).half_width == 0
    assert share(loud).half_width > 0.03


def test_the_interval_holds_the_truth() -> None:
    """Of a hundred measurements of the same, about 95 intervals hold it; A/A is one of them."""
    for true, pairs in ((1.0, 8), (0.7, 30)):
        held = 0
        for seed in range(100):
            dice = random.Random(seed)
            drawn = [([dice.gauss(100, 3)], [dice.gauss(100 * true, 3)]) for _ in range(pairs)]
            found = share(drawn, seed=seed, resamples=500)
            held += found.low <= true <= found.high
        assert 88 <= held <= 100, f"{held} of 100 for {true} in {pairs} pairs"


def test_the_mean_holds_what_a_burst_brought() -> None:
    pairs = [([10.0] * 5, [5.0, 5.0, 5.0, 5.0, 30.0])] * 2
    assert share(pairs).value == 0.5
    assert share(pairs, centre="mean").value == 1.0


@pytest.mark.parametrize("pairs", [[], [([], [1.0])], [([1.0], [0.0])]])
def test_what_has_no_share(pairs: list[tuple[list[float], list[float]]]) -> None:
    with pytest.raises(ValueError):
        share(pairs)
