"""Kills at any moment: the kernel ends the lab, and the next command sweeps the rest."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from fixtures.providers.namespace import registry
from fixtures.waiting import NotYet, limit, wait_for
from tests.census import Census, census, nothing_left
from tests.provider.grounds import Ground, fresh_token, small
from tests.provider.test_labs import Client, client, said

SEED = 20241121
NORMAL = 3
SOAKED = 17
BOOT = 0.5  # seconds: a boot of two nodes and a little more

Moment = Callable[[Client], None]


def moments() -> list[object]:
    """Return the seeded delays after which a client is killed; most of them fall into its boot."""
    dice = random.Random(SEED)
    drawn = [round(dice.uniform(0, BOOT), 3) for _ in range(NORMAL + SOAKED)]
    return [
        pytest.param(
            delay, id=f"seed{SEED}-{i}-{delay * 1000:.0f}ms", marks=[pytest.mark.soak] * (i >= NORMAL)
        )
        for i, delay in enumerate(drawn)
    ]


def swept(place: Ground, token: str, before: Census, during: Census) -> None:
    """Do what the next command does, and see that nothing is left."""

    def unlisted() -> None:
        if up := [e.id for e in registry.entries(place.cache) if token in e.id]:
            raise NotYet(f"still up: {up}")

    wait_for("the lab to end", unlisted, within=limit("down"))
    nothing_left(token, place.cache, before, during)


@pytest.mark.parametrize("delay", moments())
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT], ids=["killed", "interrupted"])
def test_a_client_ends_while_it_boots(place: Ground, number: signal.Signals, delay: float) -> None:
    """Symptom: a run that was killed leaves engines, links or a lock, and the next run cannot start."""
    token = fresh_token()
    before = census(token, place.cache)
    with client(place, token) as process:
        assert said(process) == "booting"
        moment = time.monotonic() + delay
        during = before
        while time.monotonic() < moment:  # looking takes a while, and is what makes 'after' mean something
            during |= census(token, place.cache)
        process.send_signal(number)
        process.wait(limit("down"))
    swept(place, token, before, during)


@pytest.mark.parametrize("engines", [False, True], ids=["bare", "engines"])
@pytest.mark.parametrize("paused", [False, True], ids=["running", "paused"])
def test_the_holder_is_killed(place: Ground, paused: bool, engines: bool) -> None:
    """Symptom: the one process that owns a lab dies, and its nodes go on without anybody to end them."""
    topology = small("a", "b")
    before = census(topology.name, place.cache)
    lab = place.boot(topology, engines=engines)
    node = lab.node("a")
    node.service("lasting", ["sleep", "8001"])
    stream = node.popen(["sleep", "8002"])
    if engines:
        node.run(["docker", "run", "-d", "overlab/tools", "sleep", "8003"])
    if paused:
        node.pause()
    during = census(topology.name, place.cache)
    assert during.processes, "not the thing under test: nothing is up"
    assert during.namespaces
    assert during.groups
    assert during.folders == {lab.id}
    os.kill(lab.status()["pid"], signal.SIGKILL)
    swept(place, topology.name, before, during)
    assert stream.wait(limit("down")) != 0


def test_a_client_is_killed_later(place: Ground) -> None:
    """Symptom: a lab whose owner was killed in the middle of a test goes on."""
    token = fresh_token()
    before = census(token, place.cache)
    with client(place, token) as process:
        assert said(process) == "booting"
        assert said(process).startswith("up ")
        during = census(token, place.cache)
        process.kill()
        process.wait()
    swept(place, token, before, during)


def test_a_loop_device_is_swept(place: Ground) -> None:
    """Symptom: a scenario that mounts a disk image leaves its loop device, until there are none."""
    topology = small("a")
    before = census(topology.name, place.cache)
    lab = place.boot(topology)
    image = lab.folder / "disk.img"
    with image.open("wb") as file:
        file.truncate(1 << 20)
    made = subprocess.run(
        ["losetup", "-f", "--show", str(image)], capture_output=True, text=True, check=False
    )
    if made.returncode != 0:
        lab.down()
        pytest.skip(f"no loop device can be made here: {made.stderr.strip()}")
    during = census(topology.name, place.cache)
    assert during.loops == {Path(made.stdout.strip()).name}
    os.kill(lab.status()["pid"], signal.SIGKILL)
    swept(place, topology.name, before, during)
