"""Frames as captured, decoded as far as the probes need: link, ARP, IPv4 and IPv6, ports.

Layouts: RFC 791, RFC 8200, RFC 826, packet(7).
"""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass
from typing import Any

ETHERNET, LOOPBACK = 1, 772  # ARPHRD; both have a 14-byte link header, tun and WireGuard have none
OTHER_HOST, OUTGOING = 3, 4  # packet types: to another link address; sent from here
WITH_PORTS = (6, 17)


@dataclass(slots=True)
class Frame:
    """One captured packet; ports are 0 where there are none, link addresses '' likewise.

    `direction` is in, out, or other: it came, but to another link address (as on a bridge's port).
    """

    data: bytes
    hardware: int
    direction: str
    time: float
    link_src: str = ""
    link_dst: str = ""
    src: str = ""
    dst: str = ""
    ttl: int = 0
    protocol: int = 0
    sport: int = 0
    dport: int = 0
    length: int = 0
    fragment: bool = False
    ident: int = 0
    payload_at: int = 0
    arp: dict[str, Any] | None = None

    def shown(self) -> dict[str, Any]:
        """Return the fields as JSON data, without the bytes."""
        return {
            "time": self.time,
            "dir": self.direction,
            "link_src": self.link_src,
            "link_dst": self.link_dst,
            "src": self.src,
            "dst": self.dst,
            "ttl": self.ttl,
            "protocol": self.protocol,
            "sport": self.sport,
            "dport": self.dport,
            "length": self.length,
            "fragment": self.fragment,
        }


def decode(data: bytes, address: tuple[Any, ...], stamp: float) -> Frame | None:
    """Decode one frame; `address` is its packet-socket address. None for what is not IP or ARP."""
    _interface, ethertype, direction, hardware, _source = address
    frame = Frame(data, hardware, {OUTGOING: "out", OTHER_HOST: "other"}.get(direction, "in"), stamp)
    start = 0
    if hardware in (ETHERNET, LOOPBACK):
        start = 14
        frame.link_dst, frame.link_src = data[:6].hex(":"), data[6:12].hex(":")
    try:
        if ethertype == 0x0806:
            _arp(frame, data[start:])
        elif ethertype == 0x0800:
            _ipv4(frame, start)
        elif ethertype == 0x86DD:
            _ipv6(frame, start)
        else:
            return None
    except (struct.error, IndexError):
        return None
    return frame


def _arp(frame: Frame, data: bytes) -> None:
    (op,) = struct.unpack_from("!H", data, 6)
    sender, target = data[8:14], data[18:24]
    frame.arp = {
        "op": {1: "who-has", 2: "is-at"}.get(op, str(op)),
        "sender": socket.inet_ntoa(data[14:18]),
        "sender_mac": sender.hex(":"),
        "target": socket.inet_ntoa(data[24:28]),
        "target_mac": target.hex(":"),
        "time": frame.time,
    }


def _ipv4(frame: Frame, start: int) -> None:
    data = frame.data
    header = (data[start] & 15) * 4
    frame.length, frame.ident, offset = struct.unpack_from("!HHH", data, start + 2)
    frame.ttl, frame.protocol = data[start + 8], data[start + 9]
    frame.src = socket.inet_ntoa(data[start + 12 : start + 16])
    frame.dst = socket.inet_ntoa(data[start + 16 : start + 20])
    frame.fragment = bool(offset & 0x3FFF)
    _ports(frame, start + header, first=not offset & 0x1FFF)


def _ipv6(frame: Frame, start: int) -> None:
    data = frame.data
    payload, frame.protocol, frame.ttl = struct.unpack_from("!HBB", data, start + 4)
    frame.length = 40 + payload
    frame.src = socket.inet_ntop(socket.AF_INET6, data[start + 8 : start + 24])
    frame.dst = socket.inet_ntop(socket.AF_INET6, data[start + 24 : start + 40])
    _ports(frame, start + 40, first=True)


def _ports(frame: Frame, at: int, *, first: bool) -> None:
    frame.payload_at = at + 8
    if first and frame.protocol in WITH_PORTS:
        frame.sport, frame.dport = struct.unpack_from("!HH", frame.data, at)
