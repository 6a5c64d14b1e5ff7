"""The namespace provider inside a VM: another kernel, cgroup v2, and systemd, which owns the machine.

The VM gets a second disk with this checkout, the cache's layers and images, and the environment's packages:
there is no network to fetch anything from, and an emulated one carries it too slowly.
"""

from __future__ import annotations

import os
import re
import shutil
import sysconfig
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest

from fixtures import setup
from fixtures.providers.base import Settings
from fixtures.providers.ssh.machine import Machine
from fixtures.providers.vagrant.node import VagrantNode
from fixtures.providers.vagrant.provider import VagrantProvider
from fixtures.store.cache import Cache
from fixtures.store.images import store_for
from fixtures.store.progress import Progress
from fixtures.store.rootfs import node_layer
from fixtures.waiting import limit
from overlab.model import NodeSpec
from overlab.paths import CHECKOUT
from scenarios.wireguard.overlay import OVERLAY
from tests.vagrant.disk import make_disk

pytestmark = pytest.mark.vm

MEMORY = 3072  # MiB: three nodes with their engines, and the harness
DISK = "6G"
PLACE = "/srv"
HOME, PACKAGES = f"{PLACE}/overlab", f"{PLACE}/packages"
# A disk that is put in while the machine runs shows itself a moment later. What image stores inherit, they
# know by its path: so the cache is where it was made ($2).
MOUNT = """
while ! [ -b /dev/vdb ]; do sleep 0.2; done
mount /dev/vdb "$1" && mkdir -p "$2" && mount --bind "$1/cache" "$2"
"""
NOT_SHIPPED = (".git", ".venv", "runs", ".mypy_cache", ".ruff_cache", ".pytest_cache")
LIMIT_S = 1500.0
# What a lab could leave behind, by the VM's own means. $1 is the cache. Brackets keep the shell that looks
# from being found, by the pattern in its own command line.
LEFT = """
ip -o link | sed 's/^[0-9]*: //; s/ .*//' | sort
find /sys/fs/cgroup -name 'overlab*'
grep -c . /proc/self/mountinfo
ls -A "$1/labs"
pgrep -fa '[n]amespace.holder|[d]ockerd --log' || true
"""


@pytest.fixture(scope="module")
def machine(emulated: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A VM with the harness on it, and nothing of it running."""
    kind = VagrantProvider(Settings(memory=MEMORY, cpus=2))
    kind.check()
    specs = (NodeSpec("outer", IPv4Address("10.20.0.1")),)
    topology = replace(OVERLAY.topology, name="inside", nodes=specs, network=IPv4Network("10.20.0.0/24"))
    lab = kind.boot(topology, {})
    try:
        node = lab.node("outer")
        assert isinstance(node, VagrantNode)
        node.attach(_disk(lab.folder, tmp_path_factory.mktemp("checkout")))
        node.machine.root(["sh", "-c", MOUNT, "mount", PLACE, str(Cache.open().root)], timeout=limit("vm"))
        yield node.machine
    finally:
        lab.down()


def _disk(folder: Path, scratch: Path) -> Path:
    """Write all that the harness needs to a disk in `folder`."""
    cache, topology = Cache.open(), OVERLAY.topology
    ready = setup.prepare(cache, topology, Progress())
    store = store_for(topology.images, node_layer(topology.engine).name)
    stores = [cache.images / each.name for each in (store, store.below) if each]
    checkout = scratch / "overlab"
    shutil.copytree(CHECKOUT, checkout, ignore=shutil.ignore_patterns(*NOT_SHIPPED))
    trees = {f"cache/{path.relative_to(cache.root)}": path for path in (*ready.layers, *stores)}
    trees |= {"overlab": checkout, "packages": Path(sysconfig.get_paths()["purelib"])}
    make_disk(folder / "inside.raw", DISK, trees)
    return folder / "inside.raw"


def _left(machine: Machine) -> list[str]:
    return machine.root(["sh", "-c", LEFT, "left", str(Cache.open().root)]).stdout.splitlines()


def test_another_kernel(machine: Machine) -> None:
    """Not the thing under test: it is what the host is not."""
    kind = machine.root(["stat", "-fc", "%T", "/sys/fs/cgroup"]).stdout.strip()
    assert kind == "cgroup2fs"
    assert machine.root(["cat", "/proc/1/comm"]).stdout.strip() == "systemd"
    assert machine.root(["uname", "-r"]).stdout.strip() != os.uname().release


def test_namespaced_nodes(machine: Machine) -> None:
    """Symptom: nodes boot on the kernel that they were written on, and on no other."""
    cache = Cache.open().root
    machine.root(["mkdir", "-p", f"{cache}/labs"])
    before = _left(machine)
    settings = [f"PYTHONPATH={PACKAGES}", f"OVERLAB_CACHE={cache}", "OVERLAB_SLOW=6", "COLUMNS=200"]
    words = ["python3", "-m", "pytest", "scenarios/wireguard", "-q", "-p", "no:cacheprovider"]
    script = f'cd {HOME} && exec env "$@"'
    done = machine.root(["sh", "-c", script, "inside", *settings, *words], check=False, timeout=LIMIT_S)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    last = done.stdout.splitlines()[-1]
    passed = re.search(r"(\d+) passed", last)
    assert passed, last
    assert int(passed[1]) > 20, f"not the thing under test: {last}"
    assert "wireguard=kernel" in done.stdout, "not the kernel's own WireGuard"
    assert _left(machine) == before
