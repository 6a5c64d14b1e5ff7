"""How an engine that missed its store is asked again, on a fake node: it stands for an engine's answers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, cast

import pytest

from fixtures.command import Completed, NodeError
from fixtures.node import Node
from overlab.errors import NotReadyError
from scenarios.families.docker import engine
from scenarios.families.docker.engine import make_network, remove_container, remove_network, run_container

REFUSED = (
    "docker: Error response from daemon: failed to update store for object type *libnetwork.endpointCnt: "
    'Put "http://127.0.0.1:8500/v1/kv/docker": dial tcp 127.0.0.1:8500: connect: connection refused.'
)
UNANSWERED = (
    "attaching to network failed, make sure your network options are correct and check manager logs: "
    "context deadline exceeded."
)
UNTOLD = "failed to get network from store during join: network ffda6f not found."
TAKEN = "endpoint with name web already exists in network demo."
BUSY = "error while removing network: network demo id ea9d has active endpoints"
ENDPOINTS = json.dumps([{"Containers": {"ep-a7853": {"Name": "web"}, "ca9f6": {"Name": "test1"}}}])

RUN = "docker run -d --name web --network=demo overlab/tools"
REMOVE = "docker rm -f web"
FORGET = "docker network disconnect --force demo web"
MAKE = "docker network create --driver=overlay --attachable demo"
UNMAKE = "docker network rm demo"
INSPECT = "docker network inspect demo"


class FakeNode:
    """Says the next of `answers` to every command of the kind that is tested; "" is success."""

    def __init__(self, kind: str, answers: Sequence[str], out: str = '[{"Containers": {}}]') -> None:
        self._kind = kind
        self._answers = list(answers)
        self._out = out
        self.asked: list[str] = []

    def run(self, argv: Sequence[str], *, check: bool = True, quiet: bool = False) -> Completed:
        command = " ".join(argv)
        self.asked.append(command)
        said = self._answers.pop(0) if command == self._kind else ""
        if said and check:
            raise NodeError(said, "")
        return Completed(125 if said else 0, self._out if command == INSPECT else "", said, 0.0)


def start(*answers: str) -> list[str]:
    node: Any = FakeNode(RUN, answers)
    run_container(cast("Node", node), "web", "--network=demo", "overlab/tools")
    return cast("FakeNode", node).asked


def make(*answers: str) -> list[str]:
    node: Any = FakeNode(MAKE, answers)
    make_network(cast("Node", node), "demo", "--attachable")
    return cast("FakeNode", node).asked


def test_a_container_starts_once() -> None:
    assert start("") == [RUN]


@pytest.mark.parametrize("missed", [REFUSED, UNTOLD, UNANSWERED])
def test_an_engine_that_missed_its_store_is_asked_again(missed: str) -> None:
    """Symptom: one start in some dozens is refused by a store that listens, or has no such network."""
    assert start(missed, "") == [RUN, REMOVE, FORGET, RUN]


def test_what_a_miss_left_is_cleared() -> None:
    """Symptom: the second try is refused for ever: the first one's endpoint stayed in the store."""
    assert start(UNTOLD, TAKEN, "") == [RUN, REMOVE, FORGET] * 2 + [RUN]


def test_what_somebody_else_has_is_not_cleared() -> None:
    """Symptom: a name that is in use on another node is taken from there."""
    with pytest.raises(NodeError, match="already exists"):
        start(TAKEN)
    with pytest.raises(NodeError, match="already exists"):
        make("network with name demo already exists")


def test_a_network_is_asked_for_again() -> None:
    assert make(REFUSED, "network with name demo already exists", "") == [MAKE, UNMAKE] * 2 + [MAKE]


def test_what_stays_wrong_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NodeError, match="no such image"):
        start("no such image")
    monkeypatch.setattr(engine, "limit", lambda _what: 0.3)
    with pytest.raises(NotReadyError, match="connection refused"):
        start(*[REFUSED] * 99)


def test_an_endpoint_without_a_container_goes_with_its_network() -> None:
    """Symptom: a network cannot be removed for ever, as a removed container's endpoint is on it."""
    node: Any = FakeNode(UNMAKE, [BUSY, ""], out=ENDPOINTS)
    remove_network(cast("Node", node), "demo")
    assert node.asked == [UNMAKE, INSPECT, FORGET, UNMAKE]


def test_a_network_that_went_half_way_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Symptom: the wait for a removal ends in vain, on a network that is not there."""
    half = "from store: dial tcp 192.168.205.10:2379: connect: network is unreachable"
    node: Any = FakeNode(UNMAKE, [half, "Error: No such network: demo"])
    remove_network(cast("Node", node), "demo")
    assert node.asked == [UNMAKE, INSPECT, UNMAKE]
    monkeypatch.setattr(engine, "limit", lambda _what: 0.3)
    node = FakeNode(UNMAKE, ["Error: No such network: demo"] * 99)
    with pytest.raises(NotReadyError, match="No such network"):
        remove_network(cast("Node", node), "demo")


def test_an_endpoint_goes_with_its_container() -> None:
    node: Any = FakeNode("", [], out=ENDPOINTS)
    remove_container(cast("Node", node), "web", "demo")
    assert node.asked == [REMOVE, INSPECT, FORGET]
