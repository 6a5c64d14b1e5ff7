"""Round-trip times on a fixed schedule, from the kernel's receive stamps.

Each request has an intended time, and its latency counts from that: a sender that was held up (by the
network's own queue, or by its host) would otherwise leave out exactly the slow moments. The answer's time
is the kernel's (SO_TIMESTAMPNS), so that the time until this process is woken is not counted.
Source: socket(7), Documentation/networking/timestamping.rst.
"""

from __future__ import annotations

import select
import socket
import struct
import time
from typing import Any

from . import netlink, wire

SO_TIMESTAMPNS = 35
SPIN_NS = 200_000  # a sleep ends late by about this much; the rest is spent awake
LAST_ANSWERS_S = 1.0
MOST = 1 << 16


def latency(
    dst: str,
    port: int,
    seconds: float = 5.0,
    rate: float = 100.0,
    size: int = 64,
    wait: float = LAST_ANSWERS_S,
) -> dict[str, Any]:
    """Send `rate` requests a second to the UDP responder there, and return every sample.

    Returns samples_us (in the order of sending, None where no answer came), sent, lost, late_us (how much
    later than intended the latest request left), next_hop when nothing came back. `size` is the IP
    packet's; the last answers have `wait` seconds; a request that the kernel refuses counts as lost.
    """
    count = max(1, int(seconds * rate))
    if count > MOST:
        raise ValueError(f"at most {MOST} requests, not {count}: their numbers have 16 bits")
    nonce = wire.new_nonce()
    came: dict[int, int] = {}
    late = 0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        sock.bind(("", 0))
        sock.setblocking(False)
        start = time.time_ns() + 2_000_000
        due = [start + int(i * 1e9 / rate) for i in range(count)]
        for seq, intended in enumerate(due):
            body = wire.payload(nonce, seq, size)
            _listen(sock, nonce, came, intended - SPIN_NS)
            while time.time_ns() < intended:
                pass
            late = max(late, time.time_ns() - intended)
            try:
                sock.sendto(body, (dst, port))
            except OSError:
                continue
        end = time.time_ns() + int(wait * 1e9)
        while len(came) < count and time.time_ns() < end:
            _listen(sock, nonce, came, min(end, time.time_ns() + 20_000_000))
    samples = [round((came[i] - due[i]) / 1000, 1) if i in came else None for i in range(count)]
    result = {"samples_us": samples, "sent": count, "lost": count - len(came), "late_us": late // 1000}
    return result | ({} if came else {"next_hop": netlink.next_hop(dst)})


def _listen(sock: socket.socket, nonce: bytes, came: dict[int, int], until: int) -> None:
    """Note the stamps of what comes, until a moment (ns of the real-time clock)."""
    while (left := until - time.time_ns()) > 0:
        if not select.select([sock], [], [], left / 1e9)[0]:
            return
        try:
            data, extra, _flags, _source = sock.recvmsg(2048, 128)
        except OSError:
            continue  # an ICMP error for an earlier request, which stays unanswered
        if len(data) != wire.ACK.size:
            continue
        magic, of, seq, *_seen = wire.ACK.unpack(data)
        stamp = _stamp(extra)
        if (magic, of) == (wire.ANSWER, nonce) and stamp:
            came.setdefault(seq, stamp)


def _stamp(extra: list[tuple[int, int, bytes]]) -> int:
    for level, kind, value in extra:
        if (level, kind) == (socket.SOL_SOCKET, SO_TIMESTAMPNS):
            seconds, nanoseconds = struct.unpack("=qq", value[:16])
            return int(seconds * 1_000_000_000 + nanoseconds)
    return 0
