"""Set-up where something is wrong: one line that says what, one that says the remedy, and nothing left."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from threading import Thread
from types import SimpleNamespace

import pytest

from fixtures import setup
from fixtures.providers.namespace import labs
from fixtures.store import apt
from fixtures.store.cache import MARK, Cache
from fixtures.store.progress import Progress
from fixtures.waiting import NotYet, limit, wait_for
from overlab.errors import CannotStartError
from overlab.model import Topology
from overlab.paths import CHECKOUT
from tests.provider.grounds import small
from tests.store.test_cache import LOCK, child

UNREACHABLE = """
import sys
from fixtures import setup
from fixtures.store.cache import Cache; from fixtures.store.progress import Progress
from overlab.errors import OverlabError; from tests.provider.grounds import small
try:
    setup.prepare(Cache.open(), small("a"), Progress())
except OverlabError as error:
    print(error.status, error)
"""


class Said(Progress):
    """Remembers what was said."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)


@pytest.fixture
def topology() -> Topology:
    return small("a")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cache:
    monkeypatch.setenv("OVERLAB_CACHE", str(tmp_path / "cache"))
    return Cache.open()


def pretend(cache: Cache, topology: Topology) -> setup.Prepared:
    """Make everything that `topology` needs look built; return where it lies."""
    ready = setup._prepared(cache, topology)
    for path, sentinel in zip(ready.layers, ("usr/sbin/dockerd", "usr/bin/python3"), strict=True):
        (path / sentinel).parent.mkdir(parents=True)
        (path / sentinel).write_text("")
        (path / MARK).write_text("")
    for name in ("overlay2/l", "overlay2/abc/diff", "image/overlay2"):
        (ready.store / name).mkdir(parents=True)
    (ready.store / "image/overlay2/repositories.json").write_text(json.dumps({"Repositories": {}}))
    (ready.store / MARK).write_text("")
    return ready


def refused(cache: Cache, topology: Topology) -> str:
    with pytest.raises(CannotStartError) as caught:
        setup.prepare(cache, topology, Said())
    assert caught.value.remedy
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_nothing_is_built_where_all_is_there(cache: Cache, topology: Topology) -> None:
    """Symptom: every run looks at the network, though everything was built."""
    ready = pretend(cache, topology)
    said = Said()
    assert setup.prepare(cache, topology, said) == ready
    assert said.lines == []
    assert setup.missing(cache, topology) == []


@pytest.mark.parametrize("which", ["node", "debian"])
def test_a_layer_whose_content_is_gone_is_refused(cache: Cache, topology: Topology, which: str) -> None:
    """Symptom: somebody cleaned up in the cache, and nodes fail with 'dockerd: not found'."""
    ready = pretend(cache, topology)
    layer = next(p for p in ready.layers if p.name.startswith(which))
    shutil.rmtree(layer / "usr")
    assert "the cache is damaged" in (line := refused(cache, topology))
    assert "run ./lab clean" in line
    assert layer.name in line


@pytest.mark.parametrize("damage", ["gone", "torn", "no layer"])
def test_a_damaged_store_is_refused(cache: Cache, topology: Topology, damage: str) -> None:
    """Symptom: engines come up without images, and tests blame the registry."""
    ready = pretend(cache, topology)
    index = ready.store / "image/overlay2/repositories.json"
    if damage == "gone":
        index.unlink()
    elif damage == "torn":
        index.write_text('{"Repositories": {"overl')
    else:
        (ready.store / "overlay2/abc/diff").rmdir()
    line = refused(cache, topology)
    assert "the cache is damaged" in line
    assert "run ./lab clean" in line


def test_a_second_set_up_waits_and_says_for_whom(cache: Cache, topology: Topology) -> None:
    """Symptom: two terminals set up at once, and one breaks the other's layers, or hangs silently."""
    said = Said()
    results: list[setup.Prepared] = []
    with child(LOCK, str(cache.root / "setup.lock")) as first:
        thread = Thread(target=lambda: results.append(setup.prepare(cache, topology, said)))
        thread.start()

        def waits() -> None:
            if not said.lines:
                raise NotYet("no word")

        wait_for("a word", waits, within=limit("command"))
        assert said.lines == [f"waiting for set-up {first.pid} to end"]
        ready = pretend(cache, topology)
        first.kill()
        thread.join(limit("command"))
    assert results == [ready], "what the first had built is not built again"
    assert len(said.lines) == 1


def test_no_room_on_the_disk(cache: Cache, topology: Topology, monkeypatch: pytest.MonkeyPatch) -> None:
    """Symptom: set-up fills the disk, and dies of 'No space left' after a minute."""
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=setup.DISK_NEEDED - 1))
    assert "has 3.0 GiB free and set-up needs 3" in (line := refused(cache, topology))
    assert "OVERLAB_CACHE=" in line
    assert list(cache.rootfs.iterdir()) == []


def test_no_debian_source(cache: Cache, topology: Topology, monkeypatch: pytest.MonkeyPatch) -> None:
    """Symptom: on a machine that is no Debian, set-up says 'KeyError: main'."""
    monkeypatch.delenv("OVERLAB_MIRROR", raising=False)
    monkeypatch.setattr(apt, "_targets", list)
    assert "this machine's apt has no Debian source" in (line := refused(cache, topology))
    assert "OVERLAB_MIRROR=" in line
    assert list(cache.rootfs.iterdir()) == []


def test_a_mirror_can_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Symptom: the named mirror is used for the first layer only."""
    monkeypatch.setenv("OVERLAB_MIRROR", "http://mirror.test/debian")
    for suite in ("bookworm", "trixie"):
        assert apt.machine_sources(suite).lines == (f"deb http://mirror.test/debian {suite} main",)


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("mmdebstrap"), reason="needs root and mmdebstrap")
def test_an_unreachable_registry(cache: Cache) -> None:
    """Symptom: without a network, set-up prints pages, or leaves a folder that looks built."""
    before = set(cache.root.rglob("*"))
    environment = os.environ | {"OVERLAB_MIRROR": "http://127.0.0.1:9/debian"}
    done = subprocess.run(
        ["unshare", "--net", sys.executable, "-c", UNREACHABLE],
        cwd=CHECKOUT, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    (line,) = done.stdout.splitlines()
    assert line.startswith("3 the Debian root filesystem could not be built: ")
    assert "127.0.0.1:9" in line
    assert "look at the network" in line
    left = {p for p in set(cache.root.rglob("*")) - before if p.name != "setup.lock"}
    assert left == set()


def test_more_nodes_than_memory_holds(
    cache: Cache, topology: Topology, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Symptom: fifty nodes are asked for on a laptop, and the kernel kills the desktop."""
    monkeypatch.setattr(labs, "available_memory", lambda: 3 * labs.MEMORY_PER_NODE + 1)
    many = small("a", "b", "c", "d")
    plan = labs.plan_of(many, [Path("/layer")], None)
    with pytest.raises(CannotStartError, match=r"4 nodes need about \d+ MiB.*ask for 3 nodes at most"):
        labs.boot(cache, many, plan)
    assert list(cache.labs.iterdir()) == []
