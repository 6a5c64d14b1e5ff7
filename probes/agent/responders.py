"""Always-on responders, on ephemeral ports of all addresses, each in a thread of its own.

UDP: a request of ours is acknowledged with what was seen of it (source, port, TTL, length, CRC-32).
TCP: `OVLT`, 8 bytes nonce, 8 bytes length, then that many bytes; answered with one JSON line
{"source", "port", "length", "sha256", "stall_ms"}. `OVLG` begins a stream without end, which is counted:
see streams.py.
"""

from __future__ import annotations

import hashlib
import json
import socket
import struct
import threading
import time

from . import streams, wire
from .flows import ttl_of

IDLE_S = 30.0


class Responders:
    """The two sockets; bound when made, served after `start()`."""

    def __init__(self) -> None:
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.setsockopt(socket.IPPROTO_IP, wire.IP_RECVTTL, 1)
        self.udp.setsockopt(socket.IPPROTO_IP, wire.IP_PKTINFO, 1)
        self.udp.bind(("", 0))
        self.tcp = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self.tcp.bind(("", 0))
        self.tcp.listen(64)
        self.udp_port = int(self.udp.getsockname()[1])
        self.tcp_port = int(self.tcp.getsockname()[1])

    def start(self) -> None:
        """Serve from now on."""
        for serve in (self._serve_udp, self._serve_tcp):
            threading.Thread(target=serve, daemon=True).start()

    def _serve_udp(self) -> None:
        while True:
            try:
                data, extra, _flags, source = self.udp.recvmsg(1 << 16, 256)
                answer = wire.acknowledge(data, source, ttl_of(extra))
                if answer is not None:
                    self.udp.sendmsg([answer], _answer_from(extra), 0, source)
            except OSError:
                # an ICMP error for an earlier answer is raised here; it says nothing of this request
                continue

    def _serve_tcp(self) -> None:
        while True:
            try:
                client, source = self.tcp.accept()
            except OSError:
                continue
            threading.Thread(target=_swallow, args=(client, source), daemon=True).start()


def _answer_from(extra: list[tuple[int, int, bytes]]) -> list[tuple[int, int, bytes]]:
    """Answer from the address that was asked: on a host with several the kernel would choose another."""
    for level, kind, value in extra:
        if (level, kind) == (socket.IPPROTO_IP, wire.IP_PKTINFO):
            _index, local, _dst = struct.unpack("=I4s4s", value[:12])
            return [(socket.IPPROTO_IP, wire.IP_PKTINFO, struct.pack("=I4s4s", 0, local, b"\0" * 4))]
    return []


def _swallow(client: socket.socket, source: tuple[str, int]) -> None:
    with client:
        client.settimeout(IDLE_S)
        try:
            head = _exactly(client, wire.STREAM_HEAD.size)
            magic, _nonce, length = wire.STREAM_HEAD.unpack(head)
            if magic == wire.COUNTED:
                client.sendall(json.dumps(streams.count(client)).encode() + b"\n")
                return
            if magic != wire.STREAM:
                return
            digest, stall = _drink(client, length)
            answer = {"source": source[0], "port": source[1], "length": length}
            answer |= {"sha256": digest, "stall_ms": round(stall * 1000, 3)}
            client.sendall(json.dumps(answer).encode() + b"\n")
        except OSError:
            return


def _exactly(client: socket.socket, length: int) -> bytes:
    data = b""
    while len(data) < length:
        more = client.recv(length - len(data))
        if not more:
            raise ConnectionResetError("closed in mid-stream")
        data += more
    return data


def _drink(client: socket.socket, length: int) -> tuple[str, float]:
    digest, left, stall, last = hashlib.sha256(), length, 0.0, time.monotonic()
    while left:
        more = client.recv(min(left, 1 << 16))
        if not more:
            raise ConnectionResetError("closed in mid-stream")
        digest.update(more)
        left -= len(more)
        now = time.monotonic()
        stall, last = max(stall, now - last), now
    return digest.hexdigest(), stall
