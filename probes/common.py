"""Small things that the probe modules share."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import permutations
from typing import Any, TypeVar

from .client import Peer

T = TypeVar("T")
R = TypeVar("R")
THREADS = 32


def at_once(do: Callable[[T], R], items: Sequence[T]) -> list[R]:
    """Do one thing for all items at once (calls to agents wait, they do not compute); results in order."""
    if not items:
        return []
    with ThreadPoolExecutor(min(THREADS, len(items))) as pool:
        return list(pool.map(do, items))


def ordered_pairs(peers: Iterable[Peer]) -> list[tuple[Peer, Peer]]:
    """Return every (source, destination), both ways."""
    return list(permutations(peers, 2))


def elapsed_ms(start: float) -> float:
    """Return the milliseconds since `start` (time.monotonic())."""
    return round((time.monotonic() - start) * 1000, 3)


def refusal_text(error: dict[str, Any]) -> str:
    """Return a refusal of the agent in words: its name, and the hop that sent it."""
    hop = error.get("hop", "")
    return f"{error['name']} from {hop}" if hop else f"{error['name']} here"
