"""The figures: each is a function that measures once and returns its values by name."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from benchmarks.crossing import seconds_to_first_ping
from benchmarks.grounds import Ground, groups_left, memory_per_node, seconds_of
from fixtures.providers.namespace import labs
from fixtures.providers.namespace.labs import NamespaceLab
from fixtures.vantages import Vantages
from overlab.model import Finding
from probes import mtu, reachability
from probes.common import ordered_pairs

ROUNDS = 50  # short things are done so often in one measurement


@dataclass(frozen=True)
class Limit:
    """What a figure may be; `most` is None where there is none."""

    unit: str
    most: float | None


LIMITS = {
    "3 nodes, engines and images ready": Limit("s", 1.2),
    "3 nodes with engines, everything gone": Limit("s", 1.0),
    "10 nodes, engines and images ready": Limit("s", 3.5),
    "50 nodes, engines and images ready": Limit("s", 20.0),
    "50 nodes with engines, everything gone": Limit("s", None),
    "50 nodes with engines, memory a node": Limit("MiB", None),
    "50 bare nodes, joined and pinging": Limit("s", 2.5),
    "50 bare nodes, everything gone": Limit("s", None),
    "a command by Node.run": Limit("ms", 10.0),
    "an agent's round trip": Limit("ms", 2.0),
    "5 nodes, all pairs and protocols, healthy": Limit("s", 5.0),
    "5 nodes, all pairs and protocols, nothing answers": Limit("s", 15.0),
    "a black hole, named": Limit("s", 2.5),
    "tailscale, from up to the first ping": Limit("s", 4.0),
    "zerotier, from up to the first ping": Limit("s", 8.0),
    "50 hosts of mininet, joined and pinging": Limit("s", None),
    "50 hosts of munet, joined and pinging": Limit("s", None),
}
Values = Mapping[str, float]


class Skipped(Exception):  # noqa: N818 - it is no error
    """A figure that cannot be taken here; says why."""


def engines(ground: Ground, nodes: int) -> Values:
    """Boot nodes with engines, and take them down."""
    idle = labs.available_memory()
    booted: list[NamespaceLab] = []

    def ready() -> None:
        lab = stack.__enter__()
        for node in lab.nodes.values() if nodes <= 3 else []:
            assert node.docker.images.list(), "no images"
        booted.append(lab)

    stack = ground.lab(nodes, engines=True)
    found = {f"{nodes} nodes, engines and images ready": seconds_of(ready)}
    if nodes >= 50:
        found[f"{nodes} nodes with engines, memory a node"] = memory_per_node(booted[0], idle)
    gone = seconds_of(lambda: _gone(booted[0]))
    stack.__exit__(None, None, None)
    if nodes != 10:
        found[f"{nodes} nodes with engines, everything gone"] = gone
    return found


def _gone(lab: NamespaceLab) -> None:
    lab.down()
    assert not lab.folder.exists()
    assert not groups_left(lab)


def bare(ground: Ground, nodes: int) -> Values:
    """Boot nodes without engines, and let every one ping the first."""
    booted: list[NamespaceLab] = []

    def pinging() -> None:
        lab = stack.__enter__()
        booted.append(lab)
        first, *others = lab.nodes.values()
        asked = [n.popen(["ping", "-c1", "-W2", str(first.address)]) for n in others]
        assert [p.wait(10) for p in asked] == [0] * len(others), "a node does not reach the first"

    stack = ground.lab(nodes, engines=False)
    taken = seconds_of(pinging)
    gone = seconds_of(lambda: _gone(booted[0]))
    stack.__exit__(None, None, None)
    return {f"{nodes} bare nodes, joined and pinging": taken, f"{nodes} bare nodes, everything gone": gone}


def round_trips(ground: Ground) -> Values:
    """Time a command on a node, and a question to a warm agent."""
    with ground.lab(1, engines=True) as lab:
        node = lab.node("n1")
        node.run(["true"])
        run = seconds_of(lambda: [node.run(["true"]) for _ in range(ROUNDS)])
        vantages = Vantages(lab)
        try:
            agent = vantages.node("n1")
            agent.call("ping", timeout=5)
            asked = seconds_of(lambda: [agent.call("ping", timeout=5) for _ in range(ROUNDS)])
        finally:
            vantages.forget()
    return {"a command by Node.run": run / ROUNDS * 1e3, "an agent's round trip": asked / ROUNDS * 1e3}


def probes(ground: Ground) -> Values:
    """Time the whole matrix of five nodes, healthy and cut off, and the naming of a black hole."""
    with ground.lab(5, engines=True) as lab:
        vantages = Vantages(lab)
        try:
            peers = [vantages.underlay_peer(name) for name in lab.nodes]
            pairs = ordered_pairs(peers)
            healthy = seconds_of(lambda: _answered(reachability.check(pairs, mtu=1500), True))
            with lab.underlay.partition(*lab.nodes.values()):
                silent = seconds_of(lambda: _answered(reachability.check(pairs, mtu=1500), False))
            with lab.underlay.port_mtu(lab.node("n2"), 1300):
                found: list[Finding] = []
                named = seconds_of(lambda: found.extend(mtu.check(peers[0], peers[1], promised=1500)))
            assert found[0].outcome == mtu.Outcome.BLACKHOLE, found[0]
        finally:
            vantages.forget()
    return {
        "5 nodes, all pairs and protocols, healthy": healthy,
        "5 nodes, all pairs and protocols, nothing answers": silent,
        "a black hole, named": named,
    }


def _answered(found: list[Finding], wanted: bool) -> None:
    assert len(found) == 5 * 4 * 3 * 2, f"{len(found)} findings"
    assert all(f.ok is wanted for f in found), next(str(f) for f in found if f.ok is not wanted)


def first_ping(ground: Ground, scenario: str) -> Values:
    """Time how long two containers of a scenario take to find each other."""
    return {f"{scenario}, from up to the first ping": seconds_to_first_ping(ground, scenario)}


MININET = """
import time
from mininet.net import Mininet
from mininet.nodelib import LinuxBridge
from mininet.topo import SingleSwitchTopo
started = time.perf_counter()
net = Mininet(SingleSwitchTopo({nodes}), switch=LinuxBridge, controller=None, waitConnected=False)
net.start()
first, *others = net.hosts
asked = [h.popen(["ping", "-c1", "-W2", first.IP()]) for h in others]
assert not any(p.wait() for p in asked)
print(time.perf_counter() - started)
net.stop()
"""


def mininet(ground: Ground, nodes: int) -> Values:
    """Do the same with mininet, in a network namespace of its own, where it is installed."""
    if shutil.which("mn") is None:
        raise Skipped("mininet is not installed")
    argv = ["unshare", "--net", "--mount", sys.executable, "-c", MININET.format(nodes=nodes)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Skipped(f"mininet failed: {done.stderr.strip().splitlines()[-1:]}")
    return {f"{nodes} hosts of mininet, joined and pinging": float(done.stdout.split()[-1])}


def munet(ground: Ground, nodes: int) -> Values:
    """Name munet, whose nodes need a project file each; it is measured by hand."""
    raise Skipped("munet is not installed" if shutil.which("munet") is None else "munet is measured by hand")


Figure = Callable[[Ground], Values]
FIGURES: dict[str, tuple[Figure, tuple[str, ...]]] = {
    "3": (lambda g: engines(g, 3), ("3 nodes, engines and images ready",)),
    "10": (lambda g: engines(g, 10), ("10 nodes, engines and images ready",)),
    "50": (lambda g: engines(g, 50), ("50 nodes, engines and images ready",)),
    "bare": (lambda g: bare(g, 50), ("50 bare nodes, joined and pinging",)),
    "calls": (round_trips, ("a command by Node.run",)),
    "probes": (probes, ("5 nodes, all pairs and protocols, healthy",)),
    "tailscale": (lambda g: first_ping(g, "tailscale"), ("tailscale, from up to the first ping",)),
    "zerotier": (lambda g: first_ping(g, "zerotier"), ("zerotier, from up to the first ping",)),
    "mininet": (lambda g: mininet(g, 50), ("50 hosts of mininet, joined and pinging",)),
    "munet": (lambda g: munet(g, 50), ("50 hosts of munet, joined and pinging",)),
}
