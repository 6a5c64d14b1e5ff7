"""Set-up, killed: nothing goes on behind the back, nothing half-built is used, and the next one goes on."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fixtures import setup
from fixtures.providers.namespace import registry
from fixtures.providers.namespace.labs import boot, plan_of
from fixtures.store.cache import Cache, remove
from fixtures.store.progress import Progress
from fixtures.store.rootfs import debian_layer, node_layer
from fixtures.waiting import limit
from tests.census import census, nothing_left
from tests.provider.grounds import small

SEED = int(os.environ.get("OVERLAB_SEED", "0")) or random.randrange(1, 10**6)
CHILD = """
import sys
from pathlib import Path
from fixtures import setup
from fixtures.store.cache import Cache
from fixtures.store.progress import Progress
from tests.provider.grounds import small
print("building", flush=True)
setup.prepare(Cache(Path(sys.argv[1])), small("n1", token=sys.argv[2]), Progress())
"""
QUIET = """
import subprocess, sys
from fixtures.store.rootfs import OWN
subprocess.run([*OWN, "sh", "-c", "echo building; sleep 300; :", sys.argv[1]])
"""


@pytest.fixture
def cache() -> Iterator[Cache]:
    """A cache that has the layers of nodes, which take longest, and nothing else."""
    real = Cache.open()
    setup.prepare(real, small("n1", token="setup"), Progress())
    own = Cache(Path(tempfile.mkdtemp(prefix="tests-kill-", dir=real.root)))
    for folder in (own.rootfs, own.images, own.labs):
        folder.mkdir()
    for layer in (debian_layer("bookworm"), node_layer("20.10")):
        (own.rootfs / layer.name).symlink_to(real.rootfs / layer.name)
    yield own
    for layer_link in own.rootfs.iterdir():
        if layer_link.is_symlink():
            layer_link.unlink()  # never through the link, into the real cache
    remove(own.root)


def test_set_up_is_killed(cache: Cache) -> None:
    """Symptom: after a killed set-up apt or an engine goes on, or the next one uses what was half-built."""
    dice = random.Random(SEED)
    print(f"seed {SEED}: OVERLAB_SEED={SEED} repeats it")
    token = cache.root.name
    before = census(token, cache)
    for moment in sorted(dice.uniform(0.1, 12.0) for _ in range(3)):
        command = [sys.executable, "-c", CHILD, str(cache.root), token]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as child:
            assert child.stdout
            assert child.stdout.readline() == b"building\n"
            until, during = time.monotonic() + moment, before
            while time.monotonic() < until and child.poll() is None:
                during |= census(token, cache)
            child.send_signal(signal.SIGKILL)
            child.wait(limit("down"))
        registry.entries(cache)
        nothing_left(token, cache, before, during)
    topology = small("n1", token=token)
    ready = setup.prepare(cache, topology, Progress())
    assert not [p for p in cache.root.rglob("*.part") if p.is_dir()]
    lab = boot(cache, topology, plan_of(topology, ready.layers, ready.store))
    try:
        assert (
            lab.node("n1").run(["docker", "run", "--rm", "overlab/tools", "echo", "whole"]).out == "whole\n"
        )
    finally:
        lab.down()


def test_a_quiet_step_is_killed(cache: Cache) -> None:
    """Symptom: a step that writes nothing, and so never meets its broken pipe, works on for minutes."""
    token = cache.root.name
    before = census(token, cache)
    command = [sys.executable, "-c", QUIET, token]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
        assert child.stdout
        assert child.stdout.readline() == b"building\n"
        during = census(token, cache)
        assert any("(sh)" in process for process in during.processes), f"not the thing under test: {during}"
        child.send_signal(signal.SIGKILL)
        child.wait(limit("down"))
    nothing_left(token, cache, before, during)
