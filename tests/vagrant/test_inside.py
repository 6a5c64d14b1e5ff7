"""The namespace provider inside a VM: another kernel, cgroup v2, and systemd, which owns the machine.

The VM gets this checkout, the cache's layers and images, and the environment's packages; it has no network
to fetch anything from.
"""

from __future__ import annotations

import os
import re
import subprocess
import sysconfig
from collections.abc import Iterator, Sequence
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest

from fixtures import setup
from fixtures.command import local_environment
from fixtures.providers.base import Settings
from fixtures.providers.ssh.machine import Machine
from fixtures.providers.vagrant.provider import VagrantNode, VagrantProvider
from fixtures.store.cache import Cache
from fixtures.store.images import store_for
from fixtures.store.progress import Progress
from fixtures.store.rootfs import node_layer
from overlab.model import NodeSpec
from overlab.paths import CHECKOUT
from scenarios.wireguard.overlay import OVERLAY

pytestmark = pytest.mark.vm

MEMORY = 3072  # MiB: three nodes with their engines, and the harness
HOME = "/srv/overlab"
CACHE = "/srv/cache"
PACKAGES = "/srv/packages"
NOT_SHIPPED = (".git", ".venv", "runs", ".mypy_cache", ".ruff_cache", ".pytest_cache", "__pycache__")
LIMIT_S = 1500.0
# What a lab could leave behind, by the VM's own means. $1 is the cache.
LEFT = """
ip -o link | sed 's/^[0-9]*: //; s/ .*//' | sort
find /sys/fs/cgroup -name 'overlab*'
grep -c . /proc/self/mountinfo
ls -A "$1/labs"
pgrep -fa 'namespace.holder|dockerd --' || true
"""


@pytest.fixture(scope="module")
def machine(pytestconfig: pytest.Config) -> Iterator[Machine]:
    """A VM with the harness on it, and nothing of it running."""
    if pytestconfig.getoption("--provider") != "vagrant":
        pytest.skip("boots a VM — use ./lab test --vm")
    if os.geteuid() != 0:
        pytest.skip("needs root, to boot VMs — run sudo ./lab test --vm")
    kind = VagrantProvider(Settings(memory=MEMORY))
    kind.check()
    specs = (NodeSpec("outer", IPv4Address("10.20.0.1")),)
    topology = replace(OVERLAY.topology, name="inside", nodes=specs, network=IPv4Network("10.20.0.0/24"))
    lab = kind.boot(topology, {})
    try:
        node = lab.node("outer")
        assert isinstance(node, VagrantNode)
        _ship(node.machine)
        yield node.machine
    finally:
        lab.down()


def _ship(machine: Machine) -> None:
    cache, topology = Cache.open(), OVERLAY.topology
    ready = setup.prepare(cache, topology, Progress())
    store = store_for(topology.images, node_layer(topology.engine).name)
    stores = [cache.images / each.name for each in (store, store.below) if each]
    members = [str(path.relative_to(cache.root)) for path in (*ready.layers, *stores)]
    _send(machine, cache.root, CACHE, members)
    _send(machine, CHECKOUT, HOME, ["."], NOT_SHIPPED)
    _send(machine, Path(sysconfig.get_paths()["purelib"]), PACKAGES, ["."], ("__pycache__",))


def _send(
    machine: Machine, source: Path, target: str, members: Sequence[str], without: Sequence[str] = ()
) -> None:
    """Send a tree with what the overlay file system keeps in its attributes."""
    keep = ["--xattrs", "--xattrs-include=*", "--numeric-owner"]
    skip = [f"--exclude={name}" for name in without]
    pack = ["tar", "-C", str(source), *keep, *skip, "-cf", "-", "--", *members]
    unpack = ["sh", "-c", 'mkdir -p "$1"; shift; exec tar "$@"', "unpack", target]
    there = machine.command(machine.as_root([*unpack, "-C", target, *keep, "-xf", "-"]))
    with subprocess.Popen(pack, stdout=subprocess.PIPE) as packing:
        done = subprocess.run(
            there, stdin=packing.stdout, capture_output=True, text=True, check=False,
            timeout=LIMIT_S, env=local_environment(),
        )  # fmt: skip
    assert (packing.returncode, done.returncode) == (0, 0), done.stderr[-500:]


def _left(machine: Machine) -> list[str]:
    return machine.root(["sh", "-c", LEFT, "left", CACHE]).stdout.splitlines()


def test_another_kernel(machine: Machine) -> None:
    """Not the thing under test: it is what the host is not."""
    kind = machine.root(["stat", "-fc", "%T", "/sys/fs/cgroup"]).stdout.strip()
    assert kind == "cgroup2fs"
    assert machine.root(["cat", "/proc/1/comm"]).stdout.strip() == "systemd"
    assert machine.root(["uname", "-r"]).stdout.strip() != os.uname().release


def test_namespaced_nodes(machine: Machine) -> None:
    """Symptom: nodes boot on the kernel that they were written on, and on no other."""
    machine.root(["mkdir", "-p", f"{CACHE}/labs"])
    before = _left(machine)
    settings = [f"PYTHONPATH={PACKAGES}", f"OVERLAB_CACHE={CACHE}", "OVERLAB_SLOW=6", "COLUMNS=200"]
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
