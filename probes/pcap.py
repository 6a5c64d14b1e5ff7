"""Captured packets as a pcap file that Wireshark and tcpdump open.

Format: pcap-savefile(5), with nanosecond time stamps.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

MAGIC_NS = 0xA1B23C4D
WITH_LINK_HEADER = (1, 772)  # ARPHRD_ETHER, ARPHRD_LOOPBACK
LINKTYPE_ETHERNET, LINKTYPE_RAW = 1, 101


def write(path: Path, packets: Sequence[dict[str, Any]]) -> Path:
    """Write the packets of one interface, as `stop_sniff(raw=True)` returns them; return the path."""
    hardware = int(packets[0]["link"]) if packets else 1
    link = LINKTYPE_ETHERNET if hardware in WITH_LINK_HEADER else LINKTYPE_RAW
    blocks = [struct.pack("=IHHiIII", MAGIC_NS, 2, 4, 0, 0, 0x40000, link)]
    for packet in packets:
        data = base64.b64decode(packet["raw"])
        seconds = int(packet["time"])
        nanoseconds = int((packet["time"] - seconds) * 1e9)
        blocks.append(struct.pack("=IIII", seconds, nanoseconds, len(data), len(data)) + data)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(blocks))
    return path
