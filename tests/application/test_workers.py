"""DockerCoins with more than one worker, and without its sleeps: what the matrix does not show."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from fixtures import dockercoins as application_of
from fixtures.lab import Lab
from fixtures.overlay import Overlay
from fixtures.owning import Labs
from fixtures.plugin import alone_on_this_machine
from fixtures.vantages import Vantages
from probes import dockercoins
from scenarios.catalogue import folder_of, load

SECONDS = 12.0


@pytest.fixture(scope="module")
def underlay_approach() -> Overlay:
    """The cheapest network there is."""
    overlay = load(folder_of("mac" + "vlan"), {})
    overlay.topology = replace(overlay.topology, name="workers", layers=())
    return overlay


@pytest.fixture(scope="module")
def small_lab(labs: Labs, underlay_approach: Overlay) -> Iterator[Lab]:
    """Two nodes with the network up."""
    lab = labs.boot(underlay_approach.topology)
    underlay_approach.up(lab)
    yield lab
    labs.end(lab)


@pytest.mark.parametrize(("workers", "delay"), [(4, 0.1), (1, 0.0)], ids=["four", "sleepless"])
def test_rate(small_lab: Lab, underlay_approach: Overlay, workers: int, delay: float) -> None:
    """Four workers beat rng, which serves one request at a time; or the sleeps cannot be switched off."""
    deployed = application_of.deploy(small_lab, underlay_approach, application_of.Setting(delay=delay))
    agents = Vantages(small_lab)
    try:
        reached = _app(deployed, agents)
        with alone_on_this_machine():
            times, found = dockercoins.service_times(reached)
            assert found.ok, found
            assert times
            if delay:
                deployed = application_of.add_workers(small_lab, underlay_approach, deployed, workers - 1)
                rate = dockercoins.rate(reached, times, seconds=SECONDS, workers=workers)
            else:
                rate = dockercoins.raw_rate(reached, seconds=SECONDS)
        assert rate.ok, rate
        assert delay or (rate.value and float(rate.value) > dockercoins.RNG_LIMIT), rate
        coins = dockercoins.wallet(reached)
        assert coins.ok, coins
    finally:
        agents.forget()
        application_of.remove(small_lab, underlay_approach, deployed)


def _app(deployed: application_of.DockerCoins, agents: Vantages) -> dockercoins.App:
    where = {name: str(deployed[name].address) for name in application_of.NEEDS["worker"]}
    return dockercoins.App(agents.peer(deployed["worker"]).agent, **where)
