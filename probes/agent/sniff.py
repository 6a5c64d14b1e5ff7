"""Packets as they pass an interface: a packet socket, a kernel filter, and decoding on demand.

The socket is bound only after its filter is in place, and it is live when `start_sniff` answers; what
comes stays in its buffer, with kernel timestamps, until `stop_sniff` reads it. The filter addresses the
network header (SKF_NET_OFF), so it is the same on Ethernet and on interfaces without link header (a
WireGuard or tun device). Sources: packet(7), linux/filter.h, Documentation/networking/filter.rst.
"""

from __future__ import annotations

import base64
import ctypes
import itertools
import socket
import struct
import threading
from collections import Counter
from dataclasses import dataclass
from typing import Any

from . import wire
from .decode import Frame, decode

SO_ATTACH_FILTER, SO_RCVBUFFORCE, SO_TIMESTAMPNS, SOL_PACKET, PACKET_STATISTICS = 26, 33, 35, 263, 6
ETH_P_ALL, ETH_P_IP, ETH_P_ARP, ETH_P_IPV6 = 3, 0x0800, 0x0806, 0x86DD
AD_PROTOCOL, NET = 0xFFFFF000, 0xFFF00000  # SKF_AD_OFF + SKF_AD_PROTOCOL, SKF_NET_OFF
LD_H, LD_B, JEQ, RET = 0x28, 0x30, 0x15, 0x06
BUFFER = 32 << 20
PROTOCOLS = {"icmp": 1, "ipip": 4, "tcp": 6, "udp": 17, "gre": 47, "esp": 50}
SHOWN = 200

_numbers = itertools.count(1)
_open: dict[int, Sniffer] = {}
_lock = threading.Lock()


@dataclass(slots=True)
class Sniffer:
    """A live packet socket on one interface."""

    sock: socket.socket
    interface: str


def program(protocols: list[int]) -> bytes:
    """Return a classic BPF program: ARP, and IPv4 or IPv6 packets of these protocols (any, when none)."""
    count = len(protocols)
    keep, drop = 5 + 2 * count + 2, 5 + 2 * count + 1

    def step(op: int, value: int, at: int, yes: int = 0, no: int = 0) -> bytes:
        return struct.pack("=HBBI", op, yes - at - 1 if yes else 0, no - at - 1 if no else 0, value)

    lines = [
        step(LD_H, AD_PROTOCOL, 0),
        step(JEQ, ETH_P_ARP, 1, keep),
        step(JEQ, ETH_P_IP, 2, 4 if count else keep),
        step(JEQ, ETH_P_IPV6, 3, 5 + count if count else keep, drop),
        step(LD_B, NET + 9, 4),
    ]
    lines += [step(JEQ, number, 5 + i, keep, 0) for i, number in enumerate(protocols)]
    # falls through from IPv4: an IPv4 packet that did not match must not be read as IPv6
    at = 5 + count
    if count:
        lines[-1] = step(JEQ, protocols[-1], at - 1, keep, drop)
    lines.append(step(LD_B, NET + 6, at))
    lines += [step(JEQ, number, at + 1 + i, keep, 0) for i, number in enumerate(protocols)]
    lines.append(step(RET, 0, drop))
    lines.append(step(RET, 0x40000, keep))
    return b"".join(lines)


def start_sniff(interface: str, protocols: list[str] | None = None) -> dict[str, Any]:
    """Capture ARP and the named IP protocols (all when none) on `interface` from now on; {"sniff": n}."""
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    try:
        code = ctypes.create_string_buffer(program([PROTOCOLS[name] for name in protocols or []]))
        length = (len(code) - 1) // 8
        head = struct.pack("@HP", length, ctypes.addressof(code))
        sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, head)
        sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER)
        sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        sock.bind((interface, ETH_P_ALL))
    except OSError:
        sock.close()
        raise
    number = next(_numbers)
    with _lock:
        _open[number] = Sniffer(sock, interface)
    return {"sniff": number}


def stop_sniff(
    sniff: int,
    nonce: str = "",
    flow: dict[str, Any] | None = None,
    at_least: int = 0,
    raw: bool = False,
) -> dict[str, Any]:
    """Close capture `sniff` and return what matched.

    `nonce` (hex) keeps packets that carry it, encapsulated or not; `flow` ({"protocol", "port"?, "ends"?})
    keeps outer packets of a flow, of at least `at_least` bytes; neither keeps all. ARP is returned apart.
    Returns interface, count, packets (the first 200, with "raw" base64 when asked), arp, lost (by the
    socket) and conversations: counts, bytes and sizes ({length: count}) of every pair of addresses,
    protocol and ports seen; later fragments of an IPv4 packet count with the ports of its first.
    """
    with _lock:
        sniffer = _open.pop(sniff)
    with sniffer.sock as sock:
        frames = _read(sock)
        _seen, lost = struct.unpack("=II", sock.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8))
    mark = bytes.fromhex(nonce)
    packets = [frame for frame in frames if frame.arp is None and _wanted(frame, mark, flow, at_least)]
    return {
        "interface": sniffer.interface,
        "count": len(packets),
        "packets": [_shown(frame, mark, raw) for frame in packets[:SHOWN]],
        "arp": [frame.arp | {"dir": frame.direction} for frame in frames if frame.arp is not None][:SHOWN],
        "lost": lost,
        "conversations": _conversations(frames),
    }


def _read(sock: socket.socket) -> list[Frame]:
    sock.setblocking(False)
    frames: list[Frame] = []
    while True:
        try:
            data, extra, _flags, address = sock.recvmsg(1 << 17, 64)
        except BlockingIOError:
            return frames
        stamp = 0.0
        for level, kind, value in extra:
            if (level, kind) == (socket.SOL_SOCKET, SO_TIMESTAMPNS):
                seconds, nanoseconds = struct.unpack("=qq", value[:16])
                stamp = seconds + nanoseconds / 1e9
        frame = decode(data, address, stamp)
        if frame is not None:
            frames.append(frame)


def _wanted(frame: Frame, mark: bytes, flow: dict[str, Any] | None, at_least: int) -> bool:
    if flow is not None:
        number = PROTOCOLS.get(flow["protocol"])
        port = flow.get("port")
        rightly = port is None or port in (frame.sport, frame.dport)
        ends = flow.get("ends")
        rightly = rightly and (not ends or [frame.src, frame.dst] == ends)
        return frame.protocol == number and rightly and frame.length >= at_least
    return not mark or mark in frame.data


def _shown(frame: Frame, mark: bytes, raw: bool) -> dict[str, Any]:
    shown = frame.shown()
    at = frame.data.find(mark) if mark else -1
    if at >= 4:
        shown["kind"] = _kind(frame.data, at - 4)
        shown["encapsulated"] = at - 4 > frame.payload_at
    if raw:
        shown["raw"] = base64.b64encode(frame.data).decode()
        shown["link"] = frame.hardware
    return shown


def _kind(data: bytes, at: int) -> str:
    """Tell a request from its answer: by the mark in UDP; an echo repeats it, so there by the ICMP type."""
    if data[at : at + 4] == wire.ANSWER:
        return "reply"
    # before the mark: an ICMP header (type, code 0), or a UDP header whose third field is its length
    if at >= 8 and data[at - 8 : at - 6] == b"\0\0":
        return "reply"
    return "request"


def _conversations(frames: list[Frame]) -> list[dict[str, Any]]:
    found: dict[tuple[Any, ...], Counter[int]] = {}
    ports: dict[tuple[Any, ...], tuple[int, int]] = {}  # of what is in fragments, by its IP identification
    for frame in frames:
        if frame.arp is None:
            pair = frame.sport, frame.dport
            if frame.fragment:
                pair = ports.setdefault((frame.protocol, frame.src, frame.dst, frame.ident), pair)
            key = (frame.protocol, frame.src, pair[0], frame.dst, pair[1])
            found.setdefault(key, Counter())[frame.length] += 1
    names = {number: name for name, number in PROTOCOLS.items()}
    return [
        {"protocol": names.get(protocol, str(protocol)), "src": src, "sport": sport, "dst": dst}
        | {"dport": dport, "packets": sizes.total(), "bytes": sum(n * count for n, count in sizes.items())}
        | {"sizes": {str(n): sizes[n] for n in sorted(sizes)}}
        for (protocol, src, sport, dst, dport), sizes in found.items()
    ]
