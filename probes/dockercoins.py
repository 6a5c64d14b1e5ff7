"""Does DockerCoins live on this network, and at the speed that its sleeps allow?

Method: the counter `hashes` is polled at 20 Hz from a vantage that reaches redis, rng and hasher, and the
rate is taken between its first and last edge: a worker adds once a second, so two raw reads are off by up
to one addition at each end. A bound is broken when no moment of the edges between two polls would keep it.
Services are timed by requests of a worker's own form.
A worker's unit of work takes its own sleep of 0.1 s, one request to rng and one to hasher, and each of
these sleeps 0.1 s as well. The measured times hold the services' sleeps, so the bounds are
- one worker: at most 3.34/s (1 / 0.3 s), at least 0.85 / (0.1 s + rng time + hasher time);
- n workers: at most 10/s (rng serves one request at a time), and n × 3.34/s where that is less; at least
  0.85 of the smaller of rng's capacity (1 / rng time) and what n workers do unhindered.
Measure the services with at most one worker running: at rng a request also waits for its turn.
Source: github.com/jpetazzo/container.training, folder dockercoins (rng.py, hasher.rb, worker.py).
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import pairwise
from statistics import linear_regression, median
from typing import Any

from overlab.model import Finding

from .client import Agent, OperationError
from .common import elapsed_ms

PROBE = "dockercoins"
SLEEP_S = 0.1
ONE_WORKER = 3.34
RNG_LIMIT = 10.0
SHARE = 0.85
ATTEMPTS = 2
FLUSH_S = 1.4  # a worker adds after the first unit of work that ends a second later
PATIENCE_S = 10.0  # three of a worker's own time-outs: what a thawed one may need to work again
SLACK_S = 30.0


class Outcome(StrEnum):
    """Classes of this probe."""

    OK = "ok"
    NO_ANSWER = "no-answer"
    WRONG_ANSWER = "wrong-answer"
    STALLED = "stalled"
    FELL = "counter-fell"
    TOO_FAST = "too-fast"
    TOO_SLOW = "too-slow"
    BAD_COIN = "bad-coin"


@dataclass(frozen=True, slots=True)
class App:
    """The services as they are reached from `agent`: "address" or "address:port"."""

    agent: Agent
    redis: str
    rng: str
    hasher: str


@dataclass(frozen=True, slots=True)
class ServiceTimes:
    """Median time of one request, in seconds, sleeps included."""

    rng: float
    hasher: float

    def bounds(self, workers: int) -> tuple[float, float]:
        """Return the lowest and highest credible rate of `workers`, in hashes a second."""
        each = 1.0 / (SLEEP_S + self.rng + self.hasher)
        return SHARE * min(workers * each, 1.0 / self.rng), min(workers * ONE_WORKER, RNG_LIMIT)


def service_times(app: App, *, samples: int = 9) -> tuple[ServiceTimes | None, Finding]:
    """Time rng and hasher; the Finding's value is the sum of the medians in ms. None when one fails."""
    start = time.monotonic()
    try:
        limit = samples * 10.0 + SLACK_S
        answer = app.agent.call("coin_times", timeout=limit, rng=app.rng, hasher=app.hasher, samples=samples)
    except OperationError as wrong:
        return None, _finding(app, "services", Outcome.NO_ANSWER, start, reason=wrong.what)
    if answer["wrong"]:
        found = _finding(
            app, "services", Outcome.WRONG_ANSWER, start, reason=answer["wrong"][0], evidence=answer
        )
        return None, found
    times = ServiceTimes(median(answer["rng_ms"]) / 1000, median(answer["hasher_ms"]) / 1000)
    value = round((times.rng + times.hasher) * 1000, 3)
    return times, _finding(app, "services", Outcome.OK, start, value=value, unit="ms", evidence=answer)


def rate(app: App, times: ServiceTimes, *, seconds: float = 30.0, workers: int = 1) -> Finding:
    """Measure hashes a second with the sleeps on, and judge them by the bounds for `workers`."""
    low, high = times.bounds(workers)
    return _rate(app, "rate", seconds, (low, high), {"workers": workers, "low": low, "high": high})


def pace(app: App, *, samples: int = 9, seconds: float = 30.0, attempts: int = ATTEMPTS) -> list[Finding]:
    """Time the services, then one worker's rate by what they allow: their Findings, [times, rate].

    A rate that is too slow is asked for again, with the times of that moment: other work on the machine
    passes, an overlay's slowness does not. Evidence of the last keeps the rates `before` it.
    """
    before: list[object] = []
    for attempt in range(attempts):
        times, timed = service_times(app, samples=samples)
        if times is None:
            return [timed]
        found = rate(app, times, seconds=seconds)
        if found.outcome != Outcome.TOO_SLOW or attempt == attempts - 1:
            break
        before.append([found.value, found.evidence["low"]])
    return [timed, replace(found, evidence={**found.evidence, "before": before})]


def raw_rate(app: App, *, seconds: float = 30.0) -> Finding:
    """Measure hashes a second with the sleeps off: a figure to compare, judged only for life.

    The time begins when the counter moves, so a worker may be thawed just before.
    """
    return _rate(app, "raw-rate", seconds, None, {}, patience=PATIENCE_S)


def wallet(app: App) -> Finding:
    """Check every coin; the Finding's value is their number. An empty wallet is ok: coins take luck."""
    start = time.monotonic()
    try:
        answer = app.agent.call("coin_wallet", timeout=SLACK_S, redis=app.redis)
    except OperationError as wrong:
        return _finding(app, "wallet", Outcome.NO_ANSWER, start, reason=wrong.what)
    outcome, reason = Outcome.OK, ""
    if answer["bad_count"]:
        outcome = Outcome.BAD_COIN
        reason = f"{answer['bad_count']} keys are no coins, the first is {answer['bad'][0][:16]}"
    return _finding(
        app, "wallet", outcome, start, value=answer["coins"], unit="coins", reason=reason, evidence=answer
    )


@dataclass(frozen=True, slots=True)
class EdgeRate:
    """Additions a second between first and last edge: the estimate, and what the polls cannot exclude."""

    estimate: float
    least: float
    most: float


def edge_rate(edges: list[list[float]], workers: int = 1) -> EdgeRate | None:
    """Return the rate from [not before, not after, value] edges; None with fewer than two.

    Each edge lies between two polls, so the time between the edges is known to two poll periods. At the
    edge of one worker the others hold work that they have not added yet, up to a flush each: the sum
    over n workers is known to that, and the estimate is a regression over all edges.
    """
    if len(edges) < 2:
        return None
    (early, first_seen, first), (late, last_seen, last) = edges[0], edges[-1]
    added = last - first
    longest, shortest = last_seen - early, max(late - first_seen, 1e-6)
    estimate = 2 * added / (late + last_seen - early - first_seen)
    if workers > 1:
        middles = [(before + after) / 2 for before, after, _value in edges]
        estimate = linear_regression(middles, [value for _before, _after, value in edges]).slope
    held = (workers - 1) / workers * max(estimate, 0.0) * FLUSH_S
    return EdgeRate(estimate, (added - held) / longest, (added + held) / shortest)


def _rate(
    app: App,
    name: str,
    seconds: float,
    bounds: tuple[float, float] | None,
    evidence: dict[str, Any],
    patience: float = 0.0,
) -> Finding:
    start = time.monotonic()
    limit = seconds + patience + SLACK_S
    try:
        answer = app.agent.call(
            "coin_edges", timeout=limit, redis=app.redis, seconds=seconds, patience=patience
        )
    except OperationError as wrong:
        return _finding(app, name, Outcome.NO_ANSWER, start, reason=wrong.what)
    value = edge_rate(answer["edges"], evidence.get("workers", 1))
    outcome, reason = _judge_rate(answer, value, bounds)
    shown = None if value is None else round(value.estimate, 4)
    if value is not None:
        evidence = evidence | {"least": round(value.least, 4), "most": round(value.most, 4)}
    return _finding(
        app,
        name,
        outcome,
        start,
        value=shown,
        unit="hashes/s",
        reason=reason,
        evidence=evidence | answer,
    )


def _judge_rate(
    answer: dict[str, Any], value: EdgeRate | None, bounds: tuple[float, float] | None
) -> tuple[Outcome, str]:
    counts = [answer["first"], *(edge[2] for edge in answer["edges"])]
    for before, after in pairwise(counts):
        if after < before:
            return Outcome.FELL, f"the counter went from {before:g} to {after:g}"
    if value is None:
        return Outcome.STALLED, f"the counter stayed at {answer['last']} but for {len(answer['edges'])} edges"
    if bounds is None:
        return Outcome.OK, ""
    low, high = bounds
    rate = f"{value.estimate:.3f} hashes/s"
    if value.least > high:
        return Outcome.TOO_FAST, f"{rate} is more than the sleeps allow ({high:.2f})"
    if value.most < low:
        return Outcome.TOO_SLOW, f"{rate} is below {low:.3f}, 0.85 of what the services allow"
    return Outcome.OK, ""


def _finding(
    app: App,
    name: str,
    outcome: Outcome,
    start: float,
    *,
    value: float | int | None = None,
    unit: str = "",
    reason: str = "",
    evidence: dict[str, Any] | None = None,
) -> Finding:
    return Finding(
        f"{PROBE}-{name}",
        outcome,
        value,
        unit,
        src=str(app.agent.vantage),
        reason=reason,
        evidence=evidence or {},
        duration_ms=elapsed_ms(start),
    )
