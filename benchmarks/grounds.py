"""Labs of many nodes, with and without engines, and the figures that are taken of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Network

from fixtures import setup
from fixtures.providers.namespace import cgroups, labs, registry
from fixtures.providers.namespace.labs import NamespaceLab, plan_of
from fixtures.store.cache import Cache
from fixtures.store.progress import Progress
from overlab.model import NodeSpec, Topology

NETWORK = IPv4Network("10.66.0.0/16")
NAME = "bench"


def topology(nodes: int) -> Topology:
    """Return a topology of `nodes` nodes, n1 and on."""
    specs = tuple(NodeSpec(f"n{i}", NETWORK[i]) for i in range(1, nodes + 1))
    return Topology(NAME, specs, NETWORK)


@dataclass
class Ground:
    """Where labs are booted; `seconds` of each step are kept for whoever asks."""

    cache: Cache
    ready: setup.Prepared

    @classmethod
    def open(cls) -> Ground:
        """Set up what is missing."""
        cache = Cache.open()
        return cls(cache, setup.prepare(cache, topology(1), Progress()))

    @contextmanager
    def lab(self, nodes: int, *, engines: bool) -> Iterator[NamespaceLab]:
        """Boot a lab for a while."""
        wanted = topology(nodes)
        plan = plan_of(wanted, self.ready.layers, self.ready.store if engines else None, engines=engines)
        registry.entries(self.cache)
        lab = labs.boot(self.cache, wanted, plan)
        try:
            yield lab
        finally:
            if lab.folder.exists():
                lab.down()


def seconds_of(action: Callable[[], object]) -> float:
    """Return how long `action` takes."""
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def memory_per_node(lab: NamespaceLab, idle: int) -> float:
    """Return the MiB that each node costs: what the machine has less than before the boot (`idle`, MiB)."""
    return (idle - labs.available_memory()) / len(lab.nodes)


def groups_left(lab: NamespaceLab) -> list[str]:
    """Return control groups of a lab that are still there."""
    below = [root / cgroups.TOP / lab.id for root in cgroups.hierarchies()]
    return [str(path) for path in below if path.exists()]
