"""For how long did nothing come through, while something was done to the network?

Method: small requests on a fixed schedule for as long as an action takes, in slices, so that its end need
not be known beforehand; the outage is the longest time between two requests that were answered, less one
interval. What was cut off still at the end has no length: it is not restored.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from enum import StrEnum
from typing import Any

from overlab.model import Finding

from .client import Peer
from .common import elapsed_ms

PROBE = "outage"
RATE = 50.0
SLICE_S = 0.4
LAST_ANSWERS_S = 0.1  # a slice that was lost costs no more than this beside its own time
SLACK_S = 15.0


class Outcome(StrEnum):
    """Classes of this probe."""

    OK = "ok"
    NOT_RESTORED = "not-restored"
    NEVER_THERE = "never-there"


def during(src: Peer, dst: Peer, action: Callable[[], object], *, rate: float = RATE) -> Finding:
    """Call `action` while requests go from `src` to `dst`; return the longest outage in seconds.

    It starts when a first slice was answered, and sending ends one slice after it does. evidence["lost"] and
    ["sent"] are of all slices. What `action` raises is raised.
    """
    start = time.monotonic()
    watch = _Watch(src, dst, rate)
    if not watch.slice():
        return _finding(watch, Outcome.NEVER_THERE, "no request was answered beforehand", start)
    thread = threading.Thread(target=watch.until_told, name="outage")
    thread.start()
    try:
        action()
    finally:
        watch.told.set()
        thread.join()
    if not watch.slice():
        return _finding(watch, Outcome.NOT_RESTORED, "no request was answered afterwards", start)
    return _finding(watch, Outcome.OK, "", start)


class _Watch:
    """Sends slices of requests, and knows the moments of those that were answered."""

    def __init__(self, src: Peer, dst: Peer, rate: float) -> None:
        self.src, self.dst, self.rate = src, dst, rate
        self.told = threading.Event()
        self.answered: list[float] = []
        self.sent = 0

    def slice(self) -> bool:
        """Send one slice; True when some of it was answered."""
        args: dict[str, Any] = {"seconds": SLICE_S, "rate": self.rate, "wait": LAST_ANSWERS_S}
        began = time.monotonic()
        answer = self.src.agent.call(
            "latency",
            timeout=SLICE_S + SLACK_S,
            dst=self.dst.address,
            port=self.dst.agent.udp_port,
            **args,
        )
        came = [i for i, sample in enumerate(answer["samples_us"]) if sample is not None]
        self.answered += [began + i / self.rate for i in came]
        self.sent += int(answer["sent"])
        return bool(came)

    def until_told(self) -> None:
        """Send slices until `told` is set."""
        while not self.told.is_set():
            self.slice()

    def longest(self) -> float:
        """Return the longest pause beyond what the schedule itself leaves between two requests."""
        pauses = [b - a for a, b in zip(self.answered, self.answered[1:], strict=False)]
        usual = 1 / self.rate + LAST_ANSWERS_S
        longest = max(pauses, default=0.0)
        return round(longest - 1 / self.rate, 3) if longest > usual else 0.0


def _finding(watch: _Watch, outcome: Outcome, reason: str, start: float) -> Finding:
    return Finding(
        PROBE,
        outcome,
        watch.longest() if outcome is Outcome.OK else None,
        "s",
        src=str(watch.src),
        dst=str(watch.dst),
        reason=reason,
        evidence={"sent": watch.sent, "lost": watch.sent - len(watch.answered), "rate": watch.rate},
        duration_ms=elapsed_ms(start),
    )
