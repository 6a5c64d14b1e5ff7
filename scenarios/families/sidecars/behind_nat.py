"""Nodes behind NATs of the underlay, for any VPN of sidecars: `-O underlay.nat=on`."""

from __future__ import annotations

import time
from contextlib import ExitStack, suppress
from functools import partial
from itertools import permutations

import pytest

from fixtures.containers import in_network_of
from fixtures.lab import Lab
from fixtures.sidecars import NODES, SidecarOverlay
from fixtures.waiting import NotYet, limit, wait_for
from overlab.errors import NotReadyError
from overlab.model import Endpoint, Finding, Phase
from reports.recording import Recorder


class BehindNat:
    """Nodes behind NATs of the underlay: what connects, and by which path, is shown as it is."""

    @pytest.mark.parametrize("how", ["own", "shared"])
    def test_nodes_behind_nat(
        self,
        how: str,
        lab: Lab,
        overlay: SidecarOverlay,
        endpoints: list[Endpoint],
        record: Recorder,
    ) -> None:
        """Each node behind a NAT of its own, or both behind one: the members reach each other again."""
        if overlay.underlay_options.nat == "off":
            pytest.skip("not asked for — use -O underlay.nat=on")
        nodes = [lab.node(name) for name in NODES]
        behind = [nodes] if how == "shared" else [[node] for node in nodes]
        pairs = list(permutations(endpoints, 2))
        with ExitStack() as stack:
            faults = [stack.enter_context(lab.underlay.behind_nat(*group)) for group in behind]
            started = time.monotonic()
            for pair in pairs:
                wait_for(
                    f"{pair[0]} to reach {pair[1]}", partial(_pings, lab, *pair), within=limit("members")
                )
            outage = round(time.monotonic() - started, 2)
            record(Finding("nat-outage", "ok", outage, "s", dst=how), phase=Phase.FAULT)
            with suppress(NotReadyError):  # a direct path may never be found, which is what is asked
                wait_for("a direct path", lambda: _direct(lab, overlay, pairs), within=limit("members"))
            for src, dst in pairs:
                found = Finding(
                    "nat-path", "ok", overlay.path(lab, src, dst), how, src=str(src), dst=str(dst)
                )
                record(found, phase=Phase.FAULT)
            for fault in faults:
                assert fault.hits(), f"invalid: no conversation was translated, {fault.name}"
        for pair in pairs:
            wait_for(
                f"{pair[0]} to reach {pair[1]} again", partial(_pings, lab, *pair), within=limit("members")
            )


def _pings(lab: Lab, src: Endpoint, dst: Endpoint) -> None:
    ping = ["ping", "-c", "1", "-W", "1", str(dst.address)]
    if in_network_of(lab.node(src.node), src.container, ping, check=False, quiet=True).status != 0:
        raise NotYet("no answer")


def _direct(lab: Lab, overlay: SidecarOverlay, pairs: list[tuple[Endpoint, Endpoint]]) -> None:
    for src, dst in pairs:
        _pings(lab, src, dst)  # a path is looked for while there is something to send
        if (path := overlay.path(lab, src, dst)) != "direct":
            raise NotYet(f"{src} → {dst} is {path}")
