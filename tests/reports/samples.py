"""Results made by hand, for tests of what is made of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from overlab.model import Phase, Verdict
from reports.schema import (
    Evidence,
    Host,
    NodeInfo,
    OverlayInfo,
    PaperKind,
    PaperValue,
    Result,
    UnderlayInfo,
)

START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
PAPER_MTU = PaperValue(
    id="mtu", what="wg0's MTU", value=1420, unit="bytes", source="wireguard.txt:88", kind=PaperKind.EXACT
)
PAPER_RTT = PaperValue(
    id="rtt", what="ping", value=0.41, unit="ms", source="wireguard.txt:93", kind=PaperKind.CONTEXT
)


def result(order: int = 1, **fields: Any) -> Result:
    """Return a passed MTU line of WireGuard, with other fields where they are given."""
    given: dict[str, Any] = {
        "run_id": "20260102T030405Z-0a1b2c",
        "git": "1234567890",
        "time": START + timedelta(seconds=order),
        "host": Host(kernel="6.18.0", cpu="A Processor", cores=2, load=0.5, virt="virtual machine"),
        "capabilities": {"netem": "absent", "wireguard": "builtin", "ipvs": "absent"},
        "provider": "namespace",
        "engine": "20.10",
        "scenario": "wireguard",
        "variant": {"data-plane": "kernel"},
        "overlay": OverlayInfo(name="WireGuard", version="1.0.20210914", packages={"wireguard-tools": "1.0"}),
        "underlay": UnderlayInfo(mtu=1500, rate="200mbit", kind="bridge"),
        "placement": {"barge1": ("rng", "redis"), "barge2": ("hasher", "worker"), "barge3": ("webui",)},
        "nodes": tuple(NodeInfo(name=f"barge{n}", address=f"192.168.99.10{n}") for n in (1, 2, 3)),
        "order": order,
        "probe": "mtu",
        "src": "barge1/serf0",
        "dst": "barge2/serf0",
        "value": 1420,
        "unit": "bytes",
        "promised": 1420,
        "verdict": Verdict.PASS,
        "outcome": "ok",
        "duration_ms": 4.5,
    }
    return Result(**{**given, **fields})


def a_night() -> list[Result]:
    """Return a run of three scenarios that has every verdict, several samples, and words to be escaped."""
    lines: list[Result] = []

    def add(**fields: Any) -> None:
        lines.append(result(len(lines) + 1, **fields))

    for source in (1, 2, 3):
        for target in (1, 2, 3):
            if source != target:
                where = {"src": f"barge{source}/serf0", "dst": f"barge{target}/serf0"}
                add(**where, paper=PAPER_MTU)
                add(
                    **where,
                    probe="latency",
                    value=[0.31, 0.35, 0.9],
                    unit="ms",
                    promised=None,
                    paper=PAPER_RTT,
                )
    for size, wire in ((84, 156), (1280, 1340), (1420, 1480)):
        data: dict[str, Any] = {"inner": size, "outer": "udp/51820"}
        add(probe="encapsulation", value=wire, promised=wire, evidence=Evidence(data=data))
    add(probe="arp", value="proxy-arp", unit="", promised="proxy-arp")
    add(probe="hashes", phase=Phase.PERF, value=[0.961, 0.958, 0.966], unit="ratio", promised=None)
    add(
        probe="goodput",
        phase=Phase.PERF,
        value=0.93,
        unit="ratio",
        promised=None,
        verdict=Verdict.UNRESOLVED,
        outcome="too-wide",
        reason="half-width 4.1 % after 30 pairs",
    )
    add(probe="reachability", phase=Phase.CONTROL, value=None, unit="", promised=None)
    add(probe="mtu", phase=Phase.FAULT, value=None, promised=None, outcome="blackhole")

    swarm: dict[str, Any] = {
        "scenario": "swarm",
        "variant": {},
        "overlay": OverlayInfo(name="Swarm overlay"),
        "underlay": UnderlayInfo(mtu=1500, kind="bridge"),
    }
    add(**swarm, value=1450, promised=1450)
    add(
        **swarm,
        value=1400,
        promised=1450,
        src="barge2/web",
        dst="barge3/<b>db</b>",
        verdict=Verdict.FAIL,
        outcome="frag-needed",
        reason="the underlay is too small — give it 1500 bytes",
        evidence=Evidence(files=("evidence/mtu 1.pcap",), data={"hop": "192.168.99.1"}),
    )
    add(
        **swarm,
        probe="arp",
        value=None,
        unit="",
        promised=None,
        src="",
        dst="",
        verdict=Verdict.SKIP,
        outcome="skipped",
        reason="no ip_vs in this kernel — run it on a VM: ./lab test --vm",
    )
    gone: dict[str, Any] = {
        "scenario": "neorouter",
        "variant": {},
        "nodes": (),
        "placement": {},
        "value": None,
        "unit": "",
        "promised": None,
        "src": "",
        "dst": "",
    }
    for probe in ("mtu", "arp", "routing"):
        add(
            **gone,
            probe=probe,
            verdict=Verdict.SKIP,
            outcome="skipped",
            reason="NeoRouter's packages are not here — put its two .deb files beside needs.toml",
        )
    broken = {**gone, "scenario": "zerotier"}
    add(
        **broken,
        probe="set-up",
        phase=Phase.SETUP,
        verdict=Verdict.FAIL,
        outcome="set-up-failed",
        reason="no route to planet after 30 s; last seen: <script>alert(1)</script>",
    )
    for probe in ("mtu", "arp", "latency"):
        add(
            **broken,
            probe=probe,
            verdict=Verdict.INVALID,
            outcome="invalid",
            reason="invalid: set-up failed first: no route to planet after 30 s",
        )
    return lines
