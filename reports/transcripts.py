"""The commands that were run on the nodes, read back from a run's evidence folder."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Command:
    """One command on one node; `words` as a shell would read them, `ms` how long it took."""

    node: str
    words: str
    status: int | None
    out: str
    err: str
    ms: float
    time: str


@dataclass(frozen=True, slots=True)
class Transcript:
    """The commands of one file, in order; `name` is what stands after `transcript-`."""

    name: str
    commands: tuple[Command, ...]


def transcripts(evidence: Path) -> list[Transcript]:
    """Return the transcripts of a run, by name; lines that are none (a killed writer's) are left out."""
    found = []
    for path in sorted(evidence.glob("transcript-*.jsonl")):
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        commands = tuple(command for line in lines if (command := _command(line)) is not None)
        found.append(Transcript(path.stem.removeprefix("transcript-"), commands))
    return found


def _command(line: str) -> Command | None:
    try:
        entry: Mapping[str, Any] = json.loads(line)
        return Command(
            node=str(entry["node"]),
            words=" ".join(_word(str(word)) for word in entry["argv"]),
            status=entry.get("status"),
            out=str(entry.get("out") or "").rstrip("\n"),
            err=str(entry.get("err") or "").rstrip("\n"),
            ms=float(entry.get("duration_ms") or 0),
            time=str(entry.get("time", "")),
        )
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def _word(word: str) -> str:
    # "$WG_KEY_BARGE1" is how a secret is written: quoted, a reader could not fill it in.
    return word if word.startswith("$") and word[1:].replace("_", "").isalnum() else shlex.quote(word)
