"""One flow of probes to one address over the kernel's own sockets.

IP_PMTUDISC_PROBE sets DF and ignores the cached path MTU; IP_RECVERR keeps every ICMP error with the
hop that sent it (ip(7)). Sockets are not connected, so an answer from a wrong address is seen, not
dropped in silence.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
import zlib

from . import wire
from .wire import Refusal, Reply

ICMP_FILTER = 1  # linux/icmp.h, level SOL_RAW
SOL_RAW = 255
ECHO_REPLY, ECHO_REQUEST = 0, 8


class Flow:
    """What ICMP and UDP flows share: a socket, a nonce, and the sequence numbers' payload CRCs."""

    def __init__(self, sock: socket.socket, dst: str, nonce: bytes | None, ttl: int | None) -> None:
        self.sock = sock
        self.dst = dst
        self.nonce = nonce or wire.new_nonce()
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_IP, wire.IP_MTU_DISCOVER, wire.PMTUDISC_PROBE)
        sock.setsockopt(socket.IPPROTO_IP, wire.IP_RECVERR, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        if ttl is not None:
            sock.setsockopt(socket.IPPROTO_IP, wire.IP_TTL, ttl)
        self.crc: dict[int, int] = {}

    def fileno(self) -> int:
        """Return the descriptor to poll."""
        return self.sock.fileno()

    def close(self) -> None:
        """Close the socket."""
        self.sock.close()

    def send(self, seq: int, size: int) -> Refusal | None:
        """Send request `seq` as an IP packet of `size` bytes; return the kernel's refusal, if any."""
        body = wire.payload(self.nonce, seq, size)
        self.crc[seq] = zlib.crc32(body)
        try:
            self._send(seq, body)
        except OSError as wrong:
            return wire.local_refusal(self.sock, seq, wrong) or self._send_again(seq, body)
        return None

    def _send_again(self, seq: int, body: bytes) -> Refusal | None:
        # a raw socket inherits the errors of its namespace's other flows: a second error is our own
        try:
            self._send(seq, body)
        except OSError as wrong:
            return wire.local_refusal(self.sock, seq, wrong) or Refusal(seq, True, wrong.errno or errno.EIO)
        return None

    def events(self) -> list[Reply | Refusal]:
        """Return what has come in, without waiting; refusals of other flows are left out."""
        found: list[Reply | Refusal] = list(self._refusals())
        while True:
            try:
                reply = self._receive()
            except OSError:
                return found
            if reply is not None:
                found.append(reply)

    def drain(self) -> None:
        """Forget what has come in: a pending error would fail the next send."""
        self.events()

    def _refusals(self) -> list[Refusal]:
        return wire.refusals(self.sock, self._quoted)

    def _quoted(self, quote: bytes) -> int | None:
        raise NotImplementedError

    def _send(self, seq: int, body: bytes) -> None:
        raise NotImplementedError

    def _receive(self) -> Reply | None:
        raise NotImplementedError


class IcmpFlow(Flow):
    """ICMP echo by a raw socket: the peer's kernel answers, no agent is needed there."""

    def __init__(self, dst: str, nonce: bytes | None = None, ttl: int | None = None) -> None:
        sock = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
        sock.setsockopt(SOL_RAW, ICMP_FILTER, struct.pack("=I", ~(1 << ECHO_REPLY) & 0xFFFFFFFF))
        super().__init__(sock, dst, nonce, ttl)
        self.ident = int.from_bytes(os.urandom(2), "big")

    def _refusals(self) -> list[Refusal]:
        # a raw socket gets the errors of every ICMP flow of its namespace
        return [entry for entry in super()._refusals() if entry.local or entry.seq is not None]

    def _quoted(self, quote: bytes) -> int | None:
        if len(quote) < 8:
            return None
        _kind, _code, _check, ident, seq = struct.unpack_from("!BBHHH", quote)
        return int(seq) if ident == self.ident else None

    def _send(self, seq: int, body: bytes) -> None:
        blank = struct.pack("!BBHHH", ECHO_REQUEST, 0, 0, self.ident, seq & 0xFFFF)
        check = wire.checksum(blank + body)
        head = struct.pack("!BBHHH", ECHO_REQUEST, 0, check, self.ident, seq & 0xFFFF)
        self.sock.sendto(head + body, (self.dst, 0))

    def _receive(self) -> Reply | None:
        data, (source, _port) = self.sock.recvfrom(1 << 16)
        start = (data[0] & 15) * 4
        _kind, _code, _check, ident, seq = struct.unpack_from("!BBHHH", data, start)
        body = data[start + 8 :]
        if ident != self.ident or body[4:12] != self.nonce:
            return None
        return Reply(seq, source, data[8], zlib.crc32(body) == self.crc.get(seq))


class UdpFlow(Flow):
    """UDP to a peer agent's responder, which acknowledges in 56 bytes: a one-way measurement."""

    def __init__(self, dst: str, port: int, nonce: bytes | None = None, ttl: int | None = None) -> None:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.setsockopt(socket.IPPROTO_IP, wire.IP_RECVTTL, 1)
        sock.bind(("", 0))
        super().__init__(sock, dst, nonce, ttl)
        self.port = port

    @property
    def local_port(self) -> int:
        """Return the source port that the responder must see."""
        return int(self.sock.getsockname()[1])

    def _quoted(self, quote: bytes) -> int | None:
        # hops may quote 8 bytes only, the UDP header: then the request is not known
        mark = quote[: wire.MARK.size]
        if len(mark) < wire.MARK.size or mark[4:12] != self.nonce:
            return None
        return int(wire.MARK.unpack(mark)[2])

    def _send(self, seq: int, body: bytes) -> None:
        self.sock.sendto(body, (self.dst, self.port))

    def _receive(self) -> Reply | None:
        data, extra, _flags, (source, _port) = self.sock.recvmsg(2048, 128)
        if len(data) != wire.ACK.size:
            return None
        magic, nonce, seq, ttl, address, port, length, crc = wire.ACK.unpack(data)
        if (magic, nonce) != (wire.ANSWER, self.nonce):
            return None
        seen = {"source": socket.inet_ntoa(address), "port": port, "ttl": ttl, "length": length}
        return Reply(seq, source, ttl_of(extra), crc == self.crc.get(seq), seen)


def ttl_of(extra: list[tuple[int, int, bytes]]) -> int:
    """Return the TTL from a datagram's ancillary data (IP_RECVTTL), 0 when it is not there."""
    for level, kind, value in extra:
        if (level, kind) == (socket.IPPROTO_IP, wire.IP_TTL):
            return int(struct.unpack("=i", value[:4])[0])
    return 0
