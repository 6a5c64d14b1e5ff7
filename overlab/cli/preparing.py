"""What comes before a lab: which scenarios, what they will take of this machine, and set-up."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from overlab.errors import NotHereError

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


def machines(name: str, inventory: Path | None, box: str) -> Provider:
    """Return the provider called `name`; raises UsageError with the nearest name."""
    from fixtures.providers.base import Settings
    from fixtures.providers.catalogue import provider

    return provider(name, Settings(inventory, box))


def announce(kind: Provider, chosen: Sequence[Overlay]) -> None:
    """Say how much the scenarios will take of the machine, and how much there is."""
    click.echo(kind.takes([overlay.topology for overlay in chosen]), err=True)


def launch_seconds() -> float:
    """Return how long the launcher took to fetch packages before us."""
    return float(os.environ.get("OVERLAB_LAUNCH_SECONDS", "0"))


def set_up(kind: Provider, chosen: Sequence[Overlay]) -> Progress:
    """Build what the scenarios need where it is missing; return the books on where the time went.

    Nothing is built for those that cannot run here: they are skipped, and say why.
    """
    from fixtures.store.progress import Progress

    progress = Progress()
    for overlay in chosen:
        with suppress(NotHereError):
            overlay.check_here(outside=kind.outside)
            kind.prepare(overlay.topology, progress)
    return progress
