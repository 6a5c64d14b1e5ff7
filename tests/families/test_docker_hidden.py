"""A network's id from an engine that misses its store, on a fake node: it stands for an engine's answers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import cast

import pytest

from fixtures.command import Completed
from fixtures.node import Node
from overlab.errors import NotReadyError
from scenarios.families.docker import hidden

MISSED = "Error: No such network: demo"


class FakeNode:
    """Says the next of `answers` to each question, the last one for ever; "" is a network's description."""

    def __init__(self, *answers: str) -> None:
        self._answers = list(answers)

    def run(self, argv: Sequence[str], *, check: bool = True, quiet: bool = False) -> Completed:
        assert argv[1:3] == ["network", "inspect"]
        said = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        return Completed(1, "[]", said, 0.0) if said else Completed(0, json.dumps([{"Id": "f7a3"}]), "", 0.0)

    def __str__(self) -> str:
        return "docker-node1"


def test_a_network_that_is_there_again_after_a_miss() -> None:
    """An engine whose store does not answer at once is asked again."""
    assert hidden.identity(cast("Node", FakeNode(MISSED, MISSED, "")), "demo") == "f7a3"


def test_a_network_that_does_not_come(monkeypatch: pytest.MonkeyPatch) -> None:
    """The wait ends, and says in the engine's words what was last seen."""
    monkeypatch.setenv("OVERLAB_SLOW", "0.01")
    with pytest.raises(
        NotReadyError, match="network demo on docker-node1; last seen: Error: No such network"
    ):
        hidden.identity(cast("Node", FakeNode(MISSED)), "demo")
