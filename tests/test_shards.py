"""Parts of a run, for machines that share the work."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from fixtures.shard import parse_shard
from overlab.errors import UsageError
from overlab.paths import CHECKOUT, scenarios

COLLECT = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", "scenarios"]


def collected(*words: str) -> list[str]:
    done = subprocess.run([*COLLECT, *words], cwd=CHECKOUT, capture_output=True, text=True, check=False)
    return [line for line in done.stdout.splitlines() if "::" in line]


def test_shards_are_everything_once_and_keep_labs_whole() -> None:
    """Symptom: a scenario is booted on two machines, half of its questions on each; or one is never asked."""
    whole = collected()
    parts = [collected(f"--shard={i}/3") for i in (1, 2, 3)]
    assert all(parts), "not the thing under test: a part is empty"
    assert sorted(test for part in parts for test in part) == sorted(whole)
    for name in scenarios():
        owners = [
            i for i, part in enumerate(parts) if any(test.startswith(f"scenarios/{name}/") for test in part)
        ]
        assert len(owners) == 1, f"{name} is in parts {owners}"


def test_workers_keep_labs_whole() -> None:
    """Symptom: each of two workers boots the same scenario, for half of its questions.

    A lab is a file's. (pytest 9.2 has no node ids that xdist 3.8 could put its groups into.)
    """
    words = [sys.executable, "-m", "pytest", "-n", "2", "-v", "-p", "no:cacheprovider", "scenarios/neorouter"]
    done = subprocess.run(words, cwd=CHECKOUT, capture_output=True, text=True, check=False)
    on: dict[str, set[str]] = {}
    for worker, file in re.findall(r"^\[(gw\d)\].* (scenarios/\S+)::", done.stdout, re.MULTILINE):
        on.setdefault(file, set()).add(worker)
    assert len(on) > 1, done.stdout
    assert all(len(workers) == 1 for workers in on.values()), on
    assert len(set.union(*on.values())) == 2, "not the thing under test: there was one worker"


@pytest.mark.parametrize("text", ["0/3", "4/3", "1", "a/b", "1/0", "/"])
def test_what_is_no_shard(text: str) -> None:
    with pytest.raises(UsageError, match="is not I/N"):
        parse_shard(text)


def test_no_shard_is_everything() -> None:
    assert parse_shard(None).others([]) == []
