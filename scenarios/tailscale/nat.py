"""The NAT in front of the sidecars: as Docker makes it, and how a node's rules make it easier or harder.

Each kind is one table of nftables, made by a oneshot service, so that it is there again after a reboot.
"""

from __future__ import annotations

from typing import Literal

from fixtures.node import Node
from scenarios.tailscale.members import Route

Kind = Literal["easy", "docker", "random"]
TABLE = "sidecars_nat"
SERVICE = "sidecars-nat"
PATHS: dict[Kind, Route] = {"easy": Route.DIRECT, "docker": Route.RELAYED, "random": Route.RELAYED}

# What nobody asked for, and nobody on the node listens for, is dropped before it becomes a conversation:
# else the node's own connection table holds exactly what a sidecar's answer will need.
INPUT = """
    chain input {{
        type filter hook input priority filter
        iifname != "{interface}" accept
        meta l4proto != udp accept
        ct state != new accept
        socket wildcard 0 accept
        socket wildcard 1 accept
        counter drop
    }}"""
# A new port for every conversation. Before Docker's own rule, whichever network that was made for: the
# first mapping holds.
POSTROUTING = """
    chain postrouting {{
        type nat hook postrouting priority srcnat - 10
        oifname "{interface}" ip saddr 172.16.0.0/12 meta l4proto udp counter masquerade fully-random
    }}"""
RULES = {"easy": INPUT, "random": INPUT + POSTROUTING}


def set_up(node: Node, kind: Kind) -> None:
    """Put the rules of `kind` on a node; "docker" has none. Only new conversations meet them."""
    if kind == "docker":
        return
    path = f"/etc/{SERVICE}.nft"
    chains = RULES[kind].format(interface=node.interface)
    node.put(path, f"table ip {TABLE} {{{chains}\n}}\n")
    node.service(SERVICE, ["nft", "-f", path], oneshot=True, stop=["nft", "delete", "table", "ip", TABLE])


def take_down(node: Node, kind: Kind) -> None:
    """Undo `set_up`."""
    if kind != "docker":
        node.stop_service(SERVICE)
        node.run(["rm", "-f", f"/etc/{SERVICE}.nft"])
