"""A share of the control with its interval, or the word that there is none.

A pair is one slot of the control and one of the overlay, side by side in time: what drifts slower than a
slot is in both, and falls out of their ratio. The share is the median of the pairs' ratios. Its interval is
a bootstrap of two levels: pairs are drawn with replacement, and in each pair the samples of both slots.
Without the first level, samples of one slot (which drift together) would feign precision; without the
second, a single block of two pairs would have nothing to say of its own noise.
Source: Efron and Tibshirani, An Introduction to the Bootstrap, chapter 13 (the percentile interval).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 2000
LEVEL = 0.95
LIMIT = 0.03
SEED = 20240229
LEAST_PAIRS = 2
LEAST_SINGLES = 6  # of slots with one sample: two ratios that happen to be close prove nothing

Samples = Sequence[float]
Centre = Literal["median", "mean"]
Pair = tuple[Samples, Samples]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Share:
    """A ratio to the control, its 95 % interval, and of how many pairs it is the median."""

    value: float
    low: float
    high: float
    pairs: int
    least: int = LEAST_PAIRS

    @property
    def half_width(self) -> float:
        """Half of the interval, as a share of the value: 0.03 is 3 %."""
        return (self.high - self.low) / 2 / self.value

    def resolved(self, limit: float = LIMIT) -> bool:
        """True when the half-width is at most `limit`, of at least `least` pairs."""
        return self.pairs >= self.least and self.half_width <= limit

    def doubt(self, limit: float = LIMIT) -> str:
        """Say why the share is not resolved; "" when it is."""
        if self.half_width > limit:
            return f"{self}: half-width {self.half_width:.1%} of it, above {limit:.1%}"
        if self.pairs < self.least:
            return f"{self}: {self.pairs} pairs, and it takes {self.least} of single samples"
        return ""

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


def share(
    pairs: Sequence[Pair], *, centre: Centre = "median", seed: int = SEED, resamples: int = RESAMPLES
) -> Share:
    """Return the median ratio of (control samples, overlay samples) and its bootstrap interval.

    A slot's figure is the median of its samples, or their mean (`centre`): of a time in equal parts the
    mean is the whole, while the median leaves out its bursts. The same pairs and seed give the same interval.
    Raises ValueError without pairs, for an empty slot, and for a sample that is not above 0.
    """
    if not pairs:
        raise ValueError("a share needs at least one pair")
    for slot in (slot for pair in pairs for slot in pair):
        if not slot or min(slot) <= 0:
            raise ValueError("every slot needs samples, and every sample is above 0")
    middle = np.mean if centre == "mean" else np.median
    dice = np.random.default_rng(seed)
    ratios = [float(middle(overlay) / middle(control)) for control, overlay in pairs]
    # ratios of resampled slots, one row a pair; then whole pairs are drawn from them
    rows = np.stack(
        [_drawn(b, dice, resamples, centre) / _drawn(a, dice, resamples, centre) for a, b in pairs]
    )
    chosen = dice.integers(0, len(pairs), size=(len(pairs), resamples))
    medians = np.median(np.take_along_axis(rows, chosen, axis=0), axis=0)
    tail = (1 - LEVEL) / 2 * 100
    low, high = np.percentile(medians, [tail, 100 - tail])
    single = any(len(slot) == 1 for pair in pairs for slot in pair)
    least = LEAST_SINGLES if single else LEAST_PAIRS
    return Share(float(np.median(ratios)), float(low), float(high), len(pairs), least)


def _drawn(samples: Samples, dice: np.random.Generator, resamples: int, centre: Centre) -> Floats:
    """Return figures of `resamples` draws with replacement."""
    values: Floats = np.asarray(samples, dtype=np.float64)
    if len(values) == 1:
        return np.full(resamples, values[0])
    picked = dice.integers(0, len(values), size=(resamples, len(values)))
    drawn = values[picked]
    figures: Floats = drawn.mean(axis=1) if centre == "mean" else np.median(drawn, axis=1)
    return figures
