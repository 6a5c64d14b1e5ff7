"""What is done to a Swarm: making one, joining it, asking it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import Any

from fixtures.lab import Lab
from fixtures.node import Node
from fixtures.waiting import NotYet, limit, wait_for
from overlab.model import Secret

PORT = 2377


class Balancing(StrEnum):
    """How a service is reached from inside and from outside."""

    MESH = "vip, routing mesh"
    DIRECT = "dnsrr, host ports"


def balancing(kernel_has: Callable[[str], bool]) -> Balancing:
    """Return what this kernel can do: a virtual address, and the mesh, are IPVS's."""
    return Balancing.MESH if kernel_has("ip_vs") else Balancing.DIRECT


@dataclass(frozen=True, slots=True)
class Member:
    """A line of `docker node ls`."""

    id: str
    name: str
    state: str
    availability: str
    manager: str

    @property
    def ready(self) -> bool:
        """True while it answers the managers."""
        return self.state == "Ready"


@dataclass(frozen=True, slots=True)
class Task:
    """A line of `docker service ps`: one try to run one replica."""

    id: str
    name: str
    node: str
    desired: str
    current: str
    error: str

    @property
    def running(self) -> bool:
        """True when it is wanted and runs."""
        return self.desired == "Running" and self.current.startswith("Running")


def name_nodes(lab: Lab) -> None:
    """Let every node know the others by name, as the paper's /etc/hosts does."""
    lines = "".join(f"{node.address} {node.name}\n" for node in lab.nodes.values())

    def write(node: Node) -> None:
        node.put("/etc/hosts", f"127.0.0.1 localhost\n{lines}")

    lab.each(write)


def advertised(node: Node) -> str:
    """Return the flag that says which interface's address the others are told."""
    return f"--advertise-addr={node.interface}:{PORT}"


def init(lab: Lab, manager: Node, *flags: str) -> None:
    """Make a new Swarm of one manager; what it prints holds the token that lets others join."""
    argv = ["docker", "swarm", "init", advertised(manager), *flags]
    done = manager.run(argv, quiet=True)
    for role in ("worker", "manager"):
        lab.secret(token(manager, role))
    lab.transcript.record(manager.name, argv, done.status, done.out, done.err, done.duration)


def token(manager: Node, role: str = "worker") -> Secret:
    """Return what lets a node join as `role`; it never shows in what is printed."""
    found = attributes(manager)
    name = f"SWARM_{found['ID'][:5].upper()}_{role.upper()}_TOKEN"
    return Secret(name, str(found["JoinTokens"][role.capitalize()]))


def attributes(manager: Node) -> dict[str, Any]:
    """Return what a manager says of its Swarm: its id, its settings, its tokens."""
    swarm = manager.docker.swarm
    swarm.reload()
    found: dict[str, Any] = swarm.attrs
    return found


def join(manager: Node, node: Node, role: str = "worker") -> None:
    """Let `node` join; returns when it has, not when it is ready."""
    where = f"{manager.address}:{PORT}"
    node.run(["docker", "swarm", "join", advertised(node), "--token", token(manager, role), where])


def join_all(lab: Lab, manager: Node, nodes: Sequence[Node]) -> None:
    """Let several nodes join side by side, and wait until all are ready."""
    with ThreadPoolExecutor(len(nodes)) as pool:
        list(pool.map(partial(join, manager), nodes))
    wait_ready(manager, [node.name for node in (manager, *nodes)])


def wait_ready(manager: Node, names: Sequence[str]) -> None:
    """Wait until each of `names` has an entry that is ready."""

    def all_ready() -> None:
        ready = {m.name for m in members(manager) if m.ready}
        if missing := sorted(set(names) - ready):
            raise NotYet(f"not ready: {', '.join(missing)}")

    wait_for("the nodes to be ready", all_ready, within=limit("members"))


def members(manager: Node, *, quiet: bool = True) -> list[Member]:
    """Return what a manager knows of its nodes; NotYet while it has no leader to ask."""
    rows = _table(manager, ["docker", "node", "ls"], quiet=quiet)
    return [
        Member(r["ID"], r["Hostname"], r["Status"], r["Availability"], r.get("ManagerStatus", ""))
        for r in rows
    ]


def tasks(manager: Node, service: str, *, quiet: bool = True) -> list[Task]:
    """Return the tasks of a service, those that ended too."""
    rows = _table(manager, ["docker", "service", "ps", "--no-trunc", service], quiet=quiet)
    return [
        Task(r["ID"], r["Name"], r["Node"], r["DesiredState"], r["CurrentState"], r.get("Error", ""))
        for r in rows
    ]


def spread(manager: Node, service: str) -> list[str]:
    """Return the nodes where a replica runs, one entry a replica, sorted."""
    return sorted(t.node for t in tasks(manager, service) if t.running)


def wait_spread(
    manager: Node, service: str, fits: Callable[[list[str]], bool], *, what: str, within: float | None = None
) -> list[str]:
    """Wait until the replicas of `service` are spread as `fits` says; return their nodes."""

    def spread_out() -> list[str]:
        found = tasks(manager, service)
        nodes = sorted(t.node for t in found if t.running)
        if not fits(nodes):
            wanted = [t for t in found if t.desired == "Running" and not t.running]
            told = "; ".join(
                f"{t.name} on {t.node or 'no node'}: {t.current} {t.error}".strip() for t in wanted
            )
            raise NotYet(f"{len(nodes)} run on {', '.join(nodes) or 'none'}; {told or 'none is on its way'}")
        return nodes

    return wait_for(f"{service} {what}", spread_out, within=within or limit("members"))


def _table(manager: Node, argv: Sequence[str], *, quiet: bool) -> list[dict[str, Any]]:
    """Return a table of Docker's; NotYet, in the manager's own words, while it has nobody to ask."""
    shown = manager.run([*argv, "--format", "{{json .}}"], check=False, quiet=quiet)
    if shown.status != 0:
        raise NotYet(shown.err.strip()[-200:])
    return [json.loads(line) for line in shown.out.splitlines()]


def accepted(manager: Node, argv: Sequence[str], *, within: float | None = None) -> None:
    """Ask a manager until it does what it is asked: one that just lost its leader refuses for a while."""

    def done() -> None:
        said = manager.run(argv, check=False)
        if said.status != 0:
            raise NotYet(said.err.strip()[-200:])

    wait_for(f"`{' '.join(argv)}` to be accepted", done, within=within or limit("members"))


def leader(manager: Node) -> str:
    """Return the name of the manager that leads, as `manager` sees it; NotYet while nobody does."""
    found = [m.name for m in members(manager) if m.manager == "Leader"]
    if not found:
        raise NotYet("nobody leads")
    return found[0]
