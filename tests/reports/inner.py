"""An inner project whose sessions the recorder takes part in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

HEAD = """
import os
import pytest
from overlab.errors import NotReadyError
from overlab.model import Finding, Phase, Verdict
from reports.context import RowContext
from reports.schema import OverlayInfo

def mtu(value=1420, outcome="ok", **more):
    return Finding("mtu", outcome, value, "bytes", 1420, "barge1/serf0", "barge2/serf0", **more)

@pytest.fixture(scope="module")
def row_context():
    return RowContext(scenario="blue", engine="20.10", provider="namespace", variant={"mode": "a"})
"""
PAPER = """
[[value]]
id = "mtu"
what = "MTU"
value = 1420
unit = "bytes"
source = "paper.txt:1"
kind = "exact"
"""


class Inner:
    """An inner project with scenarios, run by a real pytest in a process of its own."""

    def __init__(self, pytester: pytest.Pytester) -> None:
        self.pytester = pytester
        self.path = pytester.path

    def scenario(self, name: str, body: str, head: str = HEAD) -> None:
        folder = self.path / "scenarios" / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"test_{name}.py").write_text(head + body)
        (folder / "paper.toml").write_text(PAPER)

    def run(self, *words: str) -> pytest.RunResult:
        options = ("--import-mode=importlib", "-p", "reports.recorder", "-p", "no:cacheprovider")
        return self.pytester.runpytest_subprocess(*options, *words)

    @property
    def folder(self) -> Path:
        (folder,) = (self.path / "reports" / "runs").iterdir()
        return folder

    def lines(self) -> list[dict[str, Any]]:
        text = (self.folder / "results.jsonl").read_text()
        return [json.loads(line) for line in text.splitlines()]
