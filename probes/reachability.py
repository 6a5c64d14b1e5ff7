"""Can every container reach every other, by every protocol, at both ends of the packet sizes?

Method: from each source, all destinations at once. ICMP echo by a raw socket; UDP with a nonce that the
peer's responder acknowledges together with the source it saw; TCP that carries data whose SHA-256 comes
back; names by getaddrinfo. DF is set on ICMP and UDP, and a UDP acknowledgement is small, so UDP at the
path MTU judges one direction alone. A pair is unreachable only after a second attempt.
Routers limit the rate of their ICMP errors: where some findings of a pair are refusals, its timeouts are
likely the same refusal unsaid.
The counterpart, `blocked`, holds that what must not be reachable is not: silence and refusal are "ok".
Source: RFC 1122 section 3.2.2 (ICMP errors); the matrix of pairs is the ping test of every lab sheet.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from overlab.model import Finding

from .client import Peer
from .common import at_once, elapsed_ms, refusal_text

PROBE = "reachability"
SMALL = 64
ATTEMPTS = 2
WAIT_S = 1.2
SLACK_S = 10.0  # of a loaded machine, above what an operation may take by itself
HEADERS_TCP = 52  # IPv4 and TCP with timestamps: what is left of 64 bytes is 12


class Outcome(StrEnum):
    """Classes of this probe."""

    OK = "ok"
    TIMEOUT = "timeout"
    UNREACHABLE = "unreachable"
    WRONG_SOURCE = "wrong-source"
    WRONG_NAME = "wrong-name"
    CORRUPTED = "corrupted"
    LEAKED = "leaked"


class Protocol(StrEnum):
    """What is sent."""

    ICMP = "icmp"
    UDP = "udp"
    TCP = "tcp"
    NAME = "name"


@dataclass(frozen=True, slots=True)
class _Batch:
    src: Peer
    protocol: Protocol
    size: int
    peers: tuple[Peer, ...]


def check(
    pairs: Iterable[tuple[Peer, Peer]],
    *,
    mtu: int | None = None,
    protocols: Sequence[Protocol] = (Protocol.ICMP, Protocol.UDP, Protocol.TCP),
    attempts: int = ATTEMPTS,
    wait_s: float = WAIT_S,
) -> list[Finding]:
    """Probe ordered pairs at 64 bytes and, when `mtu` is given, at that path MTU (bytes at the IP layer).

    One Finding a pair, protocol and size, in no order to rely on; evidence["protocol"] and ["size"] tell
    them apart, `value` is the round trip in ms (context, not a measurement), None when there was none.
    TCP carries 12 bytes at 64, twice the MSS at the path MTU. Protocol.NAME resolves `dst.name` at the
    source, for pairs whose destination has a name. Ends within about attempts × wait_s + 0.6 s when
    nothing answers. Raises AgentError when an agent fails.
    """
    batches = _batches(pairs, mtu, protocols)
    found = at_once(lambda batch: _run(batch, attempts, wait_s), batches)
    return [finding for part in found for finding in part]


def blocked(
    pairs: Iterable[tuple[Peer, Peer]],
    *,
    protocols: Sequence[Protocol] = (Protocol.ICMP, Protocol.UDP, Protocol.TCP),
    wait_s: float = 0.6,
) -> list[Finding]:
    """Hold that the destinations do not answer at all; any answer is "leaked".

    The destination's agent must run, so that its responders would answer if a packet came: silence
    from where nobody listens proves nothing. Ends within about 2 × wait_s + 0.6 s.
    """
    findings: list[Finding] = []
    for finding in check(pairs, protocols=protocols, wait_s=wait_s):
        silent = finding.outcome in (Outcome.TIMEOUT, Outcome.UNREACHABLE)
        evidence = dict(finding.evidence) | {"seen": finding.outcome}
        reason = "" if silent else "it answers, and must not"
        outcome = Outcome.OK if silent else Outcome.LEAKED
        findings.append(
            Finding(
                f"{PROBE}-blocked",
                outcome,
                finding.value,
                finding.unit,
                src=finding.src,
                dst=finding.dst,
                reason=reason,
                evidence=evidence,
                duration_ms=finding.duration_ms,
            )
        )
    return findings


def _batches(
    pairs: Iterable[tuple[Peer, Peer]], mtu: int | None, protocols: Sequence[Protocol]
) -> list[_Batch]:
    by_source: dict[Peer, list[Peer]] = {}
    for src, dst in pairs:
        by_source.setdefault(src, []).append(dst)
    sizes = [SMALL] if mtu is None else [SMALL, mtu]
    batches: list[_Batch] = []
    for src, peers in by_source.items():
        for protocol in protocols:
            if protocol is Protocol.NAME:
                named = tuple(peer for peer in peers if peer.name)
                batches += [_Batch(src, protocol, 0, named)] if named else []
            else:
                batches += [_Batch(src, protocol, size, tuple(peers)) for size in sizes]
    return batches


def _run(batch: _Batch, attempts: int, wait_s: float) -> list[Finding]:
    start = time.monotonic()
    results = _ask(batch, attempts, wait_s)
    spent = elapsed_ms(start)
    return [_judge(batch, peer, result, spent) for peer, result in zip(batch.peers, results, strict=True)]


def _ask(batch: _Batch, attempts: int, wait_s: float) -> list[dict[str, Any]]:
    agent, limit = batch.src.agent, attempts * wait_s
    if batch.protocol is Protocol.NAME:
        names = [peer.name for peer in batch.peers]
        answer = agent.call("resolve", timeout=limit + SLACK_S, names=names, wait=limit)
    elif batch.protocol is Protocol.TCP:
        data = {"bytes": SMALL - HEADERS_TCP} if batch.size == SMALL else {"segments": 2}
        targets = [{"dst": p.address, "port": p.agent.tcp_port} | data for p in batch.peers]
        answer = agent.call("tcp_echo", timeout=2 * limit + SLACK_S, targets=targets, wait=limit)
    else:
        targets = [{"dst": p.address, "size": batch.size} for p in batch.peers]
        if batch.protocol is Protocol.UDP:
            targets = [t | {"port": p.agent.udp_port} for t, p in zip(targets, batch.peers, strict=True)]
        op = f"{batch.protocol}_echo"
        answer = agent.call(op, timeout=limit + SLACK_S, targets=targets, attempts=attempts, wait=wait_s)
    results: list[dict[str, Any]] = answer["results"]
    return results


def _judge(batch: _Batch, dst: Peer, result: dict[str, Any], spent: float) -> Finding:
    judge = _name_outcome if batch.protocol is Protocol.NAME else _packet_outcome
    outcome, reason = judge(batch.src, dst, result)
    size = f" {batch.size}" if batch.size else ""
    return Finding(
        PROBE,
        outcome,
        result.get("rtt_ms", result.get("ms")),
        f"ms ({batch.protocol}{size})",
        src=str(batch.src),
        dst=str(dst),
        reason=reason,
        evidence={"protocol": str(batch.protocol), "size": batch.size} | result,
        duration_ms=spent,
    )


def _packet_outcome(src: Peer, dst: Peer, result: dict[str, Any]) -> tuple[Outcome, str]:
    tries = f"in {result['attempts']} attempts"
    if result["outcome"] == "refused":
        return Outcome.UNREACHABLE, f"{refusal_text(result['error'])}, {tries}"
    if result["outcome"] == "timeout":
        got = (
            "connected, but the data was not acknowledged"
            if result.get("stage") == "transfer"
            else "no answer"
        )
        return Outcome.TIMEOUT, f"{got} {tries}; {result['next_hop']}"
    if result["source"] != dst.address:
        return Outcome.WRONG_SOURCE, f"the answer came from {result['source']}, not {dst.address}"
    seen = result.get("seen")
    if seen is not None and seen["source"] != src.address:
        return Outcome.WRONG_SOURCE, f"the peer saw {seen['source']}, not {src.address}"
    if not result["intact"]:
        return Outcome.CORRUPTED, "what came back is not what was sent"
    return Outcome.OK, ""


def _name_outcome(_src: Peer, dst: Peer, result: dict[str, Any]) -> tuple[Outcome, str]:
    if result["outcome"] == "timeout":
        return Outcome.TIMEOUT, f"no answer for the name {dst.name}"
    if result["outcome"] == "refused":
        return Outcome.WRONG_NAME, f"{dst.name}: {result['error']['name']}"
    if result["addresses"][:1] != [dst.address]:
        return Outcome.WRONG_NAME, f"{dst.name} is {', '.join(result['addresses'])}, not {dst.address}"
    return Outcome.OK, ""
