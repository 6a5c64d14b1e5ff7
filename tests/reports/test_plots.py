"""A curve or an interval on the page that shows something else than was measured."""

from __future__ import annotations

from typing import Any

import pytest

from overlab.model import Phase
from reports.page import page
from reports.plots import BAR_WIDTH, Plot, bar, plots
from reports.rows import rows
from reports.schema import Evidence, Result
from tests.reports.samples import result

EDGES = [[1.2 * n, 1.2 * n + 0.05, 4 * n] for n in range(10)]
SLOTS = [[[100.0, 110.0, 120.0], [200.0, 210.0, 220.0], [205.0, 215.0, 225.0], [105.0, 115.0, 125.0]]]


def lines() -> list[Result]:
    rate: dict[str, Any] = {"edges": EDGES}
    share: dict[str, Any] = {"slots": SLOTS, "interval": [1.8, 2.2]}
    perf: dict[str, Any] = {"phase": Phase.PERF, "promised": None}
    return [
        result(
            1, probe="dockercoins-rate", value=3.33, unit="hashes/s", evidence=Evidence(data=rate), **perf
        ),
        result(2, probe="latency-share", value=2.0, unit="× control", evidence=Evidence(data=share), **perf),
    ]


def curve(plot: Plot, kind: str) -> list[tuple[float, float]]:
    """Return a curve's points as values, through the ticks of both axes."""
    first_x, last_x, first_y, last_y = plot.x_ticks[0], plot.x_ticks[-1], plot.y_ticks[0], plot.y_ticks[-1]
    (found,) = (c for c in plot.curves if c.kind == kind)
    points = [tuple(map(float, point.split(","))) for point in found.points.split()]
    return [
        (
            (x - first_x.at) / (last_x.at - first_x.at) * float(last_x.text),
            (y - first_y.at) / (last_y.at - first_y.at) * float(last_y.text),
        )
        for x, y in points
    ]


def test_hashes_over_time_are_the_counter_s_own() -> None:
    (row,) = rows(lines())
    hashes, _ = plots(row)
    seen = curve(hashes, "overlay")
    assert len(seen) == len(EDGES) - 1
    assert [y for _x, y in seen] == pytest.approx([4 / 1.2] * 9, rel=0.01)
    assert seen[0][0] == pytest.approx(0.625, abs=0.05)


def test_half_of_the_packets_are_back_within_the_median() -> None:
    (row,) = rows(lines())
    _, latency = plots(row)
    for kind, median in (("control", 110.0), ("overlay", 210.0)):
        within = max(y for x, y in curve(latency, kind) if x <= median + 1)
        assert within == pytest.approx(50, abs=1)


def test_an_interval_lies_around_its_value() -> None:
    (row,) = rows(lines())
    drawn = bar(row.cells["latency-share"])
    assert drawn
    assert drawn.one == BAR_WIDTH / 2
    assert drawn.low < drawn.value < drawn.high
    assert drawn.value == pytest.approx(BAR_WIDTH * 5 / 8)  # one doubling of four to the right
    assert bar(row.cells["dockercoins-rate"]) is None


def test_the_page_draws_them() -> None:
    text = page(lines(), [], "20260102T030405Z-0a1b2c")
    assert text.count('class="plot"') == 2
    assert text.count('class="interval"') == 1
