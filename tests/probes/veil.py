"""A tunnel in user space that nobody can read: IP packets, each byte changed, in UDP port 5555.

Arguments: own underlay address, the other's, and the fault: none, plain (nothing is changed), pad (16 bytes
too many), split (two datagrams of one packet), port (another port), chatty (as many keepalives as packets).
"""

from __future__ import annotations

import fcntl
import os
import select
import socket
import struct
import sys

TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 1, 0x1000
PORT = 5555
SECRET = bytes(byte ^ 0xA5 for byte in range(256))


def main() -> None:
    own, other, fault = sys.argv[1:]
    port = PORT + (fault == "port")
    tun = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH", b"veil0", IFF_TUN | IFF_NO_PI))
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((own, port))
    os.write(1, b"ready\n")
    half = b""
    while True:
        ready, _, _ = select.select([tun, sock.fileno()], [], [])
        if tun in ready:
            packet = os.read(tun, 65536)
            if packet[0] >> 4 != 4:
                continue
            data = packet if fault == "plain" else packet.translate(SECRET)
            if fault == "pad":
                data += bytes(16)
            parts = [b"\1" + data[:40], b"\2" + data[40:]] if fault == "split" else [b"\0" + data]
            for part in [*parts, *([b"\3"] if fault == "chatty" else [])]:
                sock.sendto(part, (other, port))
        if sock.fileno() in ready:
            data = sock.recv(65536)
            if data[0] == 1:
                half = data[1:]
            elif data[0] != 3:
                whole = (half if data[0] == 2 else b"") + data[1:]
                inner = whole if fault == "plain" else whole.translate(SECRET)
                os.write(tun, inner[: struct.unpack_from("!H", inner, 2)[0]])


main()
