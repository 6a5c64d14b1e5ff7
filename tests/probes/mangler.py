"""A router in user space on a TUN device that does one thing wrong; run inside a namespace.

Faults, of what comes from 10.1.0.2: swap (two 16-bit words of the payload change places: every checksum
stays right), nat (its address becomes 10.2.0.99, and back in the answers), ttl (every second packet loses
one more), once (a UDP request is lost the first time it comes), pause (after 50 kB nothing of TCP for half a
second), hold (the tenth UDP packet, and all behind it, wait for 0.3 s), end (after 50 kB nothing at all).
"""

from __future__ import annotations

import fcntl
import os
import socket
import struct
import sys
import time
from collections.abc import Callable

TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 1, 0x1000
INSIDE, OUTSIDE = socket.inet_aton("10.1.0.2"), socket.inet_aton("10.2.0.99")
Fault = Callable[[bytearray], bool]


def summed(data: bytes) -> int:
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def fresh(packet: bytearray) -> None:
    """Give the IP header its checksum again."""
    packet[10:12] = b"\0\0"
    packet[10:12] = struct.pack("!H", summed(bytes(packet[:20])))


def swap(packet: bytearray) -> bool:
    if len(packet) > 90 and packet[12:16] == INSIDE:
        packet[60:62], packet[62:64] = packet[62:64], packet[60:62]
    return True


def nat(packet: bytearray) -> bool:
    for at, old, new in ((12, INSIDE, OUTSIDE), (16, OUTSIDE, INSIDE)):
        if packet[at : at + 4] == old:
            packet[at : at + 4] = new
            if packet[9] == 17:
                packet[26:28] = b"\0\0"  # UDP over IPv4 may go without
            fresh(packet)
    return True


class Ttl:
    """Every second packet seems to have gone through one router more."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, packet: bytearray) -> bool:
        if packet[12:16] == INSIDE:
            self.count += 1
            packet[8] -= self.count % 2
            fresh(packet)
        return True


class Once:
    """A request with a nonce that was not seen before is lost."""

    def __init__(self) -> None:
        self.before: set[bytes] = set()

    def __call__(self, packet: bytearray) -> bool:
        nonce = bytes(packet[32:40])
        known = nonce in self.before
        self.before.add(nonce)
        return known or packet[28:32] != b"OVLQ"


class Pause:
    """TCP from inside stops for half a second, once."""

    def __init__(self) -> None:
        self.left = 50_000
        self.until = 0.0

    def __call__(self, packet: bytearray) -> bool:
        if packet[9] != 6 or packet[12:16] != INSIDE:
            return True
        self.left -= len(packet)
        if self.left < 0 and not self.until:
            self.until = time.monotonic() + 0.5
        return time.monotonic() >= self.until


class Hold:
    """The tenth UDP packet waits, and so does all that comes after it."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, packet: bytearray) -> bool:
        self.count += packet[9] == 17 and packet[12:16] == INSIDE
        if self.count == 10:
            self.count += 1
            time.sleep(0.3)
        return True


class End:
    """After 50 kB from inside nothing passes any more."""

    def __init__(self) -> None:
        self.left = 50_000

    def __call__(self, packet: bytearray) -> bool:
        self.left -= len(packet) * (packet[12:16] == INSIDE)
        return self.left > 0


def main() -> None:
    faults: dict[str, Fault] = {"swap": swap, "nat": nat, "ttl": Ttl(), "once": Once()}
    faults |= {"pause": Pause(), "hold": Hold(), "end": End()}
    fault = faults[sys.argv[1]]
    tun = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH", b"mangle0", IFF_TUN | IFF_NO_PI))
    os.write(1, b"ready\n")
    while True:
        packet = bytearray(os.read(tun, 65536))
        if packet[0] >> 4 == 4 and fault(packet):
            os.write(tun, packet)


main()
