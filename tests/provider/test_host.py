"""The machine before, during and after a lab: nothing of it changes."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from fixtures.lab import Lab
from tests.census import links
from tests.provider.grounds import Ground, small

SETTINGS = ("net", "kernel", "vm", "fs/inotify", "user")
VOLATILE = (
    "kernel/random/", "kernel/ns_last_pid", "kernel/pty/nr", "kernel/sched_domain", "kernel/tainted",
    "net/netfilter/nf_conntrack_count", "kernel/perf_event_max_sample_rate", "vm/stat_refresh",
    "net/ipv4/route/flush", "net/ipv6/route/flush", "vm/compact_memory", "vm/drop_caches", "kernel/keys/",
)  # fmt: skip
LISTENING = "0A"


def settings() -> dict[str, str]:
    """Return every sysctl that stays as it is on a quiet machine."""
    found = {}
    for part in SETTINGS:
        for path in (Path("/proc/sys") / part).rglob("*"):
            name = str(path.relative_to("/proc/sys"))
            if path.is_file() and os.access(path, os.R_OK) and not name.startswith(VOLATILE):
                try:
                    found[name] = path.read_text(errors="replace")
                except OSError:
                    continue
    return found


def shown(*argv: str) -> str:
    """Return what a tool of the host says, or that it is not there."""
    if shutil.which(argv[0]) is None:
        return f"no {argv[0]}"
    return subprocess.run(argv, capture_output=True, text=True, check=False).stdout


def listeners(descendants_of: set[int]) -> set[str]:
    """Return the local addresses of listening sockets of this network namespace that these processes have."""
    inodes = {}
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/self/net/{table}").read_text().splitlines()[1:]:
            columns = line.split()
            if columns[3] == LISTENING:
                inodes[f"socket:[{columns[9]}]"] = f"{table} {columns[1]}"
    return {inodes[s] for pid in descendants_of for s in _sockets(pid) if s in inodes}


def _sockets(pid: int) -> list[str]:
    try:
        return [str(fd.readlink()) for fd in Path(f"/proc/{pid}/fd").iterdir()]
    except OSError:
        return []


def family(pid: int) -> set[int]:
    """Return `pid` and all that descend from it."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
    found = {pid}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def modules() -> set[str]:
    """Return the names of loaded modules; a kernel may be built without any."""
    path = Path("/proc/modules")
    return {line.split()[0] for line in path.read_text().splitlines()} if path.exists() else set()


def snapshot() -> dict[str, object]:
    return {
        "links": links(),
        "routes": [Path(f"/proc/self/net/{name}").read_text() for name in ("route", "fib_trie")],
        "rules": shown("ip", "rule"),
        "addresses": Path("/proc/self/net/if_inet6").read_text(),
        "settings": settings(),
        "modules": modules(),
        "nft": shown("nft", "list", "ruleset"),
        "iptables": shown("iptables-save", "-t", "filter") + shown("iptables-save", "-t", "nat"),
        "forwarding": Path("/proc/sys/net/ipv4/ip_forward").read_text(),
    }


def different(before: dict[str, object], after: dict[str, object]) -> dict[str, object]:
    """Return what is not the same; of the settings, those that changed."""
    found: dict[str, object] = {}
    for name, value in before.items():
        now = after[name]
        if isinstance(value, dict) and isinstance(now, dict):
            changed = {k for k in value.keys() | now.keys() if value.get(k) != now.get(k)}
            if changed:
                found[name] = sorted(changed)
        elif value != now:
            found[name] = (value, now)
    return found


@pytest.fixture(scope="module")
def warm(place: Ground) -> None:
    """Have the kernel load by itself, before the comparison, what other labs of this machine use as well."""
    with place.lab(small("a"), engines=True):
        pass


@pytest.mark.usefixtures("warm")
def test_the_host_is_the_same_before_during_and_after(place: Ground) -> None:
    """Symptom: a lab turns the laptop's forwarding on, adds a bridge to it, or opens a port on it."""
    before = snapshot()
    own = listeners(family(os.getpid()))
    with place.lab(small("a", "b"), engines=True) as lab:
        node = lab.node("a")
        node.run(["docker", "run", "-d", "-p", "8000:80", "overlab/tools", "sleep", "9001"])
        assert ":8000" in node.run(["ss", "-ltn"]).out, "not the thing under test: nothing listens"
        with lab.underlay.partition(node):
            assert different(before, snapshot()) == {}
            assert listeners(family(os.getpid()) | family(lab.status()["pid"])) == own
    assert different(before, snapshot()) == {}
    assert listeners(family(os.getpid())) == own


def test_no_process_of_a_lab_is_in_the_hosts_namespaces(bare: Lab) -> None:
    """Symptom: a daemon meant for a node, or the holder's netlink, works on the host's network."""
    own = Path("/proc/self/ns/net").readlink()
    holder = bare.status()["pid"]
    inside = family(holder) - {holder}
    assert len(inside) >= 3 * 2, "not the thing under test: no processes of nodes"
    inits = {n["init"] for n in bare.status()["nodes"]}
    for pid in inits | {holder}:
        assert Path(f"/proc/{pid}/ns/net").readlink() != own
