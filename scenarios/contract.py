"""The contract of every overlay. A scenario's test file has one class that inherits it:

    class TestContract(Contract): ...

First what the overlay does (`scenarios/questions.py`), then what it costs: every figure is a share of the
bare underlay, measured in the same run by the same probes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial

import pytest

from fixtures import dockercoins as application_of
from fixtures.containers import freeze, thaw
from fixtures.control import PREFIX, BareUnderlay
from fixtures.dockercoins import DockerCoins, Setting
from fixtures.lab import Lab
from fixtures.overlay import Overlay
from fixtures.plugin import alone_on_this_machine
from fixtures.vantages import Vantages
from overlab.errors import NotHereError
from overlab.model import Endpoint, Finding, Phase, Verdict
from probes import compare, dockercoins, goodput, latency
from probes.client import Peer
from probes.compare import Figure
from reports.recording import Recorder
from scenarios.questions import Questions

SLOT_S = 5.0
SHAPED_MBIT = 200
# What a slot's time goes to: one stream over a shaped underlay, eight over a bare one, small packets, and
# the application without its sleeps.
PARTS = {"goodput": 0.4, "goodput-8": 0.2, "latency": 0.2, "hashes": 0.2}
FIGURES = {
    "goodput": Figure("goodput", "mean"),
    "goodput-8": Figure("goodput-8", "mean"),
    "latency": Figure("latency"),
    "hashes": Figure("hashes"),
    "cpu-per-gbit": Figure("cpu-per-gbit"),
}
FAST = Setting(delay=0.0, interval=0.05, prefix="fast-", services=("redis", "rng", "hasher", "worker"))


class Contract(Questions):
    """Everything that is asked of an overlay."""

    def test_costs(
        self,
        pytestconfig: pytest.Config,
        lab: Lab,
        overlay: Overlay,
        peers: list[Peer],
        application: DockerCoins,
        vantages: Vantages,
        record: Recorder,
    ) -> None:
        """Goodput, latency, hashes and CPU as shares of the bare underlay, in one ABBA block of slots."""
        if not pytestconfig.getoption("--costs"):
            raise NotHereError("not asked for", "use --costs, or ./lab matrix")
        bare = BareUnderlay(lab.topology, overlay.placement)
        nodes = [vantages.underlay_peer(peer.agent.vantage.node) for peer in peers[:2]]
        with (
            alone_on_this_machine(),
            paused(lab, application["worker"]),
            sleepless(lab, (bare, overlay), vantages) as (control_app, overlay_app),
        ):
            run = compare.abba(
                slot(lab, nodes, control_app),
                slot(lab, peers, overlay_app),
                figure=FIGURES["goodput"],
                seconds=SLOT_S,
                blocks=1,
            )
        found = [compare.judge(run, name, figure=figure) for name, figure in FIGURES.items()]
        verdicts = [(f, compare.verdict(f)) for f in found]
        wrong = [f for f, verdict in verdicts if verdict in (Verdict.FAIL, Verdict.INVALID)]
        for finding, verdict in verdicts:
            record(finding, phase=Phase.PERF, verdict=verdict)
        assert not wrong, str(wrong[0])


Sleepless = Callable[[float], Finding]


@contextmanager
def paused(lab: Lab, endpoint: Endpoint) -> Iterator[None]:
    """Let a container stand still."""
    node = lab.node(endpoint.node)
    freeze(node, endpoint.process)
    try:
        yield
    finally:
        thaw(node, endpoint.process)


@contextmanager
def sleepless(
    lab: Lab, overlays: tuple[Overlay, Overlay], vantages: Vantages
) -> Iterator[tuple[Sleepless, Sleepless]]:
    """Run the application without its sleeps on the control and on the overlay, side by side.

    A worker works only while it is being measured.
    """
    settings = (replace(FAST, prefix=PREFIX), FAST)
    with ExitStack() as cleanup, ThreadPoolExecutor(2) as pool:

        def started(overlay: Overlay, setting: Setting) -> DockerCoins:
            application = application_of.deploy(lab, overlay, setting)
            cleanup.callback(application_of.remove, lab, overlay, application)
            return application

        deployed = list(pool.map(started, overlays, settings))
        workers = list(pool.map(partial(_standing, lab, vantages), deployed))
        for worker in workers:
            cleanup.callback(vantages.drop, worker)
        control, overlay = (_measured(lab, app, peer) for app, peer in zip(deployed, workers, strict=True))
        yield control, overlay


def _standing(lab: Lab, vantages: Vantages, application: DockerCoins) -> Peer:
    """Return the worker as a peer, its agent warm, and let the worker itself stand still."""
    worker = application["worker"]
    peer = vantages.peer(worker)
    freeze(lab.node(worker.node), worker.process)
    return peer


def _measured(lab: Lab, application: DockerCoins, worker: Peer) -> Sleepless:
    endpoint = application["worker"]
    node = lab.node(endpoint.node)
    where = {name: str(application[name].address) for name in application_of.NEEDS["worker"]}

    def measure(seconds: float) -> Finding:
        thaw(node, endpoint.process)
        try:
            return dockercoins.raw_rate(dockercoins.App(worker.agent, **where), seconds=seconds)
        finally:
            freeze(node, endpoint.process)

    return measure


def slot(lab: Lab, ends: list[Peer], application: Sleepless) -> compare.Measure:
    """Return what measures one slot: every figure once, one after the other, between two peers."""

    def cpu() -> float:
        return sum(node.cpu_seconds() for node in lab.nodes.values())

    def measure(seconds: float) -> Finding:
        share = {name: part * seconds for name, part in PARTS.items()}
        # Unshaped, the machine's own moods are a third of the figure; shaped, bytes on the wire decide it.
        with lab.underlay.rate(SHAPED_MBIT):
            one = goodput.measure(ends[0], ends[1], seconds=share["goodput"], cpu=cpu)
        eight = goodput.measure(ends[0], ends[1], seconds=share["goodput-8"], streams=8)
        small = latency.measure(ends[0], ends[1], seconds=share["latency"])
        hashes = application(share["hashes"])
        wrong = [f for f in (one, eight, small, hashes) if not f.ok]
        if wrong:
            return wrong[0]
        samples = {
            "goodput": one.evidence["samples"],
            "cpu-per-gbit": one.evidence["cpu_s_per_gbit"],
            "goodput-8": eight.evidence["samples"],
            "latency": [s for s in small.evidence["samples"] if s is not None],
            "hashes": [hashes.value],
        }
        return Finding("slot", "ok", src=str(ends[0]), dst=str(ends[1]), evidence=samples)

    return measure
