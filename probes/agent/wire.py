"""What the probes put on the wire, and how the kernel reports that it was refused.

A request carries `OVLQ`, an 8-byte nonce and a 2-byte sequence number; an answer `OVLA` and the same.
Both are readable in a capture, also inside an encapsulation that does not encrypt.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

REQUEST, ANSWER, STREAM, COUNTED = b"OVLQ", b"OVLA", b"OVLT", b"OVLG"
STREAM_HEAD = struct.Struct("!4s8sQ")  # magic, nonce, length (0 where it is not known beforehand)
HEADERS = 28  # IPv4 without options + UDP, and IPv4 + ICMP echo alike
MARK = struct.Struct("!4s8sH")
# mark, TTL seen, source address and port seen, payload length, CRC-32 of the payload
ACK = struct.Struct("!4s8sHB4sHHI")
SMALLEST = HEADERS + MARK.size

# linux/in.h; the socket module does not name them all
IP_TTL, IP_PKTINFO, IP_MTU_DISCOVER, IP_RECVERR, IP_RECVTTL = 2, 8, 10, 11, 12
PMTUDISC_PROBE = 3
MSG_ERRQUEUE = 0x2000
ORIGIN_LOCAL, ORIGIN_ICMP = 1, 2
ICMP_UNREACHABLE, ICMP_TIME_EXCEEDED, ICMP_FRAG_NEEDED = 3, 11, 4

SeqOf = Callable[[bytes], int | None]

# RFC 792, RFC 1812 section 5.2.7.1
UNREACHABLE_CODES = {
    0: "net-unreachable",
    1: "host-unreachable",
    2: "protocol-unreachable",
    3: "port-unreachable",
    4: "frag-needed",
    9: "net-prohibited",
    10: "host-prohibited",
    13: "admin-prohibited",
}


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer: which request, from where, its TTL, intact or not, and what the responder saw."""

    seq: int
    source: str
    ttl: int
    intact: bool
    seen: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """An error the kernel holds for us: by itself (local), or from a hop by ICMP."""

    seq: int | None
    local: bool
    errno: int
    type: int = 0
    code: int = 0
    mtu: int = 0
    hop: str = ""

    @property
    def frag_needed(self) -> bool:
        """True when a hop said that the packet is too big for its next link."""
        return not self.local and (self.type, self.code) == (ICMP_UNREACHABLE, ICMP_FRAG_NEEDED)

    @property
    def too_big(self) -> bool:
        """True when the packet was refused for its size, here or at a hop."""
        return self.errno == errno.EMSGSIZE

    def name(self) -> str:
        """Return the error's name: an ICMP code's, or the errno's."""
        if not self.local and self.type == ICMP_UNREACHABLE:
            return UNREACHABLE_CODES.get(self.code, f"unreachable-code-{self.code}")
        if not self.local and self.type == ICMP_TIME_EXCEEDED:
            return "ttl-exceeded"
        return errno.errorcode.get(self.errno, str(self.errno))

    def data(self) -> dict[str, Any]:
        """Return the refusal as JSON data."""
        return {"name": self.name(), "hop": self.hop, "mtu": self.mtu, "local": self.local}


def payload(nonce: bytes, seq: int, size: int) -> bytes:
    """Return the payload that makes an IP packet of `size` bytes; ValueError below the smallest."""
    room = size - HEADERS
    if room < MARK.size:
        raise ValueError(f"a probe has at least {SMALLEST} bytes, not {size}")
    mark = MARK.pack(REQUEST, nonce, seq & 0xFFFF)
    return mark + bytes(i & 0xFF for i in range(room - MARK.size))


def acknowledge(data: bytes, source: tuple[str, int], ttl: int) -> bytes | None:
    """Return the responder's answer to `data`, or None when it is not a request of ours."""
    if len(data) < MARK.size:
        return None
    magic, nonce, seq = MARK.unpack_from(data)
    if magic != REQUEST:
        return None
    address = socket.inet_aton(source[0])
    return ACK.pack(ANSWER, nonce, seq, ttl, address, source[1], len(data), zlib.crc32(data))


def checksum(data: bytes) -> int:
    """Return the Internet checksum (RFC 1071)."""
    if len(data) % 2:
        data += b"\0"
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def refusals(sock: socket.socket, seq_of: SeqOf) -> list[Refusal]:
    """Empty the socket's error queue and its pending error (or the next send fails with it).

    `seq_of` finds the sequence number in what the error quotes of our packet, after its IP header.
    """
    found: list[Refusal] = []
    while True:
        try:
            data, extra, _flags, _dst = sock.recvmsg(2048, 512, MSG_ERRQUEUE | socket.MSG_DONTWAIT)
        except OSError:
            break
        for level, kind, value in extra:
            if (level, kind) == (socket.IPPROTO_IP, IP_RECVERR) and len(value) >= 16:
                found.append(_extended(value, seq_of(data)))
    sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    return found


def _extended(value: bytes, seq: int | None) -> Refusal:
    number, origin, kind, code, info = struct.unpack_from("=IBBBxI", value)
    hop = ""
    if len(value) >= 24 and struct.unpack_from("=H", value, 16)[0] == socket.AF_INET:
        hop = socket.inet_ntoa(value[20:24])
    return Refusal(seq, origin == ORIGIN_LOCAL, number, kind, code, info, hop)


def local_refusal(sock: socket.socket, seq: int, wrong: OSError) -> Refusal | None:
    """Turn a failed send into a Refusal: the error queue holds the size that the kernel would take.

    None when the error is not in the queue: it may be another flow's, pending on this socket.
    """
    for queued in refusals(sock, lambda _quote: None):
        if queued.local and queued.errno == wrong.errno:
            return Refusal(seq, True, queued.errno, mtu=queued.mtu)
    return None


def new_nonce() -> bytes:
    """Return 8 random bytes."""
    return os.urandom(8)
