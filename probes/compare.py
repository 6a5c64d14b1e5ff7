"""What share of the bare underlay is left on the overlay?

Method: slots in the order ABBA (A the control, B the overlay), so that a drift that is straight falls out of
each block; neighbours in time are a pair. One block is two pairs; more follow until the interval's
half-width is at most 3 % of the share, or there are enough, and then the class is `unresolved`. The
controls compared with each other (first with last of a block) say what these slots can resolve at all.
A control that fails is the harness's, and no figure is given.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from overlab.model import Finding, Verdict

from .common import elapsed_ms
from .statistics import LIMIT, SEED, Centre, Pair, Share, share

SECONDS = 5.0
BLOCKS = 1

Measure = Callable[[float], Finding]


class Outcome(StrEnum):
    """Classes of a comparison."""

    OK = "ok"
    UNRESOLVED = "unresolved"
    CONTROL_FAILED = "control-failed"
    OVERLAY_FAILED = "overlay-failed"


@dataclass(frozen=True, slots=True)
class Figure:
    """What of a slot is compared: samples in its evidence, and whether their median or mean is its figure."""

    key: str = "samples"
    centre: Centre = "median"

    def __call__(self, finding: Finding) -> Sequence[float]:
        """Return the raw samples of a slot."""
        found: Sequence[float] = finding.evidence[self.key]
        return found


LATENCY = Figure()
GOODPUT = Figure(centre="mean")
CPU = Figure("cpu_s_per_gbit")


@dataclass(frozen=True, slots=True)
class Block:
    """Four slots, in the order in which they ran: control, overlay, overlay, control."""

    first: Finding
    second: Finding
    third: Finding
    fourth: Finding

    @property
    def slots(self) -> tuple[Finding, Finding, Finding, Finding]:
        """All four."""
        return self.first, self.second, self.third, self.fourth

    def pairs(self, figure: Figure) -> list[Pair]:
        """Return (control, overlay) of neighbours in time."""
        return [
            (figure(self.first), figure(self.second)),
            (figure(self.fourth), figure(self.third)),
        ]


@dataclass(frozen=True, slots=True)
class Run:
    """The blocks of one comparison; `failed` is the slot that ended it, `by` whose it was."""

    blocks: tuple[Block, ...]
    failed: Finding | None = None
    by: str = ""
    duration_ms: float = 0.0


def abba(
    control: Measure,
    overlay: Measure,
    *,
    figure: Figure,
    seconds: float = SECONDS,
    blocks: int = BLOCKS,
    limit: float = LIMIT,
    seed: int = SEED,
) -> Run:
    """Run up to `blocks` blocks of four slots; stop when `figure` is resolved, or when a slot fails.

    `control` and `overlay` measure for so many seconds, each of them alone: the caller holds whatever
    keeps others away.
    """
    start = time.monotonic()
    done: list[Block] = []
    for _block in range(blocks):
        slots: list[Finding] = []
        for name, measure in zip("ABBA", (control, overlay, overlay, control), strict=True):
            found = measure(seconds)
            slots.append(found)
            if not found.ok:
                by = "control" if name == "A" else "overlay"
                return Run(tuple(done), found, by, elapsed_ms(start))
        done.append(Block(*slots))
        if _share(done, figure, seed).resolved(limit):
            break
    return Run(tuple(done), duration_ms=elapsed_ms(start))


def _share(blocks: Sequence[Block], figure: Figure, seed: int) -> Share:
    pairs = [pair for block in blocks for pair in block.pairs(figure)]
    return share(pairs, centre=figure.centre, seed=seed)


def judge(
    run: Run,
    probe: str,
    *,
    figure: Figure,
    limit: float = LIMIT,
    seed: int = SEED,
) -> Finding:
    """Return the Finding `<probe>-share` of a run: one run of goodput has two, of Mbit/s and of CPU.

    Its value is the median share of the control, also when it is unresolved; evidence holds the interval,
    every slot's samples in order, and A/A: the controls' share of each other.
    """
    name = f"{probe}-share"
    if run.failed is not None:
        who = "the harness, not the overlay" if run.by == "control" else "the overlay"
        outcome = Outcome.CONTROL_FAILED if run.by == "control" else Outcome.OVERLAY_FAILED
        slot = run.failed
        return Finding(
            name,
            outcome,
            None,
            "× control",
            src=slot.src,
            dst=slot.dst,
            reason=f"{who}: {slot}",
            evidence={"slot": dict(slot.evidence), "blocks_before": len(run.blocks)},
            duration_ms=run.duration_ms,
        )
    found = _share(run.blocks, figure, seed)
    controls = [(figure(block.first), figure(block.fourth)) for block in run.blocks]
    same = share(controls, centre=figure.centre, seed=seed)
    resolved = found.resolved(limit)
    second = run.blocks[0].second
    return Finding(
        name,
        Outcome.OK if resolved else Outcome.UNRESOLVED,
        round(found.value, 4),
        "× control",
        src=second.src,
        dst=second.dst,
        reason=found.doubt(limit),
        evidence=_evidence(found, same, run, figure) | {"limit": limit, "seed": seed},
        duration_ms=run.duration_ms,
    )


def _evidence(found: Share, same: Share, run: Run, figure: Figure) -> dict[str, Any]:
    return {
        "interval": [round(found.low, 4), round(found.high, 4)],
        "pairs": found.pairs,
        "a_a": {"value": round(same.value, 4), "interval": [round(same.low, 4), round(same.high, 4)]},
        "figure": f"{figure.centre} of {figure.key}",
        "slots": [[list(figure(slot)) for slot in block.slots] for block in run.blocks],
    }


def verdict(finding: Finding) -> Verdict:
    """Return the verdict that a comparison's Finding is recorded with."""
    match finding.outcome:
        case Outcome.OK:
            return Verdict.PASS
        case Outcome.UNRESOLVED:
            return Verdict.UNRESOLVED
        case Outcome.CONTROL_FAILED:
            return Verdict.INVALID
    return Verdict.FAIL
