"""The dropped-in scenario: the contract, and that its package, image and option are there."""

from __future__ import annotations

from fixtures.lab import Lab
from fixtures.overlay import Overlay
from scenarios.contract import Contract


class TestContract(Contract):
    """What every overlay must show."""


def test_needs_are_met(lab: Lab, overlay: Overlay) -> None:
    """The folder's package is on the nodes, its image in their engines, its option in the routes."""
    node = lab.node("alpha")
    assert node.run(["which", "ncat"]).out
    assert node.run(["docker", "run", "--rm", "overlab/greeter"]).out == "good day\n"
    assert "metric 77" in node.run(["ip", "route", "show", "10.61.2.0/24"]).out
