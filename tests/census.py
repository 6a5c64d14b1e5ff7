"""What a lab leaves on the machine, found without believing the lab: processes, namespaces, links, mounts,
loop devices, control groups, folders, locks.

A lab is told from the others that are up on this machine by a token that only its own id holds: tests name
their topologies with one. What has no token (links of the host's network namespace) is compared as it is.
"""

from __future__ import annotations

import fcntl
import os
import re
import sys
from dataclasses import dataclass, field, fields
from pathlib import Path

from fixtures.providers.namespace import cgroups
from fixtures.store.cache import Cache
from fixtures.waiting import NotYet, limit, wait_for

KINDS = ("net", "pid", "mnt", "uts", "ipc")


@dataclass(frozen=True)
class Census:
    """Everything of one lab (or of all whose id holds a token) at one moment."""

    processes: frozenset[str]
    namespaces: frozenset[str]
    links: frozenset[str]
    mounts: frozenset[str]
    loops: frozenset[str]
    groups: frozenset[str]
    folders: frozenset[str]
    locks: frozenset[str]
    moment: int = field(default=0, compare=False)  # clock ticks since the machine's boot

    def __str__(self) -> str:
        found = {name: sorted(getattr(self, name)) for name in SETS}
        return "; ".join(f"{k}: {', '.join(v)}" for k, v in found.items() if v) or "nothing"

    def __or__(self, other: Census) -> Census:
        sets = {name: getattr(self, name) | getattr(other, name) for name in SETS}
        return Census(**sets, moment=max(self.moment, other.moment))

    def __sub__(self, other: Census) -> Census:
        return Census(**{name: getattr(self, name) - getattr(other, name) for name in SETS})


SETS = tuple(f.name for f in fields(Census) if f.name != "moment")


def census(token: str, cache: Cache, earlier: Census | None = None) -> Census:
    """Look for what belongs to labs whose id holds `token`.

    A process that is still in a namespace that an `earlier` census found counts, whatever it calls itself;
    but not one that started later, as the kernel gives the numbers of dead namespaces to new ones.
    """
    moment = int(float(Path("/proc/uptime").read_text().split()[0]) * os.sysconf("SC_CLK_TCK"))
    known = earlier.namespaces if earlier else frozenset()
    processes: set[str] = set()
    namespaces: set[str] = set()
    for pid in _pids():
        there = _namespaces(pid)
        stayed = bool(earlier and there & known and _started(pid) <= earlier.moment)
        if stayed or _names(pid, token):
            processes.add(f"{pid} ({_read(pid, 'comm').strip()})")
            namespaces |= there
    namespaces |= _held_open(os.getpid()) & known
    return Census(
        frozenset(processes),
        frozenset(namespaces),
        frozenset(links()),
        frozenset(line for line in Path("/proc/self/mountinfo").read_text().splitlines() if token in line),
        frozenset(_loops(token)),
        frozenset(str(p) for root in cgroups.hierarchies() for p in root.glob(f"{cgroups.TOP}/*{token}*")),
        frozenset(p.name for p in cache.labs.iterdir() if token in p.name),
        frozenset(p.name for p in cache.root.glob("*.lock") if _is_held(p)),
        moment,
    )


def nothing_left(token: str, cache: Cache, before: Census, during: Census) -> None:
    """Wait until all of `token` is gone and the links are as they were `before`; say what is left if not."""

    def gone() -> None:
        now = census(token, cache, during)
        left = now - before
        missing = before.links - now.links
        if str(left) != "nothing" or missing:
            raise NotYet(f"{left}; links missing: {sorted(missing)}")

    wait_for(
        f"nothing of {token} to be left", gone, within=limit("down"), look="tests/census.py says how it looks"
    )


def links() -> set[str]:
    """Return the links of this network namespace."""
    return {p.name for p in Path("/sys/class/net").iterdir()}


def _pids() -> list[int]:
    own = os.getpid()
    return [int(p.name) for p in Path("/proc").iterdir() if p.name.isdecimal() and int(p.name) != own]


def _read(pid: int, name: str) -> str:
    try:
        return Path(f"/proc/{pid}/{name}").read_text(errors="replace")
    except OSError:
        return ""


def _started(pid: int) -> int:
    """Return when a process started, in clock ticks since the machine's boot; never for one that is gone."""
    found = _read(pid, "stat").rpartition(")")[2].split()
    return int(found[19]) if found else sys.maxsize


def _names(pid: int, token: str) -> bool:
    """True when the process was started for a lab of `token`, is in its groups, or sees its mounts."""
    if _read(pid, "stat").rpartition(")")[2].split()[:1] in (["Z"], ["X"], []):
        return False
    return any(token in _read(pid, name) for name in ("cmdline", "cgroup", "mountinfo"))


def _namespaces(pid: int) -> frozenset[str]:
    """Return the namespaces of a process that are not our own."""
    found = set()
    for kind in KINDS:
        try:
            found.add(str(Path(f"/proc/{pid}/ns/{kind}").readlink()))
        except OSError:
            continue
    return frozenset(found) - {str(Path(f"/proc/self/ns/{kind}").readlink()) for kind in KINDS}


def _held_open(pid: int) -> frozenset[str]:
    """Return the namespaces that a process keeps by a file descriptor."""
    found = set()
    try:
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            target = str(descriptor.readlink())
            if re.fullmatch(r"\w+:\[\d+\]", target):
                found.add(target)
    except OSError:
        return frozenset(found)
    return frozenset(found)


def _loops(token: str) -> list[str]:
    files = Path("/sys/block").glob("loop*/loop/backing_file")
    return [p.parts[3] for p in files if token in p.read_text()]


def _is_held(path: Path) -> bool:
    with path.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False
