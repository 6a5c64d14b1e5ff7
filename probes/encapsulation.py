"""What is around a packet on the wire, how much of it, and can a third party read what is inside?

Method: a capture of everything on both nodes' underlay interfaces; then five echoes of one inner size, one
after the other. What leaves a node as often as the echoes did is what carries them (gossip and keepalives
that share a tunnel do not come five times in one size in these milliseconds), and the sum of its sizes is
the bytes on the wire; fragments and overlays that make two packets of one are counted by the same rule. No
look inside is needed, so an encrypted overlay is measured as exactly as a plain one. All echoes hold one
nonce: it is readable in the captures exactly when nothing encrypts it.

One packet at a time, because offloads join only packets that are under way together: with TSO, GSO or GRO
on, a veth shows segments of up to 64 kB that no wire would carry. `without_offloads` switches them off too.
Sources: RFC 7348 section 5 (VXLAN); the WireGuard paper, section 5.4.6 (transport data, padded to 16).
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from overlab.model import Finding, Promise

from .carriers import Capture, Carrier, Way, strays
from .client import Agent, Peer
from .common import at_once, elapsed_ms, refusal_text

PROBE = "encapsulation"
SIZES = (84, 500, 1280)
COUNT = 5
ATTEMPTS = 3  # something of the overlay's own may come five times in one size, but not three times over
WAIT_S = 1.2
UNANSWERED_WAIT_S = 0.02  # a request shows on the wire whether it is answered or not
SLACK_S = 15.0


class Outcome(StrEnum):
    """Classes of this probe, in the order in which they are judged."""

    OK = "ok"
    LEAKED_PLAIN = "leaked-plain"
    NOTHING_SEEN = "nothing-seen"
    WRONG_OUTER = "wrong-outer"
    WRONG_SIZE = "wrong-size"
    UNREADABLE = "unreadable"
    STRAY_CONVERSATION = "stray-conversation"


@dataclass(frozen=True, slots=True)
class Wire:
    """A node's underlay interface: the agent in the node's own namespace, its name, and the address."""

    agent: Agent
    interface: str
    address: str


@dataclass(slots=True)
class _Question:
    """What stays the same for every size; only the patience ends, where nobody answers."""

    src: Peer
    dst: Peer
    near: Wire
    far: Wire
    promise: Promise
    underlay_mtu: int
    wait_s: float
    during: Callable[[str], object] | None

    def wire_bytes(self, inner: int) -> int:
        return self.promise.wire_bytes(inner, self.underlay_mtu)

    @property
    def ends(self) -> tuple[str, str]:
        """Outer source and destination where a packet leaves the near node: the far one, or the relay."""
        return self.near.address, str(self.promise.relay or self.far.address)

    @property
    def ends_back(self) -> tuple[str, str]:
        """The same for an answer, where it leaves the far node."""
        return self.far.address, str(self.promise.relay or self.near.address)


def check(
    src: Peer,
    dst: Peer,
    near: Wire,
    far: Wire,
    *,
    promise: Promise,
    underlay_mtu: int,
    sizes: Sequence[int] = (),
    members: Collection[str] = (),
    during: Callable[[str], object] | None = None,
    wait_s: float = WAIT_S,
) -> list[Finding]:
    """Ask for each inner size: ICMP both ways and UDP forward; then of what else was on the interfaces.

    `sizes` are inner IP packets in bytes; without them 84, 500, 1280, and the promised path MTU and one
    byte less. A Finding's value is the sum of the outer IP packets of one inner packet; the last one's is
    the number of conversations that nobody declared. `members` are all addresses of the overlay: where it
    promises no encapsulation, what they say to each other is not stray. `during` is called with the nonce
    (hex) while the captures are live, for a mutation: see `outside`. Raises AgentError.
    """
    start = time.monotonic()
    most = promise.path_mtu(underlay_mtu)
    chosen = sorted({size for size in sizes or (*SIZES, most - 1, most) if size <= most})
    # the first packet of a path waits for neighbours and handshakes; and an answer says what waiting is for
    alive = _echoes(src, dst, "icmp", ("", min(chosen)), 1, wait_s).answered
    asked = _Question(
        src, dst, near, far, promise, underlay_mtu, wait_s if alive else UNANSWERED_WAIT_S, during
    )
    findings: list[Finding] = []
    captures: list[Capture] = []
    for size in chosen:
        for protocol in ("icmp", "udp"):
            found, seen = _measure(asked, protocol, size)
            findings += found
            captures += seen
    allowed = {src.address, dst.address, *members} if promise.outer is None else set()
    return [*findings, _declared(asked, captures, allowed, start)]


def _measure(asked: _Question, protocol: str, size: int) -> tuple[list[Finding], list[Capture]]:
    seen: list[Capture] = []
    for attempt in range(1, ATTEMPTS + 1):
        found, captures = _once(asked, protocol, size, attempt)
        seen += captures
        if all(finding.outcome != Outcome.WRONG_SIZE for finding in found):
            break
    return found, seen


def _once(asked: _Question, protocol: str, size: int, attempt: int) -> tuple[list[Finding], list[Capture]]:
    start = time.monotonic()
    nonce = os.urandom(8).hex()
    with _capturing((asked.near, asked.far), nonce) as captures:
        echoes = _echoes(asked.src, asked.dst, protocol, (nonce, size), COUNT, asked.wait_s)
        if asked.during is not None:
            asked.during(nonce)
    if not echoes.answered:
        asked.wait_s = UNANSWERED_WAIT_S
    near, far = captures
    inner = asked.src.address, asked.dst.address
    forth = Way(asked.promise, asked.ends, inner, near, echoes.sent, echoes.refused)
    ways = [(forth, asked.src, asked.dst)]
    if protocol == "icmp" and echoes.answered:
        # an echo's answer is as large as the request; where it leaves is where it is measured
        back = Way(asked.promise, asked.ends_back, inner[::-1], far, echoes.answered)
        ways.append((back, asked.dst, asked.src))
    spent = elapsed_ms(start)
    return [
        _finding(asked, way, (a, b), {"protocol": protocol, "size": size, "attempt": attempt}, spent)
        for way, a, b in ways
    ], captures


@contextmanager
def _capturing(wires: Sequence[Wire], nonce: str) -> Iterator[list[Capture]]:
    """Capture on all wires; the list is filled when the block ends."""
    captures: list[Capture] = []
    with ExitStack() as undo:
        jobs = []
        for wire in wires:
            begun = wire.agent.call("start_sniff", timeout=SLACK_S, interface=wire.interface)
            jobs.append((wire, int(begun["sniff"])))
            undo.callback(wire.agent.call, "stop_sniff", timeout=SLACK_S, sniff=jobs[-1][1])
        yield captures
        undo.pop_all()

    def end(job: tuple[Wire, int]) -> Capture:
        agent = job[0].agent
        return Capture(str(agent), agent.call("stop_sniff", timeout=SLACK_S, sniff=job[1], nonce=nonce))

    captures += at_once(end, jobs)


@dataclass(slots=True)
class _Echoes:
    """How many packets left, how many were answered, and the last refusal."""

    sent: int = 0
    answered: int = 0
    refused: str = ""


def _echoes(src: Peer, dst: Peer, protocol: str, mark: tuple[str, int], count: int, wait_s: float) -> _Echoes:
    """Send `count` echoes one by one."""
    nonce, size = mark
    target: dict[str, Any] = {"dst": dst.address, "size": size}
    target |= {"nonce": nonce} if nonce else {}
    if protocol == "udp":
        target["port"] = dst.agent.udp_port
    done = _Echoes()
    for packet in range(count):
        patience = wait_s if done.answered == packet else UNANSWERED_WAIT_S
        args = {"targets": [target], "attempts": 1 if nonce else 2, "wait": patience}
        result = src.agent.call(f"{protocol}_echo", timeout=2 * wait_s + SLACK_S, **args)["results"][0]
        done.answered += result["outcome"] == "reply"
        if result["outcome"] == "refused":
            done.refused = refusal_text(result["error"])
        if result["outcome"] != "refused" or not result["error"]["local"]:
            done.sent += result["attempts"]
    return done


def _finding(
    asked: _Question, way: Way, ends: tuple[Peer, Peer], what: dict[str, Any], spent: float
) -> Finding:
    promised = asked.wire_bytes(what["size"])
    carriers = way.carriers()
    right = [carrier for carrier in carriers if way.promised(carrier)]
    total = sum(carrier.size for carrier in right)
    outcome, reason = _judge(way, carriers, right, (total, promised))
    return Finding(
        PROBE,
        outcome,
        total if right else None,
        "bytes",
        promised,
        src=str(ends[0]),
        dst=str(ends[1]),
        reason=f"{what['protocol']} of {what['size']} bytes: {reason}" if reason else "",
        evidence=what
        | {"sent": way.count, "carriers": [str(carrier) for carrier in carriers]}
        | {"readable_in": list(way.readable()), "lost_by_capture": way.capture.lost},
        duration_ms=spent,
    )


def _judge(
    way: Way, carriers: list[Carrier], right: list[Carrier], sizes: tuple[int, int]
) -> tuple[Outcome, str]:
    total, promised = sizes
    readable = way.readable()
    if way.promise.encrypted and readable:
        return Outcome.LEAKED_PLAIN, f"its payload is readable in {next(iter(readable))}"
    elsewhere = [place for place, rightly in readable.items() if not rightly]
    if elsewhere or (carriers and not right):
        wrong = elsewhere[0] if elsewhere else carriers[0].label
        return Outcome.WRONG_OUTER, f"it is in {wrong}, not in {way.wanted}"
    if not right:
        refused = f" ({way.refused})" if way.refused else ""
        return Outcome.NOTHING_SEEN, f"nothing on {way.capture.at} carries it{refused}"
    if total != promised:
        pieces = " + ".join(str(carrier) for carrier in right)
        return Outcome.WRONG_SIZE, f"{total} bytes on the wire ({pieces}), not {promised}"
    if not way.promise.encrypted and not readable:
        return Outcome.UNREADABLE, "its payload is not readable on the wire"
    return Outcome.OK, ""


def _declared(asked: _Question, captures: list[Capture], members: set[str], start: float) -> Finding:
    stray = strays(captures, asked.promise, members)
    return Finding(
        PROBE,
        Outcome.STRAY_CONVERSATION if stray else Outcome.OK,
        len(stray),
        "undeclared conversations",
        0,
        src=str(asked.near.agent),
        dst=str(asked.far.agent),
        reason="; ".join(stray[:3]),
        evidence={"stray": stray, "captures": len(captures)},
        duration_ms=elapsed_ms(start),
    )


def outside(near: Wire, far: Wire, nonce: str) -> None:
    """Send a marker from node to node on the bare underlay: what the check has to see.

    For `during`: `lambda nonce: outside(near, far, nonce)`.
    """
    target = {"dst": far.address, "port": far.agent.udp_port, "size": 84, "nonce": nonce}
    near.agent.call("udp_echo", timeout=SLACK_S, targets=[target])


@contextmanager
def without_offloads(*wires: Wire) -> Iterator[list[dict[str, Any]]]:
    """Switch checksum, segmentation and receive offloads off; yields what was on, and restores it."""
    off = {"tx": False, "tso": False, "gso": False, "gro": False}
    was: list[dict[str, Any]] = []
    with ExitStack() as undo:
        for wire in wires:
            done = wire.agent.call("offloads", timeout=SLACK_S, interface=wire.interface, wanted=off)
            before = done["before"]
            was.append(before)
            undo.callback(
                wire.agent.call, "offloads", timeout=SLACK_S, interface=wire.interface, wanted=before
            )
        yield was
