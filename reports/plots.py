"""What a row measured, as curves with coordinates: the page's template draws them as SVG.

Hashes over time: the counter's edges, as the rate between each two. Latency: for the overlay and its
control, which share of the packets was back within a time (an empirical distribution function). And, for a
share of the control, its interval on a scale of doublings.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from reports.rows import Cell, Row

WIDTH, HEIGHT = 420.0, 170.0
LEFT, RIGHT, TOP, BOTTOM = 44.0, 18.0, 20.0, 30.0
BAR_WIDTH, BAR_HEIGHT = 96.0, 10.0
DOUBLINGS = 4.0  # an interval's scale goes from 1/16 of the control to 16 times it
MOST_POINTS = 120


@dataclass(frozen=True, slots=True)
class Curve:
    """A line through `points`, which are in SVG's own form: "x,y x,y". `kind` is its style."""

    name: str
    kind: str
    points: str


@dataclass(frozen=True, slots=True)
class Tick:
    """A mark on an axis, at `at` user units."""

    at: float
    text: str


@dataclass(frozen=True, slots=True)
class Plot:
    """Curves over two axes; sizes are user units."""

    title: str
    across: str
    up: str
    curves: tuple[Curve, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    width: float = WIDTH
    height: float = HEIGHT
    left: float = LEFT
    right: float = WIDTH - RIGHT
    top: float = TOP
    bottom: float = HEIGHT - BOTTOM


@dataclass(frozen=True, slots=True)
class Bar:
    """The interval of a share: from `low` to `high`, its value at `value`, the control's own 1 at `one`."""

    low: float
    high: float
    value: float
    one: float
    text: str
    width: float = BAR_WIDTH
    height: float = BAR_HEIGHT


def plots(row: Row) -> list[Plot]:
    """Return the curves of the row's last measurement of each kind."""
    drawn = []
    for probe, draw in (("dockercoins-rate", _hashes), ("latency-share", _latency)):
        cell = row.cells.get(probe)
        plot = draw(dict(cell.lines[-1].evidence.data)) if cell else None
        if plot:
            drawn.append(plot)
    return drawn


def bar(cell: Cell) -> Bar | None:
    """Return the interval of a cell that shows one share; None for any other."""
    found = cell.lines[-1].evidence.data.get("interval")
    value = cell.lines[-1].value
    if not isinstance(found, list) or len(found) != 2 or not isinstance(value, int | float):
        return None
    low, high = (float(x) for x in found if isinstance(x, int | float))
    return Bar(_at(low), _at(high), _at(value), _at(1.0), f"95 % interval {low:g} to {high:g}")


def _at(share: float) -> float:
    """Return where a share is on the bar: each doubling is as wide, 1 is in the middle."""
    doublings = math.log2(share) if share > 0 else -DOUBLINGS
    return round((min(max(doublings, -DOUBLINGS), DOUBLINGS) / DOUBLINGS + 1) / 2 * BAR_WIDTH, 1)


def _hashes(data: dict[str, Any]) -> Plot | None:
    edges = data.get("edges") or []
    if len(edges) < 3:
        return None
    middles = [((before + after) / 2, value) for before, after, value in edges]
    speeds = [((t + u) / 2, (b - a) / (u - t)) for (t, a), (u, b) in pairwise(middles)]
    return _plot("Hashes over time", "seconds", "hashes/s", [("hashes", "overlay", speeds)])


def _latency(data: dict[str, Any]) -> Plot | None:
    blocks = data.get("slots") or []
    if not blocks:
        return None
    control = [s for block in blocks for slot in (block[0], block[3]) for s in slot]
    overlay = [s for block in blocks for slot in (block[1], block[2]) for s in slot]
    if min(len(control), len(overlay)) < 3:
        return None
    # The slowest hundredth would squeeze all the others into a corner.
    end = max(sorted(samples)[int(0.99 * (len(samples) - 1))] for samples in (control, overlay))
    curves = [
        (name, name, [p for p in _distribution(samples) if p[0] <= end])
        for name, samples in (("control", control), ("overlay", overlay))
    ]
    return _plot("Latency of a round trip", "µs", "% within", curves)


def _distribution(samples: Sequence[float]) -> list[tuple[float, float]]:
    ranked = sorted(samples)
    step = max(1, len(ranked) // MOST_POINTS)
    return [(ranked[i], 100.0 * (i + 1) / len(ranked)) for i in range(0, len(ranked), step)]


def _plot(
    title: str, across: str, up: str, given: Sequence[tuple[str, str, Sequence[tuple[float, float]]]]
) -> Plot:
    points = [point for _name, _kind, curve in given for point in curve]
    most_x, most_y = (_round_up(max(p[axis] for p in points)) for axis in (0, 1))
    wide, high = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM

    def x(value: float) -> float:
        return round(LEFT + wide * value / most_x, 1)

    def y(value: float) -> float:
        return round(TOP + high * (1 - value / most_y), 1)

    curves = tuple(
        Curve(name, kind, " ".join(f"{x(a)},{y(b)}" for a, b in curve)) for name, kind, curve in given
    )
    quarters = [i / 4 for i in range(5)]
    return Plot(
        title,
        across,
        up,
        curves,
        tuple(Tick(x(q * most_x), f"{q * most_x:g}") for q in quarters),
        tuple(Tick(y(q * most_y), f"{q * most_y:g}") for q in quarters),
    )


def _round_up(value: float) -> float:
    """Return the next 1, 2, 4, 5 or 8 of its power of ten: quarters of these are short to write."""
    power = 10.0 ** math.floor(math.log10(value)) if value > 0 else 1.0
    return next(step * power for step in (1, 2, 4, 5, 8, 10) if step * power >= value * 0.999)
