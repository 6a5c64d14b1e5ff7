"""The UDP socket, and what may be sent to by it."""

from __future__ import annotations

import ipaddress
import socket

BUFFERS = 4 << 20


def open_socket(port: int) -> socket.socket:
    """Return a UDP socket on `port`, with room for what comes while Python is busy."""
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind(("", port))
    udp.setblocking(False)
    for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
        udp.setsockopt(socket.SOL_SOCKET, option, BUFFERS)
    return udp


def permitted(to: tuple[str, int] | None) -> tuple[str, int] | None:
    """Refuse what is no private IPv4 address: a lab has no others, and the public roots are not private.

    The core's own path check does not stop what is said to a planet's endpoints, so this is asked there too.
    """
    if to is None:
        return None
    ip = ipaddress.ip_address(to[0])
    return to if ip.version == 4 and ip.is_private else None
