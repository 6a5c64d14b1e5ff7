"""The files that the WireGuard bridge puts on a node: a configuration, and what to run at every boot."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from ipaddress import IPv4Network

from overlab.model import NodeSpec, Topology

UP = "/etc/wireguard/ovl0-up"
DOWN = "/etc/wireguard/ovl0-down"


def wg_config(
    node: NodeSpec,
    topology: Topology,
    private: str,
    public: Mapping[str, str],
    subnet_of: Callable[[NodeSpec], IPv4Network],
    port: int,
) -> str:
    """Return wg0.conf of one node: every other node is a peer that owns its own /24."""
    parts = [f"[Interface]\nPrivateKey = {private}\nListenPort = {port}\n"]
    parts += [
        f"# {peer.name}\n[Peer]\nPublicKey = {public[peer.name]}\n"
        f"Endpoint = {peer.address}:{port}\nAllowedIPs = {subnet_of(peer)}\n"
        for peer in topology.nodes
        if peer != node
    ]
    return "\n".join(parts)


def up_script(network: IPv4Network, own: IPv4Network) -> str:
    """Return the commands that join ovl0 and wg0, each of them once, whatever dockerd restored before."""
    return f"""\
wg setconf wg0 /etc/wireguard/wg0.conf
ip link set wg0 up
# 1. ovl0 answers ARP for containers that are elsewhere.
sysctl -w net.ipv4.conf.ovl0.proxy_arp=1
# 2. Only the node's own /24 is behind ovl0; the rest of the network is behind wg0.
ip route del {network} dev ovl0
ip route add {own} dev ovl0
ip route add {network} dev wg0
# 3. First in the chain: Docker's own rule behind it would hide the container's address.
iptables -t nat -I POSTROUTING -o wg0 -s {network} -j ACCEPT
# Not in the paper: a FORWARD policy of DROP would stop what comes out of the tunnel.
iptables -I DOCKER-USER -i wg0 -o ovl0 -j ACCEPT
"""


def down_script(network: IPv4Network, own: IPv4Network) -> str:
    """Return the commands that undo `up_script`, leaving dockerd's own route as it was."""
    gateway = own.network_address
    return f"""\
iptables -D DOCKER-USER -i wg0 -o ovl0 -j ACCEPT
iptables -t nat -D POSTROUTING -o wg0 -s {network} -j ACCEPT
ip route del {network} dev wg0
ip route del {own} dev ovl0
ip route add {network} dev ovl0 proto kernel scope link src {gateway}
sysctl -w net.ipv4.conf.ovl0.proxy_arp=0
"""
