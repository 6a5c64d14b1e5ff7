"""From `up` to the first ping across: a control plane, a container on each of two nodes, an answer."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial

from benchmarks.grounds import Ground, seconds_of
from fixtures import setup
from fixtures.containers import in_network_of
from fixtures.overlay import Overlay
from fixtures.providers.namespace import labs, registry
from fixtures.providers.namespace.labs import NamespaceLab, plan_of
from fixtures.store.progress import Progress
from fixtures.waiting import NotYet, limit, wait_for
from overlab.model import Endpoint
from scenarios.catalogue import folder_of, load


def seconds_to_first_ping(ground: Ground, scenario: str) -> float:
    """Boot the lab of `scenario`, and return the seconds from `up` until a ping is answered.

    The lab itself is up, and the images are there, before the clock starts.
    """
    overlay = load(folder_of(scenario), {})
    with _booted(ground, overlay) as lab:
        return seconds_of(lambda: _cross(lab, overlay))


@contextmanager
def _booted(ground: Ground, overlay: Overlay) -> Iterator[NamespaceLab]:
    ready = setup.prepare(ground.cache, overlay.topology, Progress())
    registry.entries(ground.cache)
    plan = plan_of(overlay.topology, ready.layers, ready.store)
    lab = labs.boot(ground.cache, overlay.topology, plan)
    try:
        yield lab
    finally:
        if lab.folder.exists():
            lab.down()


def _cross(lab: NamespaceLab, overlay: Overlay) -> None:
    overlay.up(lab)
    names = sorted(set(overlay.placement.values()))[:2]
    with ThreadPoolExecutor(len(names)) as pool:
        src, dst = pool.map(lambda name: overlay.run(lab.node(name), "first", "overlab/tools"), names)
    wait_for(f"{dst} to answer {src}", partial(_ping, lab, src, dst), within=limit("members"))


def _ping(lab: NamespaceLab, src: Endpoint, dst: Endpoint) -> None:
    argv = ["ping", "-c", "1", "-W", "0.25", str(dst.address)]
    if in_network_of(lab.node(src.node), src.container, argv, check=False, quiet=True).status != 0:
        raise NotYet("no answer")
