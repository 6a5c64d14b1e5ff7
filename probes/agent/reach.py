"""Reachability from this namespace: ICMP echo, UDP nonce, TCP data, names; many targets at once.

Each target ends as {"dst", "outcome", "attempts", ...}; outcome is reply, timeout or refused. A refusal
is tried again before it counts, since the first packet of a path may meet an unresolved neighbour.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import select
import socket
import time
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotDone
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import netlink, wire
from .flows import Flow, IcmpFlow, UdpFlow
from .wire import Refusal, Reply

ATTEMPTS = 2
WAIT_S = 1.2  # an attempt; above a proxy's random ARP delay of up to 0.8 s
PAUSE_S = 0.25  # after a refusal
Target = dict[str, Any]
Result = dict[str, Any]


@dataclass(slots=True)
class Track:
    """One target under way: when it is due for its next attempt, or for giving up."""

    flow: Flow
    size: int
    due: float
    sent: list[float] = field(default_factory=list)
    refusal: Refusal | None = None
    result: Result | None = None


def icmp_echo(targets: list[Target], attempts: int = ATTEMPTS, wait: float = WAIT_S) -> dict[str, Any]:
    """Echo to every {"dst", "size", "nonce"?, "ttl"?} at once; sizes are IP packets in bytes."""
    flows: list[Flow] = [IcmpFlow(t["dst"], _nonce(t), t.get("ttl")) for t in targets]
    return {"results": _echo(flows, targets, attempts, wait)}


def udp_echo(targets: list[Target], attempts: int = ATTEMPTS, wait: float = WAIT_S) -> dict[str, Any]:
    """Send a nonce to the responder at every {"dst", "port", "size", "nonce"?, "ttl"?}; DF is set."""
    flows: list[Flow] = [UdpFlow(t["dst"], t["port"], _nonce(t), t.get("ttl")) for t in targets]
    return {"results": _echo(flows, targets, attempts, wait)}


def udp_train(
    dst: str, port: int, count: int = 5, size: int = 64, ttl: int = 64, wait: float = WAIT_S
) -> dict[str, Any]:
    """Send `count` requests of one flow (one five-tuple), one after the other; one result each."""
    flow = UdpFlow(dst, port, ttl=ttl)
    results: list[Result] = []
    try:
        for seq in range(count):
            track = Track(flow, size, time.monotonic())
            _run([track], ATTEMPTS, wait, first_seq=seq * ATTEMPTS)
            results.append(_finish(track, dst))
            if results[-1]["outcome"] != "reply":
                break
        return {"results": results, "local_port": flow.local_port}
    finally:
        flow.close()


def _nonce(target: Target) -> bytes | None:
    return bytes.fromhex(target["nonce"]) if "nonce" in target else None


def _echo(flows: list[Flow], targets: list[Target], attempts: int, wait: float) -> list[Result]:
    now = time.monotonic()
    tracks = [Track(flow, int(t.get("size", 64)), now) for flow, t in zip(flows, targets, strict=True)]
    try:
        _run(tracks, attempts, wait)
        return [_finish(track, target["dst"]) for track, target in zip(tracks, targets, strict=True)]
    finally:
        for flow in flows:
            flow.close()


def _run(tracks: list[Track], attempts: int, wait: float, first_seq: int = 0) -> None:
    poller = select.poll()
    byte_fd = {track.flow.fileno(): track for track in tracks}
    for fd in byte_fd:
        poller.register(fd, select.POLLIN)
    open_tracks = list(tracks)
    while open_tracks:
        now = time.monotonic()
        for track in [t for t in open_tracks if t.due <= now]:
            if len(track.sent) == attempts:
                open_tracks.remove(track)
            else:
                _attempt(track, first_seq, wait)
        if not open_tracks:
            return
        delay = max(0.0, min(track.due for track in open_tracks) - time.monotonic())
        for fd, _mask in poller.poll(delay * 1000 + 1):
            _take(byte_fd[fd], first_seq)
        open_tracks = [track for track in open_tracks if track.result is None]


def _attempt(track: Track, first_seq: int, wait: float) -> None:
    now = time.monotonic()
    seq = first_seq + len(track.sent)
    track.sent.append(now)
    track.due = now + wait
    refusal = track.flow.send(seq, track.size)
    if refusal is not None:
        track.refusal, track.due = refusal, now + PAUSE_S


def _take(track: Track, first_seq: int) -> None:
    for event in track.flow.events():
        now = time.monotonic()
        if isinstance(event, Refusal):
            track.refusal, track.due = event, min(track.due, now + PAUSE_S)
            continue
        at = event.seq - first_seq
        if track.result is None and 0 <= at < len(track.sent):
            track.result = _answered(track, event, now - track.sent[at])


def _answered(track: Track, reply: Reply, rtt: float) -> Result:
    result: Result = {"outcome": "reply", "source": reply.source, "ttl": reply.ttl, "intact": reply.intact}
    result |= {"rtt_ms": round(rtt * 1000, 3), "seen": reply.seen}
    if isinstance(track.flow, UdpFlow):
        result["local_port"] = track.flow.local_port
    return result


def _finish(track: Track, dst: str) -> Result:
    result = track.result
    if result is None and track.refusal is not None:
        result = {"outcome": "refused", "error": track.refusal.data()}
    elif result is None:
        result = {"outcome": "timeout", "next_hop": netlink.next_hop(dst)}
    return {"dst": dst, "size": track.size, "attempts": len(track.sent)} | result


def tcp_echo(targets: list[Target], wait: float = ATTEMPTS * WAIT_S) -> dict[str, Any]:
    """Send data to the responder at every {"dst", "port", "bytes" or "segments" (of the MSS)} at once.

    A result has stage (connect or transfer), source and port as seen there, local, mss, length, intact,
    stall_ms (the longest pause at the receiver) and ms. `wait` is the limit of each stage, in seconds.
    """
    with ThreadPoolExecutor(max(1, min(64, len(targets)))) as pool:
        return {"results": list(pool.map(lambda target: _stream(target, wait), targets))}


def _stream(target: Target, wait: float) -> Result:
    result: Result = {"dst": target["dst"], "attempts": 0, "stage": "connect"}
    try:
        with _connect(target, wait, result) as sock:
            result["stage"] = "transfer"
            return result | _transfer(sock, target)
    except TimeoutError:
        result |= {"outcome": "timeout", "next_hop": netlink.next_hop(target["dst"])}
    except (OSError, ValueError) as wrong:
        name = errno.errorcode.get(getattr(wrong, "errno", None) or 0, type(wrong).__name__)
        result |= {"outcome": "refused", "error": {"name": name, "hop": "", "mtu": 0, "local": True}}
    return result


def _connect(target: Target, wait: float, result: Result) -> socket.socket:
    until = time.monotonic() + wait
    while True:
        result["attempts"] += 1
        try:
            return socket.create_connection((target["dst"], target["port"]), wait)
        except TimeoutError:
            raise
        except OSError:
            if result["attempts"] >= ATTEMPTS or time.monotonic() + PAUSE_S > until:
                raise
            select.select([], [], [], PAUSE_S)


def _transfer(sock: socket.socket, target: Target) -> Result:
    start, mss = time.monotonic(), sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG)
    length = int(target["bytes"]) if "bytes" in target else int(target["segments"]) * mss
    digest, left = hashlib.sha256(), length
    sock.sendall(wire.STREAM_HEAD.pack(wire.STREAM, wire.new_nonce(), length))
    while left:
        block = os.urandom(min(left, 1 << 16))
        digest.update(block)
        sock.sendall(block)
        left -= len(block)
    with sock.makefile("rb") as lines:
        seen = _report(lines.readline())
    local = sock.getsockname()
    return {
        "outcome": "reply",
        "seen": {"source": seen["source"], "port": seen["port"]} if "source" in seen else None,
        "source": sock.getpeername()[0],
        "local": local[0],
        "local_port": local[1],
        "mss": mss,
        "length": length,
        "intact": seen.get("sha256") == digest.hexdigest(),
        "stall_ms": seen.get("stall_ms"),
        "ms": round((time.monotonic() - start) * 1000, 3),
    }


def _report(line: bytes) -> dict[str, Any]:
    """Read the responder's line; what cannot be read was changed on the way back."""
    if not line:
        raise ConnectionResetError(errno.ECONNRESET, "closed without an answer")
    try:
        seen = json.loads(line)
    except ValueError:
        return {}
    return seen if isinstance(seen, dict) else {}


def resolve(names: list[str], wait: float = ATTEMPTS * WAIT_S) -> dict[str, Any]:
    """Resolve every name as an application here would (getaddrinfo, IPv4): addresses, or an error."""
    pool = ThreadPoolExecutor(max(1, min(64, len(names))))
    until = time.monotonic() + wait
    asked = [(name, pool.submit(_addresses, name)) for name in names]
    results = [{"name": name} | _resolved(answer, until) for name, answer in asked]
    pool.shutdown(wait=False)  # a resolver that hangs ends by itself
    return {"results": results}


def _addresses(name: str) -> list[str]:
    found = socket.getaddrinfo(name, None, socket.AF_INET, socket.SOCK_STREAM)
    return [str(entry[4][0]) for entry in found]


def _resolved(answer: Future[list[str]], until: float) -> Result:
    try:
        return {"outcome": "reply", "addresses": answer.result(max(0.0, until - time.monotonic()))}
    except NotDone:
        return {"outcome": "timeout", "addresses": []}
    except OSError as wrong:
        return {"outcome": "refused", "addresses": [], "error": {"name": str(wrong.strerror or wrong)}}


def ip_counters() -> dict[str, int]:
    """Return this namespace's `Ip:` counters of /proc/net/snmp by name (RFC 4293)."""
    rows = [line.split() for line in Path("/proc/thread-self/net/snmp").read_text().splitlines()]
    names, values = (row for row in rows if row[0] == "Ip:")
    return {name: int(value) for name, value in zip(names[1:], values[1:], strict=True)}
