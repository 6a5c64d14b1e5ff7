"""A process that owns a lab on the first machine."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from fixtures.store.cache import Cache
from fixtures.waiting import NotYet, limit, wait_for
from overlab.paths import CHECKOUT
from tests.inventory.machines import Machines

# Run in the machines' network: boots a lab of one node on the first machine, and says its id.
BOOT = """
import sys
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from fixtures.providers.base import Settings
from fixtures.providers.catalogue import provider
from overlab.model import NodeSpec, Topology
kind = provider("inventory", Settings(Path(sys.argv[1])))
specs = (NodeSpec("one", IPv4Address("10.99.0.1")),)
lab = kind.boot(Topology("alone", specs, IPv4Network("10.99.0.0/24")), {})
print(lab.id, flush=True)
sys.stdin.readline()
lab.down()
print("down", flush=True)
"""


class Owner:
    """A process that owns a lab on the first machine."""

    def __init__(self, three: Machines) -> None:
        argv = three.inside([sys.executable, "-P", "-c", BOOT, str(three.inventory())])
        self.process = subprocess.Popen(
            argv, cwd=CHECKOUT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True, env=os.environ | {"PYTHONPATH": str(CHECKOUT)},
        )  # fmt: skip
        assert self.process.stdout
        self.lab = self.process.stdout.readline().strip()
        if not self.lab:
            assert self.process.stderr
            pytest.fail(self.process.stderr.read())

    @property
    def folder(self) -> str:
        return str(Cache.open().labs / self.lab)

    def end(self) -> None:
        """Let it take its lab down in order."""
        out, err = self.process.communicate("\n", timeout=300)
        assert out.strip() == "down", err


def gone(lab: str) -> None:
    def look() -> None:
        if (Cache.open().labs / lab).exists():
            raise NotYet("its folder is there")

    wait_for(f"{lab} to be put back", look, within=limit("command") * 3)
