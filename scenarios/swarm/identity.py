"""Cloned machines: one machine-id on two nodes, and what a DHCP server makes of it.

systemd-networkd, the DHCP client of the paper's Ubuntu, names itself to the server by an id that it derives
from /etc/machine-id (RFC 4361: a DUID and an IAID), and not by its link address. Two machines with one id are
one client: the server gives both the same address. The lease is asked for on a link of its own, so that the
lab's addresses stay what they are.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from ipaddress import IPv4Address

from fixtures.lab import Lab
from fixtures.node import Node
from fixtures.waiting import NotYet, limit, wait_for

LINK = "lan1"
SERVER = "192.168.123.1/24"
RANGE = "192.168.123.100,192.168.123.200,1h"
LEASES = "/var/lib/misc/dnsmasq.leases"
MACHINE_ID = "/etc/machine-id"
# On a machine of its own networkd derives the IAID from the name that udev gives the card by its slot, which
# clones share; a namespaced node has no udev, so that it is said here.
NETWORK = f"""\
[Match]
Name={LINK}
[Network]
DHCP=ipv4
LinkLocalAddressing=no
IPv6AcceptRA=no
[DHCPv4]
ClientIdentifier=duid
IAID=1
UseDNS=no
UseRoutes=no
"""
# networkd waits for udev where /sys can be written; and it keeps its state as a user of its own.
CLIENT = """\
mount -o remount,bind,ro /sys
mkdir -p /run/systemd/netif/links /run/systemd/netif/leases /run/systemd/netif/lldp
chown -R systemd-network /run/systemd/netif
exec /usr/lib/systemd/systemd-networkd
"""


def serve(node: Node) -> None:
    """Start a DHCP server on `node`, for a link of its own beside the lab's addresses."""
    _link(node)
    node.run(["ip", "address", "add", SERVER, "dev", LINK])
    node.run(["mkdir", "-p", LEASES.rpartition("/")[0]])
    argv = ["dnsmasq", "--no-daemon", "--port=0", "--user=root", "--no-ping", "--log-dhcp"]
    own = [f"--interface={LINK}", "--bind-interfaces", f"--dhcp-range={RANGE}", f"--dhcp-leasefile={LEASES}"]
    node.service("dhcp", [*argv, *own])


def clone(nodes: Sequence[Node]) -> None:
    """Give all `nodes` the machine-id of the first, as cloning a disk does."""
    same = nodes[0].get(MACHINE_ID)
    for node in nodes[1:]:
        node.put(MACHINE_ID, same)


def renew(node: Node) -> None:
    """Give a node a machine-id of its own, as `systemd-machine-id-setup` does where there is none."""
    node.put(MACHINE_ID, f"{secrets.token_hex(16)}\n")


def ask(node: Node) -> None:
    """Start the client anew, on a link without an address."""
    _link(node)
    node.put(f"/etc/systemd/network/{LINK}.network", NETWORK)
    node.service("networkd", ["unshare", "--mount", "sh", "-ec", CLIENT])


def leased(node: Node) -> IPv4Address:
    """Wait for the node's address by DHCP, and return it."""

    def given() -> IPv4Address:
        rows = [row for row in node.state("addresses") if row["ifname"] == LINK]
        mine = [a["local"] for row in rows for a in row["addr_info"] if a["family"] == "inet"]
        if not mine:
            tail = node.sh("tail -n 3 /var/log/networkd.log", check=False, quiet=True).out
            raise NotYet(f"{LINK} has none; networkd: {tail.strip()}")
        return IPv4Address(mine[0])

    return wait_for(f"a lease on {node}", given, within=limit("overlay"))


def remove(lab: Lab, server: Node) -> None:
    """Take server, clients and links away."""
    for node in lab.nodes.values():
        running = {row["name"] for row in node.services()}
        for name in running & {"networkd", "dhcp"}:
            node.stop_service(name)
        node.run(["ip", "link", "del", LINK], check=False)


def _link(node: Node) -> None:
    node.run(["ip", "link", "del", LINK], check=False)
    node.run(["ip", "link", "add", LINK, "link", node.interface, "type", "macvlan", "mode", "bridge"])
    node.run(["ip", "link", "set", LINK, "up"])
