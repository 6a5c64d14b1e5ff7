"""Which agents are kept, and which are forgotten; fake agents and no lab: nothing is entered."""

from __future__ import annotations

from typing import cast

from fixtures.lab import Lab
from fixtures.vantages import Vantages
from overlab.model import Vantage, VantageKind
from probes.client import Agent


class FakeAgent:
    """Stands for a process on a node; knows whether it was ended."""

    def __init__(self, vantage: Vantage) -> None:
        self.vantage = vantage
        self.closed = False

    def close(self) -> None:
        self.closed = True


class Kept(Vantages):
    """Vantages whose agents are fakes."""

    def _start(self, vantage: Vantage) -> Agent:
        return cast("Agent", FakeAgent(vantage))


def agents(kept: Vantages) -> dict[str, FakeAgent]:
    """Return the agents of two nodes and of a container on each, started where they are not."""
    places = [Vantage(VantageKind.NODE, name) for name in ("here", "there")]
    places += [Vantage(VantageKind.ENDPOINT, name, "web") for name in ("here", "there")]
    return {f"{v.node}/{v.container}": cast("FakeAgent", kept.at(v)) for v in places}


def test_a_reboot_forgets_its_own_node() -> None:
    """Symptom: every other node's agents are started again, or one that went with its node is asked."""
    kept = Kept(cast("Lab", None))
    before = agents(kept)
    kept.forget("there")
    after = agents(kept)
    assert {name for name, agent in before.items() if agent.closed} == {"there/", "there/web"}
    assert {name for name in before if before[name] is not after[name]} == {"there/", "there/web"}


def test_all_are_forgotten() -> None:
    kept = Kept(cast("Lab", None))
    before = agents(kept)
    kept.forget()
    assert all(agent.closed for agent in before.values())
    assert all(agent is not before[name] for name, agent in agents(kept).items())
