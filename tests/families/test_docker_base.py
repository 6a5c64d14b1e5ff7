"""What overlays of Docker's own driver share, on a fake node: it stands for an engine's answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import pytest

from fixtures.command import Completed, NodeError
from fixtures.node import Node
from overlab.errors import NotReadyError
from scenarios.families.docker import base
from scenarios.families.docker.base import run_container

MISDIALLED = (
    "docker: Error response from daemon: failed to update store for object type *libnetwork.endpointCnt: "
    'Put "http://127.0.0.1:8500/v1/kv/docker": dial tcp 127.0.0.1:8500: connect: connection refused.'
)


class FakeNode:
    """Answers each `docker run` with the next of `answers`: what the engine says, "" for success."""

    def __init__(self, *answers: str) -> None:
        self._answers = list(answers)
        self.asked: list[str] = []

    def run(self, argv: Sequence[str], *, check: bool = True) -> Completed:
        self.asked.append(" ".join(argv))
        said = self._answers.pop(0) if argv[:2] == ["docker", "run"] else ""
        if said and check:
            raise NodeError(said, "")
        return Completed(125 if said else 0, "", said, 0.0)


def start(*answers: str) -> list[str]:
    node: Any = FakeNode(*answers)
    run_container(cast("Node", node), "web", "--network=demo", "overlab/tools")
    return cast("FakeNode", node).asked


RUN = "docker run -d --name web --network=demo overlab/tools"


def test_a_container_starts_once() -> None:
    assert start("") == [RUN]


def test_an_engine_that_dialled_from_a_containers_namespace_is_asked_again() -> None:
    """Symptom: one start in some hundreds is refused by a store that listens."""
    assert start(MISDIALLED, "") == [RUN, "docker rm -f web", RUN]


def test_an_engine_that_was_not_told_of_the_network_yet_is_asked_again() -> None:
    """Symptom: a network that one node made is asked for on another at once, and is not found."""
    untold = "failed to get network from store during join: network ffda6f not found."
    assert start(untold, "") == [RUN, "docker rm -f web", RUN]


def test_what_stays_wrong_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NodeError, match="no such image"):
        start("no such image")
    monkeypatch.setattr(base, "limit", lambda _what: 0.3)
    with pytest.raises(NotReadyError, match="connection refused"):
        start(*[MISDIALLED] * 99)
