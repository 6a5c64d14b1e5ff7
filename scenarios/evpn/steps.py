"""The files that only this scenario needs: FRR's configuration, and its VXLAN device."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address

from scenarios.families.by_hand.base import VNI
from scenarios.families.by_hand.steps import BRIDGE, VXLAN, Place
from scenarios.families.vxlan.promise import PORT

AS = 65000
ZEBRA_CONF, BGPD_CONF = "/etc/frr/zebra.conf", "/etc/frr/bgpd.conf"
# Both drop to the user frr, who must own the folder of their sockets; -P 0: nobody asks them by TCP.
ZEBRA = [
    "sh",
    "-c",
    f"install -d -o frr -g frr /run/frr && exec /usr/lib/frr/zebra -f {ZEBRA_CONF} -P 0",
]
BGPD = ["/usr/lib/frr/bgpd", "-f", BGPD_CONF, "-P", "0"]

# Where br_netfilter is loaded, frames between two ports of a bridge meet the node's FORWARD chain.
RULE = f"DOCKER-USER -i {BRIDGE} -o {BRIDGE} -j ACCEPT"
LET_THROUGH = f"iptables -I {RULE}\n"
STOP_LETTING_THROUGH = f"iptables -D {RULE}\n"
REMOVE = f"ip link del {VXLAN}\nip link del {BRIDGE}\n"


def device(place: Place, own: IPv4Address) -> str:
    """Return what makes the device; neither it nor its port of the bridge learns: that is BGP's to say."""
    return f"""\
ip link add {VXLAN} mtu {place.mtu} type vxlan id {VNI} dstport {PORT} local {own} nolearning
ip link set {VXLAN} master {BRIDGE} up
bridge link set dev {VXLAN} learning off
"""


def zebra_config(name: str) -> str:
    """Return zebra.conf."""
    return f"hostname {name}\n"


def bgpd_config(name: str, own: IPv4Address, others: Sequence[IPv4Address]) -> str:
    """Return bgpd.conf: one autonomous system, every node a neighbour of every other.

    Keepalives come every second and a neighbour is given up after three: a lab need not wait for minutes.
    """
    neighbours = "".join(
        f" neighbor {other} remote-as {AS}\n neighbor {other} timers connect 1\n" for other in others
    )
    activated = "".join(f"  neighbor {other} activate\n" for other in others)
    return f"""\
hostname {name}
router bgp {AS}
 bgp router-id {own}
 no bgp default ipv4-unicast
 timers bgp 1 3
{neighbours} address-family l2vpn evpn
{activated}  advertise-all-vni
 exit-address-family
"""
