"""Saying that a name is unknown, with the nearest one there is."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def unknown(kind: str, name: str, known: Iterable[str]) -> tuple[str, str]:
    """Return what is wrong and the remedy, for `name` not being one of `known`."""
    there = sorted(known)
    near = get_close_matches(name, there, 1, 0.5)
    remedy = f"did you mean {near[0]!r}? " if near else ""
    return f"no {kind} {name!r}", f"{remedy}there are: {', '.join(there) or 'none'}"
