"""Offloads of an interface, without the `ethtool` command.

With offloads on, a veth hands over segments of up to 64 kB with blank checksums: what a capture shows is
then not what a wire would carry. Numbers: linux/ethtool.h, linux/sockios.h.
"""

from __future__ import annotations

import array
import errno
import fcntl
import socket
import struct
from typing import Any

SIOCETHTOOL = 0x8946
# name: (get, set); tx is the checksum, without which the kernel drops TSO and UDP segmentation as well
COMMANDS = {"tx": (0x16, 0x17), "tso": (0x1E, 0x1F), "gso": (0x23, 0x24), "gro": (0x2B, 0x2C)}


def offloads(interface: str, wanted: dict[str, bool] | None = None) -> dict[str, Any]:
    """Set the offloads named in `wanted` (tx, tso, gso, gro); return before and after, of all four.

    Raises KeyError for another name. One that the kernel holds fixed stays as it is: see `after`.
    """
    before = {name: _ask(interface, get, 0) for name, (get, _set) in COMMANDS.items()}
    for name, on in (wanted or {}).items():
        try:
            _ask(interface, COMMANDS[name][1], int(on))
        except OSError as wrong:
            if wrong.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
                raise
    after = {name: _ask(interface, get, 0) for name, (get, _set) in COMMANDS.items()}
    return {"before": before, "after": after}


def _ask(interface: str, command: int, value: int) -> bool:
    box = array.array("B", struct.pack("=II", command, value))
    request = struct.pack("16sP16x", interface.encode(), box.buffer_info()[0])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            fcntl.ioctl(sock, SIOCETHTOOL, request)
        except OSError as wrong:
            if wrong.errno == errno.EOPNOTSUPP and not value:
                return False
            raise
    return bool(struct.unpack("=II", box.tobytes())[1])
