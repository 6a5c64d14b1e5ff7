"""The Swarm with its replicated page, as one step of the validation leaves it to the next."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from fixtures.lab import Lab
from fixtures.node import Node
from fixtures.waiting import NotYet, limit
from overlab.model import Finding
from reports.recording import Recorder
from scenarios.swarm import cluster, services
from scenarios.swarm.cluster import Balancing

WEB, WEB_PORT = "nginx-web", 8080
REPLICAS = 3
NO_LEADER = "does not have a leader"


@dataclass
class Farm:
    """The Swarm as the steps leave it to each other."""

    lab: Lab
    manager: Node
    balancing: Balancing
    network: str
    off: list[str] = field(default_factory=list)

    def spread(self, fits: Callable[[list[str]], bool], what: str, service: str = WEB) -> list[str]:
        """Wait until a service is spread as `fits` says: a dead node is known after three heartbeats."""
        return cluster.wait_spread(self.manager, service, fits, what=what, within=2 * limit("members"))

    def elsewhere(self, gone: str) -> list[str]:
        """Wait until three replicas run, none of them on `gone`."""
        return self.spread(lambda on: len(on) == REPLICAS and gone not in on, f"on {REPLICAS}, not on {gone}")

    def worker_with_replica(self) -> Node:
        """Return a node to take away: a worker that has a replica."""
        managers = {m.name for m in cluster.members(self.manager) if m.manager}
        return self.lab.node(next(n for n in cluster.spread(self.manager, WEB) if n not in managers))

    def answers(self, name: str) -> bool:
        """True when nginx-web's page on a node shows that node, or any node where there is a mesh."""
        asker = next(n for n in self.lab.nodes.values() if n.name not in self.off)
        said = services.page(asker, f"http://{self.lab.node(name).address}:{WEB_PORT}/host")
        return said is not None and (self.balancing is Balancing.MESH or said.split()[0] == name)


@contextmanager
def step(record: Recorder, name: str, node: str, paper: str | None = None) -> Iterator[dict[str, object]]:
    """Time one step and record it; what the step puts into the dictionary is its evidence."""
    evidence: dict[str, object] = {}
    started = time.monotonic()
    yield evidence
    seconds = round(time.monotonic() - started, 2)
    reason = str(evidence.pop("reason", ""))
    finding = Finding(name, "ok", seconds, "s", dst=node, reason=reason, evidence=evidence)
    record(finding, paper=paper)


def has_managers(node: Node, count: int) -> None:
    """Raise NotYet until so many managers can be reached."""
    reachable = [m.name for m in cluster.members(node) if m.manager in ("Leader", "Reachable")]
    if len(reachable) != count:
        raise NotYet(f"{len(reachable)}: {', '.join(reachable)}")


def refused(farm: Farm) -> str:
    """Return a manager's own words for having no quorum."""
    said = farm.manager.run(["docker", "service", "scale", "--detach", f"{WEB}=1"], check=False)
    if NO_LEADER not in said.err:
        raise NotYet((said.err or "it did as it was told").strip()[-200:])
    return said.err.strip().rpartition("desc = ")[2][:160]
