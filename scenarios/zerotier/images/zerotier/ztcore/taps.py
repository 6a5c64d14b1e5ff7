"""TAP devices, one a network: an Ethernet of its own in the sidecar's network namespace (tun(4))."""

from __future__ import annotations

import fcntl
import ipaddress
import os
import struct
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from .addresses import mac

TUNSETIFF = 0x400454CA
IFF_TAP, IFF_NO_PI = 0x0002, 0x1000
BROADCAST = 0xFFFFFFFFFFFF

Group = tuple[int, int]  # link address, and for IPv4's ARP the address that is asked for


@dataclass
class Tap:
    """The device of one network, and what it has been given so far."""

    network: int
    mac: int
    name: str = ""
    descriptor: int = -1
    mtu: int = 0
    addresses: set[str] = field(default_factory=set)
    groups: set[Group] = field(default_factory=set)

    def open(self) -> None:
        """Make the device, named after the network's own number."""
        self.name = f"zt{self.network & 0xFFFFFFFF:08x}"
        self.descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        fcntl.ioctl(
            self.descriptor, TUNSETIFF, struct.pack("16sH22x", self.name.encode(), IFF_TAP | IFF_NO_PI)
        )
        _ip("link", "set", self.name, "address", mac(self.mac))

    def close(self) -> None:
        """Remove the device: it goes with its descriptor."""
        os.close(self.descriptor)

    def configure(self, mtu: int, addresses: set[str]) -> None:
        """Give the device its MTU and exactly these addresses ("10.144.0.1/24")."""
        if mtu != self.mtu:
            _ip("link", "set", self.name, "mtu", str(mtu), "up")
            self.mtu = mtu
        for address in addresses - self.addresses:
            _ip("address", "add", address, "dev", self.name)
        for address in self.addresses - addresses:
            _ip("address", "del", address, "dev", self.name)
        self.addresses = addresses

    def wanted_groups(self) -> set[Group]:
        """Return the multicast groups that the device listens to, ARP for its own addresses among them."""
        groups = {(BROADCAST, 0)}
        for address in self.addresses:
            ip = ipaddress.ip_interface(address).ip
            if ip.version == 4:
                groups.add((BROADCAST, int(ip)))
        for line in Path("/proc/net/dev_mcast").read_text().splitlines():
            words = line.split()
            if words[1] == self.name:
                groups.add((int(words[4], 16), 0))
        return groups


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)
