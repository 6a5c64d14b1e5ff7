"""The scripts that an overlay made by hand puts on its nodes: readable there, and run again at every boot."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address

FOLDER = "/etc/overlay"
UP, DOWN, DEVICE, JOIN = (f"{FOLDER}/{name}" for name in ("up", "down", "device", "join"))
ADDRESS, MAC = "overlay.address", "overlay.mac"  # labels of a container
GATEWAY, BRIDGE, VXLAN, LINK = "gateway", "br0", "vxlan1", "eth1"


@dataclass(frozen=True, slots=True)
class Place:
    """Where bridge and VXLAN device are: a network namespace of a node by name, or "" for the node's own."""

    namespace: str
    mtu: int

    @property
    def ip(self) -> str:
        """The `ip` that looks there."""
        return f"ip -n {self.namespace}" if self.namespace else "ip"

    @property
    def bridge(self) -> str:
        """The `bridge` that looks there."""
        return f"bridge -n {self.namespace}" if self.namespace else "bridge"

    @property
    def path(self) -> str | None:
        """The namespace's path, as Node.state takes it."""
        return f"/run/netns/{self.namespace}" if self.namespace else None


def up(place: Place, before: str = "") -> str:
    """Return what makes the bridge and the device, and joins the containers that run already."""
    listed = f'{{{{.Names}}}} {{{{.Label "{ADDRESS}"}}}} {{{{.Label "{MAC}"}}}}'
    return f"""\
{before}{place.ip} link add {BRIDGE} mtu {place.mtu} type bridge
{place.ip} link set {BRIDGE} up
sh -ex {DEVICE}
# What Docker started again before us has no link yet.
docker ps --filter label={ADDRESS} --format '{listed}' |
while read -r name address mac; do sh -ex {JOIN} "$name" "$address" "$mac"; done
"""


def port(address: IPv4Address) -> str:
    """Return the name of a link's end at the bridge: veth and the last byte of the address."""
    return f"veth{address.packed[-1]}"


def join(place: Place, prefix: int, settings: Mapping[str, int]) -> str:
    """Return what puts a container on the overlay: join CONTAINER ADDRESS MAC.

    `settings` are those of its link's neighbours (net.ipv4.neigh.eth1), by name.
    """
    neigh = "".join(
        f"$inside sysctl -qw net.ipv4.neigh.{LINK}.{name}={settings[name]}\n" for name in settings
    )
    return f"""\
pid=$(docker inspect -f '{{{{.State.Pid}}}}' "$1")
inside="nsenter -t $pid -n"
if $inside ip link show {LINK} 2>/dev/null; then exit; fi
port=veth${{2##*.}}
# What an ended container had may still be there for a moment.
{place.ip} link del "$port" 2>/dev/null || true
{place.ip} link add "$port" mtu {place.mtu} type veth peer name {LINK} netns "$pid" mtu {place.mtu}
{place.ip} link set "$port" master {BRIDGE} up
{neigh}$inside sysctl -qw net.ipv4.conf.{LINK}.arp_notify=1
$inside ip addr add "$2/{prefix}" dev {LINK}
$inside ip link set {LINK} up
# Given its link address last, it tells that to all (arp_notify): but only what forwards carries it.
timeout 5 sh -c 'until {place.bridge} link show dev "$0" | grep -q forwarding; do :; done' "$port"
$inside ip link set {LINK} address "$3"
"""
