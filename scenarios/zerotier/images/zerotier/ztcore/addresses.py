"""Socket addresses as `struct sockaddr_storage`, which the core takes and gives (ip(7), ipv6(7))."""

from __future__ import annotations

import ipaddress
import socket
import struct

STORAGE = 128


def pack(address: str, port: int) -> bytes:
    """Return an address and port as a sockaddr_storage of 128 bytes."""
    ip = ipaddress.ip_address(address)
    if ip.version == 4:
        head = struct.pack("=H", socket.AF_INET) + struct.pack(">H", port) + ip.packed
    else:
        head = struct.pack("=H", socket.AF_INET6) + struct.pack(">HI", port, 0) + ip.packed
    return head.ljust(STORAGE, b"\0")


def unpack(raw: bytes) -> tuple[str, int] | None:
    """Return address and port of a sockaddr_storage; None where it holds neither IPv4 nor IPv6.

    Where the core means a prefix (an assigned address), the port is its length.
    """
    (family,) = struct.unpack_from("=H", raw)
    (port,) = struct.unpack_from(">H", raw, 2)
    if family == socket.AF_INET:
        return str(ipaddress.ip_address(raw[4:8])), port
    if family == socket.AF_INET6:
        return str(ipaddress.ip_address(raw[8:24])), port
    return None


def mac(number: int) -> str:
    """Return a link address of 48 bits as text."""
    return number.to_bytes(6, "big").hex(":")
