"""What the tests of this folder share: small topologies, and labs booted without the scenarios' layers."""

from __future__ import annotations

import itertools
import json
import os
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

from fixtures import setup
from fixtures.providers.namespace import labs
from fixtures.providers.namespace.labs import NamespaceLab, plan_of
from fixtures.providers.namespace.plan import Plan
from fixtures.store.cache import Cache, remove
from fixtures.store.progress import Progress
from overlab.model import NodeSpec, Topology

NETWORK = IPv4Network("10.77.0.0/24")
SERIAL = itertools.count(1)


def small(*names: str, token: str = "") -> Topology:
    """Return a topology of `names` whose labs' ids hold a token that no other lab's does."""
    specs = tuple(NodeSpec(name, IPv4Address(int(NETWORK[0]) + 10 + i)) for i, name in enumerate(names, 1))
    return Topology(token or fresh_token(), specs, NETWORK)


def fresh_token() -> str:
    """Return a name for a topology that nothing else on this machine has."""
    return f"t{os.getpid()}x{next(SERIAL)}x{secrets.token_hex(2)}"


@dataclass(frozen=True)
class Ground:
    """A cache whose labs are only ours, and the layers and images of the real one."""

    cache: Cache
    ready: setup.Prepared

    def plan(self, topology: Topology, *, engines: bool = False) -> Plan:
        """Return what boots `topology`: bare nodes, or nodes with engines and the common images."""
        return plan_of(topology, self.ready.layers, self.ready.store if engines else None, engines=engines)

    def boot(self, topology: Topology, *, engines: bool = False) -> NamespaceLab:
        """Boot a lab that this process owns."""
        return labs.boot(self.cache, topology, self.plan(topology, engines=engines))

    @contextmanager
    def lab(self, topology: Topology, *, engines: bool = False) -> Iterator[NamespaceLab]:
        """Boot a lab for a while."""
        booted = self.boot(topology, engines=engines)
        try:
            yield booted
        finally:
            booted.down()

    def write_orders(self, topology: Topology, *, engines: bool = False) -> Path:
        """Write what `tests.provider.client` boots; return where."""
        path = self.cache.root / f"{topology.name}.json"
        self.plan(topology, engines=engines).write(path.with_suffix(".plan"))
        path.write_text(json.dumps(labs.describe(topology)))
        return path


@contextmanager
def ground() -> Iterator[Ground]:
    """Set up what the tests boot from, and give them a place of their own beside the real labs."""
    real = Cache.open()
    ready = setup.prepare(real, small("n1", token="provider"), Progress())
    own = Cache(Path(tempfile.mkdtemp(prefix="tests-", dir=real.root)))
    try:
        own.labs.mkdir()
        for name in ("rootfs", "images"):
            (own.root / name).symlink_to(real.root / name)
        yield Ground(own, ready)
    finally:
        remove(own.root)
