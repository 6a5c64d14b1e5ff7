"""TCP for some seconds, on several streams, counted where it arrives.

What is sent and thrown away are large buffers in blocking calls, during which Python's lock is free: the
kernel is the limit. The sender ends its side after its time; the receiver's clock starts with the first
byte and ends with the last, so that what was still in the sender's buffer is counted with its time.
"""

from __future__ import annotations

import errno
import json
import socket
import struct
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from . import netlink, wire

CONNECT_S = 2.4
IDLE_S = 3.0  # no progress for so long: the stream has died
BUFFER = 1 << 18
MARK_S = 0.05
TCP_INFO, TOTAL_RETRANS = 11, 100  # linux/tcp.h, tcpi_total_retrans


def count(client: socket.socket) -> dict[str, Any]:
    """Receive until the other side ends; return bytes, start and end (s, this host's monotonic clock).

    `marks` are [time, bytes so far] about every 50 ms. `ended` is false when the stream died.
    """
    client.settimeout(None)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _timeval(IDLE_S))
    room = bytearray(BUFFER)
    marks: list[list[float]] = []
    total, start, end, ended = 0, 0.0, 0.0, False
    while True:
        try:
            got = client.recv_into(room)
        except OSError:
            break
        if not got:
            ended = True
            break
        end = time.monotonic()
        total += got
        start = start or end
        if end - (marks[-1][0] if marks else 0.0) >= MARK_S:
            marks.append([end, total])
    if total and marks[-1][0] != end:
        marks.append([end, total])
    return {"bytes": total, "start": start, "end": end, "marks": marks, "ended": ended}


def goodput(
    dst: str, port: int, seconds: float = 5.0, streams: int = 1, idle: float = IDLE_S
) -> dict[str, Any]:
    """Send to the TCP responder at `dst` on `streams` connections at once, for `seconds`.

    `idle` seconds without progress end it. Returns outcome (reply, timeout, refused), stage (connect,
    transfer), streams (the receiver's count of each), retransmitted (segments, all streams), next_hop
    where nothing answers.
    """
    links: list[socket.socket] = []
    try:
        for _ in range(streams):
            links.append(socket.create_connection((dst, port), CONNECT_S))  # noqa: PERF401 - closed below
    except OSError as wrong:
        _close(links)
        return _failed("connect", dst, wrong)
    ready = threading.Barrier(streams)
    try:
        with ThreadPoolExecutor(streams) as pool:
            counted = list(pool.map(lambda link: _send(link, ready, seconds, idle), links))
    except (OSError, ValueError) as wrong:
        return _failed("transfer", dst, wrong)
    finally:
        again = _retransmitted(links)
        _close(links)
    return {"outcome": "reply", "stage": "transfer", "streams": counted, "retransmitted": again}


def _send(link: socket.socket, ready: threading.Barrier, seconds: float, idle: float) -> dict[str, Any]:
    # blocking, with the kernel's own time limit: Python's would make every send a poll and a part
    link.settimeout(None)
    link.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _timeval(idle))
    block = memoryview(bytes(BUFFER))
    ready.wait(CONNECT_S)
    link.sendall(wire.STREAM_HEAD.pack(wire.COUNTED, wire.new_nonce(), 0))
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if not link.send(block):
            raise ConnectionResetError(errno.ECONNRESET, "nothing was taken")
    link.shutdown(socket.SHUT_WR)
    link.settimeout(2 * idle)  # what is in the buffers has to drain first
    with link.makefile("rb") as lines:
        line = lines.readline()
    if not line:
        raise ConnectionResetError(errno.ECONNRESET, "closed without an answer")
    answer: dict[str, Any] = json.loads(line)
    return answer


def _timeval(seconds: float) -> bytes:
    return struct.pack("@ll", int(seconds), int(seconds % 1 * 1e6))


def _failed(stage: str, dst: str, wrong: Exception) -> dict[str, Any]:
    number = getattr(wrong, "errno", None) or 0
    if isinstance(wrong, TimeoutError) or number == errno.EAGAIN:
        return {"outcome": "timeout", "stage": stage, "streams": [], "next_hop": netlink.next_hop(dst)}
    name = errno.errorcode.get(number, type(wrong).__name__)
    error = {"name": name, "hop": "", "mtu": 0, "local": True}
    return {"outcome": "refused", "stage": stage, "streams": [], "error": error}


def _retransmitted(links: list[socket.socket]) -> int:
    total = 0
    for link in links:
        info = link.getsockopt(socket.IPPROTO_TCP, TCP_INFO, 256)
        if len(info) >= TOTAL_RETRANS + 4:
            total += struct.unpack_from("=I", info, TOTAL_RETRANS)[0]
    return total


def _close(links: list[socket.socket]) -> None:
    for link in links:
        link.close()
