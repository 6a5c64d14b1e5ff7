"""What comes before a lab: which scenarios, what they will take of this machine, and set-up."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from fixtures.overlay import Overlay
    from fixtures.providers.base import Provider
    from fixtures.store.progress import Progress


def choose(names: Sequence[str], given: Sequence[str], engine: str | None) -> list[Overlay]:
    """Return the scenarios called `names` (all of them when there are none), with options and engine.

    Raises UsageError with the nearest name for a scenario, option or engine that there is not.
    """
    from fixtures.store.rootfs import node_layer
    from overlab.paths import scenarios
    from scenarios.catalogue import check_options, folder_of, load, parse_options

    options = parse_options(given)
    check_options(options)
    if engine:
        node_layer(engine)
    found = [load(folder_of(name), options) for name in names or scenarios()]
    for overlay in found:
        if engine:
            overlay.topology = replace(overlay.topology, engine=engine)
    return found


def announce(chosen: Sequence[Overlay]) -> None:
    """Say how much disk and memory the scenarios will take, and how much there is."""
    from fixtures import setup
    from fixtures.providers.namespace.labs import MEMORY_PER_NODE, available_memory
    from fixtures.store.cache import Cache

    cache = Cache.open()
    missing = any(setup.missing(cache, overlay.topology) for overlay in chosen)
    free = shutil.disk_usage(cache.root).free / 2**30
    room = f"about 2 GB in {cache.root} ({free:.0f} GB free)" if missing else "nothing, all is built"
    most = max(len(overlay.topology.nodes) for overlay in chosen)
    click.echo(
        f"disk: {room}; memory: about {most * MEMORY_PER_NODE} MiB for {most} nodes "
        f"({available_memory()} MiB free)",
        err=True,
    )


def launch_seconds() -> float:
    """Return how long the launcher took to fetch packages before us."""
    return float(os.environ.get("OVERLAB_LAUNCH_SECONDS", "0"))


def set_up(kind: Provider, chosen: Sequence[Overlay]) -> Progress:
    """Build what the scenarios need where it is missing; return the books on where the time went."""
    from fixtures.store.progress import Progress

    progress = Progress()
    for overlay in chosen:
        kind.prepare(overlay.topology, progress)
    return progress
