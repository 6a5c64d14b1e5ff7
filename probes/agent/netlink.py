"""Interfaces, routes and neighbours by rtnetlink, without the `ip` command.

Layouts: rtnetlink(7), linux/rtnetlink.h, linux/neighbour.h.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterator
from typing import Any

GETLINK, GETADDR, GETROUTE, GETNEIGH = 18, 22, 26, 30
NLMSG_ERROR, NLMSG_DONE = 2, 3
REQUEST, DUMP = 1, 0x300
IFF_UP, IFF_NOARP = 0x1, 0x80
ROUTE_TYPES = {1: "unicast", 2: "local", 3: "broadcast", 6: "blackhole", 7: "unreachable", 8: "prohibit"}
NEIGHBOUR_STATES = {
    0x01: "INCOMPLETE",
    0x02: "REACHABLE",
    0x04: "STALE",
    0x08: "DELAY",
    0x10: "PROBE",
    0x20: "FAILED",
    0x40: "NOARP",
    0x80: "PERMANENT",
}


def _messages(kind: int, flags: int, payload: bytes) -> Iterator[bytes]:
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as sock:
        sock.settimeout(2.0)
        sock.send(struct.pack("=IHHII", 16 + len(payload), kind, REQUEST | flags, 1, 0) + payload)
        while True:
            data = sock.recv(1 << 18)
            while data:
                length, got, _flags, _seq, _pid = struct.unpack_from("=IHHII", data)
                body, data = data[16:length], data[(length + 3) & ~3 :]
                if got == NLMSG_DONE:
                    return
                if got == NLMSG_ERROR:
                    code = -struct.unpack_from("=i", body)[0]
                    if code:
                        raise OSError(code, os.strerror(code))
                    return
                yield body
                if not flags & DUMP:
                    return


def _attributes(data: bytes) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    while len(data) >= 4:
        length, kind = struct.unpack_from("=HH", data)
        if length < 4:
            break
        found[kind & 0x3FFF] = data[4:length]
        data = data[(length + 3) & ~3 :]
    return found


def _attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value + b"\0" * (-len(value) % 4)


def mac(value: bytes | None) -> str:
    """Return a link address as text; '' where the link has none (a tun)."""
    return value.hex(":") if value and len(value) == 6 else ""


def interfaces() -> list[dict[str, Any]]:
    """Return every interface: name, index, kind (ARPHRD number), mac, mtu, up, arp, addresses/prefix."""
    links: dict[int, dict[str, Any]] = {}
    for body in _messages(GETLINK, DUMP, struct.pack("=BxHiII", 0, 0, 0, 0, 0)):
        _family, hardware, index, flags, _change = struct.unpack_from("=BxHiII", body)
        found = _attributes(body[16:])
        links[index] = {
            "name": found[3].rstrip(b"\0").decode(),
            "index": index,
            "kind": hardware,
            "mac": mac(found.get(1)),
            "mtu": struct.unpack("=I", found[4])[0],
            "up": bool(flags & IFF_UP),
            "arp": hardware == 1 and not flags & IFF_NOARP,
            "addresses": [],
        }
    for body in _messages(GETADDR, DUMP, struct.pack("=BBBBI", socket.AF_INET, 0, 0, 0, 0)):
        family, prefix, _flags, _scope, index = struct.unpack_from("=BBBBI", body)
        if family != socket.AF_INET or index not in links:
            continue
        found = _attributes(body[8:])
        address = found.get(2) or found[1]  # IFA_LOCAL is ours; IFA_ADDRESS may be a peer's
        links[index]["addresses"].append(f"{socket.inet_ntoa(address)}/{prefix}")
    return list(links.values())


def link(index: int) -> dict[str, Any]:
    """Return the interface numbered `index`; raises OSError(ENODEV)."""
    for entry in interfaces():
        if entry["index"] == index:
            return entry
    raise OSError(errno.ENODEV, os.strerror(errno.ENODEV))


def route(dst: str) -> dict[str, Any]:
    """Return the route that the kernel takes to `dst`: dst, type, dev, index, gateway, source, mtu (metric).

    Raises OSError: ENETUNREACH without a route, EHOSTUNREACH, EACCES or EINVAL by a route of that type.
    """
    payload = struct.pack("=BBBBBBBBI", socket.AF_INET, 32, 0, 0, 0, 0, 0, 0, 0)
    payload += _attribute(1, socket.inet_aton(dst))
    for body in _messages(GETROUTE, 0, payload):
        found = _attributes(body[12:])
        index = struct.unpack("=i", found[4])[0] if 4 in found else 0
        metrics = _attributes(found.get(8, b""))
        return {
            "dst": dst,
            "type": ROUTE_TYPES.get(body[7], str(body[7])),
            "dev": socket.if_indextoname(index) if index else "",
            "index": index,
            "gateway": socket.inet_ntoa(found[5]) if 5 in found else "",
            "source": socket.inet_ntoa(found[7]) if 7 in found else "",
            "mtu": struct.unpack("=I", metrics[2])[0] if 2 in metrics else None,
        }
    raise OSError(errno.ENETUNREACH, os.strerror(errno.ENETUNREACH))


def route_get(targets: list[str]) -> dict[str, Any]:
    """Return one route a target, in order; a refused one is {"dst", "error": errno name}."""
    routes: list[dict[str, Any]] = []
    for dst in targets:
        try:
            routes.append(route(dst))
        except OSError as wrong:
            routes.append({"dst": dst, "error": errno.errorcode.get(wrong.errno or 0, str(wrong))})
    return {"routes": routes}


def neighbours() -> dict[str, Any]:
    """Return the IPv4 neighbour table: dev, address, mac, state (names as `ip neigh` prints them)."""
    table: list[dict[str, str]] = []
    for body in _messages(GETNEIGH, DUMP, struct.pack("=BxxxiHBB", socket.AF_INET, 0, 0, 0, 0)):
        _family, index, state, _flags, _type = struct.unpack_from("=BxxxiHBB", body)
        found = _attributes(body[12:])
        if len(found.get(1, b"")) != 4:
            continue
        table.append(
            {
                "dev": socket.if_indextoname(index),
                "address": socket.inet_ntoa(found[1]),
                "mac": mac(found.get(2)),
                "state": NEIGHBOUR_STATES.get(state, hex(state)),
            }
        )
    return {"neighbours": table}


def next_hop(dst: str) -> str:
    """Say in a few words where packets to `dst` go and whether that neighbour answers."""
    try:
        way = route(dst)
    except OSError as wrong:
        return f"no route ({errno.errorcode.get(wrong.errno or 0, wrong)})"
    hop = way["gateway"] or dst
    states = [
        entry["state"]
        for entry in neighbours()["neighbours"]
        if entry["dev"] == way["dev"] and entry["address"] == hop
    ]
    return f"next hop {hop} on {way['dev']}, neighbour {states[0] if states else 'unknown'}"
