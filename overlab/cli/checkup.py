"""What `./lab doctor` looks at, by reading only."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from fixtures import setup
from fixtures.lab import Lab
from fixtures.node import Node
from fixtures.overlay import Overlay
from fixtures.providers.namespace import cgroups, registry
from fixtures.providers.namespace.labs import MEMORY_PER_NODE, available_memory
from fixtures.providers.namespace.provider import TOOLS, NamespaceProvider
from fixtures.store.cache import Cache
from overlab.cli.finding import service_state, the_lab
from overlab.cli.preparing import choose
from overlab.errors import CannotStartError, NotHereError, OverlabError, UsageError
from overlab.paths import cache_root
from reports.host import capabilities


@dataclass(frozen=True, slots=True)
class Remark:
    """One thing that was looked at."""

    sign: Literal["ok", "bad", "note"]
    what: str
    remedy: str = ""


def of_this_machine() -> list[Remark]:
    """Return what labs need of any machine."""
    found = [Remark("ok", f"Python {platform.python_version()}, Linux {platform.release()}")]
    found.append(
        Remark("ok", "root")
        if os.geteuid() == 0
        else Remark("bad", "not root: labs cannot start", "use sudo ./lab")
    )
    missing = sorted({package for tool, package in TOOLS.items() if not shutil.which(tool)})
    found.append(
        Remark("bad", f"not installed: {', '.join(missing)}", f"apt-get install {' '.join(missing)}")
        if missing
        else Remark("ok", f"tools: {', '.join(TOOLS)}")
    )
    if sys.platform == "linux" and cgroups.hierarchies():
        found.append(Remark("ok", f"control groups {cgroups.version()}"))
    else:
        found.append(Remark("bad", "no control groups are mounted", "run on the host, not in a container"))
    found += [_overlayfs(), _disk(), _memory(), *_kernel()]
    return found


def _overlayfs() -> Remark:
    with open("/proc/filesystems") as file:  # noqa: PTH123 - a kernel file, read once
        known = file.read().split()
    if "overlay" in known:
        return Remark("ok", "overlayfs")
    return Remark("bad", "the kernel has no overlayfs loaded", "modprobe overlay")


def _disk() -> Remark:
    place = cache_root()
    there = next(folder for folder in (place, *place.parents) if folder.exists())
    free, needed = shutil.disk_usage(there).free / 2**30, setup.DISK_NEEDED / 2**30
    if free >= needed:
        return Remark("ok", f"disk: {free:.0f} GiB free at {place}")
    remedy = "free some, or name another folder with OVERLAB_CACHE (only set-up needs it)"
    return Remark("note", f"disk: {free:.1f} GiB free at {place}, set-up needs {needed:.0f}", remedy)


def _memory() -> Remark:
    free = available_memory()
    return Remark(
        "ok" if free >= 3 * MEMORY_PER_NODE else "bad",
        f"memory: {free} MiB free, enough for {free // MEMORY_PER_NODE} nodes",
    )


def _kernel() -> list[Remark]:
    remarks = []
    for name, state in capabilities().items():
        usable = state in ("loaded", "builtin")
        remedy = "" if usable else "what needs it is skipped, or done in user space"
        if state == "available":
            remedy += f"; modprobe {name} would load it (we load nothing)"
        remarks.append(Remark("ok" if usable else "note", f"kernel {name}: {state}", remedy))
    return remarks


def of_scenarios(name: str | None) -> list[Remark]:
    """Return for each scenario whether it can run, as what, and whether it is set up."""
    return [_scenario(overlay) for overlay in choose([name] if name else [], [], None)]


def _scenario(overlay: Overlay) -> Remark:
    kind = NamespaceProvider()
    topology = overlay.topology
    variant = ", ".join(f"{k}: {v}" for k, v in overlay.variant(kind.kernel_has).items())
    what = f"{topology.name}: {len(topology.nodes)} nodes, engine {topology.engine}"
    what += f" ({variant})" if variant else ""
    try:
        kind.check()
        overlay.check_here(outside=kind.outside)
        built = not setup.missing(Cache.open(), topology)
    except CannotStartError as error:
        return Remark("note", f"{what}: cannot start: {error.what}", error.remedy)
    except NotHereError as error:
        return Remark("note", f"{what}: not here: {error.what}", error.remedy)
    return Remark("ok", what) if built else Remark("note", f"{what}: not set up", "the first run does it")


def of_labs(lab_id: str | None) -> list[Remark]:
    """Return how the labs are that are up."""
    if os.geteuid() != 0:
        return [Remark("note", "only root sees them")]
    ids = [lab_id] if lab_id else [entry.id for entry in registry.entries(Cache.open())]
    if not ids:
        return [Remark("note", "none is up")]
    return [remark for each in ids for remark in _named(each)]


def _named(lab_id: str) -> list[Remark]:
    try:
        return _lab(the_lab(lab_id))
    except UsageError:
        raise
    except OverlabError as error:
        return [Remark("note", f"{lab_id}: {error.what}", error.remedy)]


def _lab(lab: Lab) -> list[Remark]:
    states = {node["name"]: node["state"] for node in lab.status()["nodes"]}
    found = []
    for node in lab.nodes.values():
        where = f"{lab.id}, {node}"
        if states[node.name] != "on":
            found.append(Remark("bad", f"{where}: {states[node.name]}", "heal the fault that did it"))
            continue
        found += [Remark("bad", f"{where}: {what}", remedy) for what, remedy in _complaints(node)] or [
            Remark("ok", f"{where}: engine and services are well")
        ]
    on = [node for node in lab.nodes.values() if states[node.name] == "on"]
    return [*found, *(Remark("bad", f"{lab.id}: {what}", remedy) for what, remedy in _shared(on))]


CLONED = {
    "machine-id": "these were cloned: a DHCP server takes them for one machine; give each its own",
    "engine id": "these engines were cloned: stop them, remove engine-id or key.json, start them",
    "link address": "bridges and neighbours take these for one machine; give each its own",
    "address": "these take each other's packets; see whether their machine-ids differ",
}


def _shared(nodes: Sequence[Node]) -> list[tuple[str, str]]:
    """Return what must be each machine's own, and two or more of `nodes` have."""
    owners: dict[tuple[str, str], list[str]] = {}
    for node in nodes:
        for identity in _identities(node):
            owners.setdefault(identity, []).append(node.name)
    return [
        (f"one {kind}, {value}, on {' and '.join(names)}", CLONED[kind])
        for (kind, value), names in owners.items()
        if len(names) > 1
    ]


def _identities(node: Node) -> set[tuple[str, str]]:
    """Return a node's identities. Addresses of bridges are not: each engine gives its own the same ones."""
    links = {row["ifname"]: row for row in node.state("links")}
    bridges = {name for name, row in links.items() if row.get("linkinfo", {}).get("info_kind") == "bridge"}
    addresses = {
        ("address", str(address["local"]))
        for row in node.state("addresses")
        if row["ifname"] not in bridges
        for address in row["addr_info"]
        if (address["family"], address["scope"]) == ("inet", "global")
    }
    known = {
        "machine-id": node.run(["cat", "/etc/machine-id"], check=False, quiet=True).out.strip(),
        "engine id": _engine_id(node),
        "link address": str(links[node.interface]["address"]),
    }
    return addresses | {(kind, value) for kind, value in known.items() if value}


def _engine_id(node: Node) -> str:
    shown = node.run(["docker", "info", "--format", "{{.ID}}"], check=False, quiet=True, timeout=10)
    return shown.out.strip()


def _complaints(node: Node) -> list[tuple[str, str]]:
    told = [
        (f"service {row['name']} {service_state(row)}", f"./lab logs {node} {row['name']}")
        for row in node.services()
        if not row["active"]
    ]
    try:
        shown = node.run(["docker", "ps", "-a", "--format", "{{.Names}} {{.State}}"], quiet=True, timeout=10)
    except OverlabError as error:
        return [*told, (f"the engine does not answer: {error.what}", f"./lab logs {node}")]
    rows = [line.split() for line in shown.out.splitlines()]
    told += [(f"container {n} is {s}", f"./lab logs {node} {n}") for n, s in rows if s != "running"]
    return told
