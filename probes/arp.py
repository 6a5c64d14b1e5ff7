"""Who answers ARP for a container on another node, how many do, and is there anyone behind the answer?

Method: one crafted request, then listening for the whole wait: two owners of one address both answer.
Meanwhile the destination watches its own interface for the request. The mode is
- l2: the answer holds the container's own MAC, and the container saw the request;
- proxy-arp: the answer holds another MAC, or the container's own although the request never came there
  (Docker's overlay answers from its permanent neighbour entries, for the dead too);
- l3-only: nobody answers, or the interface has no ARP.
An answer by proxy is not reachability: it counts only with a UDP nonce that was delivered.
Sources: RFC 826, RFC 1027 (proxy ARP), arp(7) (proxy_delay), RFC 5227 (conflicts).
"""

from __future__ import annotations

import time
from collections.abc import Collection
from enum import StrEnum
from typing import Any

from overlab.model import Finding, LinkMode

from .client import Peer
from .common import elapsed_ms

PROBE = "arp"
WAIT_S = 1.3  # Linux's default proxy_delay (0.8 s, random up to it) and half a second
SLACK_S = 20.0
ATTEMPTS = 3  # as many solicitations as a kernel makes


class Outcome(StrEnum):
    """Classes of this probe."""

    OK = "ok"
    NO_ANSWER = "no-answer"
    DUPLICATE = "duplicate"
    WRONG_MODE = "wrong-mode"
    UNDELIVERED = "undelivered"


def check(
    src: Peer,
    dst: Peer,
    *,
    promised: LinkMode,
    proxies: Collection[str] = (),
    wait_s: float = WAIT_S,
) -> Finding:
    """Ask from `src` for `dst.address`; the Finding's value is the mode seen.

    `proxies` are the MACs that may answer by proxy (a bridge, a gateway); when given, an answer from any
    other but the container's own is a wrong mode. `wait_s` is the answering host's proxy_delay + 0.5.
    """
    start = time.monotonic()
    link = dst.agent.interface_of(dst.address)
    answered, saw = _ask(src, dst, str(link["name"]), wait_s, promised is not LinkMode.L3_ONLY)
    macs = sorted({str(answer["mac"]).lower() for answer in answered["answers"]})
    mode = _mode(macs, str(link["mac"]).lower(), saw)
    allowed = {mac.lower() for mac in proxies}
    outcome, reason = _judge(macs, mode, promised, allowed, str(link["mac"]).lower())
    evidence: dict[str, Any] = {"macs": macs, "container_mac": link["mac"], "request_seen": saw}
    evidence |= {"asked": answered, "proxies": sorted(allowed), "wait_s": wait_s}
    if outcome is Outcome.OK and mode is LinkMode.PROXY_ARP:
        delivered = _nonce(src, dst, wait_s)
        evidence["nonce"] = delivered
        if delivered["outcome"] != "reply":
            outcome, reason = Outcome.UNDELIVERED, f"{macs[0]} answers ARP, but no packet arrives behind it"
    return Finding(
        PROBE,
        outcome,
        str(mode),
        "mode",
        str(promised),
        src=str(src),
        dst=str(dst),
        reason=reason,
        evidence=evidence,
        duration_ms=elapsed_ms(start),
    )


def _ask(src: Peer, dst: Peer, interface: str, wait_s: float, patient: bool) -> tuple[dict[str, Any], bool]:
    # Ask again where nobody answers, as a kernel does: answers by proxy wait in a queue of their host, and
    # that queue is purged whenever any interface there goes down (a container that was removed).
    watch = dst.agent.call("start_sniff", timeout=SLACK_S, interface=interface, protocols=["icmp"])["sniff"]
    try:
        for _attempt in range(ATTEMPTS if patient else 1):
            asked = src.agent.call("arp", timeout=wait_s + SLACK_S, targets=[dst.address], wait=wait_s)
            if asked["results"][0]["answers"]:
                break
    finally:
        watched = dst.agent.call("stop_sniff", timeout=SLACK_S, sniff=watch)
    saw = any(
        entry["op"] == "who-has" and entry["target"] == dst.address and entry["dir"] == "in"
        for entry in watched["arp"]
    )
    return asked["results"][0], saw


def _mode(macs: list[str], own: str, saw: bool) -> LinkMode:
    if not macs:
        return LinkMode.L3_ONLY
    return LinkMode.L2 if own in macs and saw else LinkMode.PROXY_ARP


def _judge(
    macs: list[str], mode: LinkMode, promised: LinkMode, proxies: set[str], own: str
) -> tuple[Outcome, str]:
    if len(macs) > 1:
        return Outcome.DUPLICATE, f"{len(macs)} owners answer: {', '.join(macs)}"
    if mode is LinkMode.L3_ONLY and promised is not LinkMode.L3_ONLY:
        return Outcome.NO_ANSWER, "nobody answers ARP"
    if mode is not promised:
        return Outcome.WRONG_MODE, f"{mode} ({macs[0]} answers), not {promised}"
    if mode is LinkMode.PROXY_ARP and proxies and macs[0] not in proxies | {own}:
        return Outcome.WRONG_MODE, f"{macs[0]} answers, which is no proxy of this network"
    return Outcome.OK, ""


def _nonce(src: Peer, dst: Peer, wait_s: float) -> dict[str, Any]:
    target = {"dst": dst.address, "port": dst.agent.udp_port, "size": 64}
    # the return path meets a proxy as well: the same wait, twice
    args = {"targets": [target], "attempts": 2, "wait": wait_s}
    result: dict[str, Any] = src.agent.call("udp_echo", timeout=SLACK_S, **args)["results"][0]
    return result
