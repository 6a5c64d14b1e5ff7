"""Whole scenarios on machines that overlab did not make, and the machines afterwards."""

from __future__ import annotations

import re

import pytest

from tests.inventory.machines import Machines, differences

LIMIT_S = 900.0


@pytest.mark.parametrize("scenario", ["wireguard", "tailscale"], ids=["on-nodes", "by-containers"])
def test_scenario(scenario: str, three: Machines) -> None:
    """Symptom: the scenario is red on a real machine, or leaves a link, a rule, a file, a setting there."""
    before = three.snapshots()
    words = [f"scenarios/{scenario}", "--provider=inventory", f"--inventory={three.inventory()}", "-q"]
    done = three.run("-m", "pytest", "-p", "no:cacheprovider", *words, timeout=LIMIT_S)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    last = done.stdout.splitlines()[-1]
    passed = re.search(r"(\d+) passed", last)
    assert passed, last
    assert int(passed[1]) > 20, f"not the thing under test: {last}"
    after = three.snapshots()
    assert {name: differences(before[name], after[name]) for name in before} == {name: [] for name in before}
