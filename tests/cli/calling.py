"""Calling the command line as people do: in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence

from overlab.paths import CHECKOUT

COMMAND = [sys.executable, "-P", "-m", "overlab"]
Done = subprocess.CompletedProcess[str]


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment of a call: ours, with the checkout importable from anywhere."""
    return os.environ | {"PYTHONPATH": str(CHECKOUT)} | dict(extra or {})


def call(
    *words: str,
    env: Mapping[str, str] | None = None,
    given: str | None = None,
    before: Sequence[str] = (),
    program: Sequence[str] = COMMAND,
) -> Done:
    """Run one verb to its end, behind the words `before` (unshare, setpriv)."""
    return subprocess.run(
        [*before, *program, *words],
        env=environment(env),
        input=given if given is not None else "",
        capture_output=True,
        text=True,
        check=False,
        cwd=CHECKOUT,
    )


def start(*words: str, env: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
    """Start one verb that goes on."""
    pipe = subprocess.PIPE
    return subprocess.Popen(
        [*COMMAND, *words],
        env=environment(env),
        stdin=pipe,
        stdout=pipe,
        stderr=pipe,
        text=True,
        cwd=CHECKOUT,
    )


def assert_one_line(done: Done, status: int, *told: str) -> None:
    """Assert that a call was refused: its status, one line on standard error, nothing like a traceback."""
    assert done.returncode == status, done.stdout + done.stderr
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("lab: ")
    assert "Traceback" not in done.stdout + done.stderr
    for words in told:
        assert words in lines[0]
