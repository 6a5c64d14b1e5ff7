"""A VM that does not boot: one line, and nothing of it left."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest

from fixtures.providers.base import Settings
from fixtures.providers.vagrant.provider import VagrantProvider
from fixtures.store.cache import Cache
from fixtures.waiting import LIMITS
from overlab.errors import CannotStartError
from overlab.model import NodeSpec
from scenarios.wireguard.overlay import OVERLAY

pytestmark = pytest.mark.vm

TOO_SHORT = 2.0  # seconds, stretched by four: Vagrant alone takes longer than that


def running(word: str) -> list[str]:
    """Return the command lines of processes with `word` in them."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with suppress(OSError):  # it ended meanwhile
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                found += [line] if word in line else []
    return found


def test_a_machine_that_does_not_boot(emulated: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Symptom: a page of Ruby, and a machine that goes on computing."""
    kind = VagrantProvider(Settings())
    specs = (NodeSpec("late", IPv4Address("10.20.1.1")),)
    topology = replace(OVERLAY.topology, name="late", nodes=specs, network=IPv4Network("10.20.1.0/24"))
    monkeypatch.setitem(LIMITS, "vm", TOO_SHORT)
    with pytest.raises(CannotStartError, match="vagrant up failed: a machine did not boot in time") as raised:
        kind.boot(topology, {})
    assert "\n" not in str(raised.value)
    assert "failed-vagrant.log" in raised.value.remedy
    assert list((Cache.open().root / "labs").glob("late-*")) == []
    assert running("guest=late-") == []
