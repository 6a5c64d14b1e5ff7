"""Finding what a verb is about: the lab that is up, its node, a service or container on that node."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from overlab.errors import CannotStartError, OverlabError, UsageError
from overlab.nearest import unknown

if TYPE_CHECKING:
    from fixtures.lab import Lab
    from fixtures.node import Node


def the_lab(lab_id: str | None) -> Lab:
    """Return the lab called `lab_id`, or the only one that is up; raises UsageError otherwise."""
    from fixtures.providers.catalogue import find
    from fixtures.store.cache import Cache

    if os.geteuid() != 0:
        raise CannotStartError("labs are root's: their nodes are entered by the kernel's doors", "use sudo")
    try:
        return find(Cache.open(), lab_id)
    except OSError as error:
        # It ended, or was not yet listening, between the registry's word and our call.
        raise OverlabError(f"the lab does not answer ({error.strerror})", "run ./lab status") from None


def the_node(lab: Lab, name: str) -> Node:
    """Return the node called `name`; raises UsageError with the nearest name."""
    if name not in lab.nodes:
        what, remedy = unknown("node", name, lab.nodes)
        raise UsageError(f"{what} in {lab.id}", remedy)
    return lab.nodes[name]


def container_names(node: Node, *, running: bool) -> list[str]:
    """Return the names of a node's containers, all or those that run."""
    which = [] if running else ["-a"]
    return node.run(["docker", "ps", *which, "--format", "{{.Names}}"], quiet=True).out.split()


def the_container(node: Node, name: str) -> str:
    """Return `name`, a container that runs on `node`; raises UsageError with the nearest name."""
    there = container_names(node, running=True)
    if name not in there:
        what, remedy = unknown("container", name, there)
        raise UsageError(f"{what} runs on {node}", remedy)
    return name


def service_states(node: Node) -> dict[str, dict[str, Any]]:
    """Return the state of each supervised service of `node`, by name."""
    return {str(row["name"]): row for row in node.services()}


def service_state(row: dict[str, Any]) -> str:
    """Return one word or two on a service, as the supervisor describes it."""
    again = f", {row['restarts']} restarts" if row["restarts"] else ""
    if row["active"]:
        return "done" if row["oneshot"] else f"running{again}"
    return f"failed ({row['status']}){again}"
