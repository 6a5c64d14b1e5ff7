"""A member, asked by its own command line: `docker exec SIDECAR zerotier-cli ...`, as the paper does it.

zerotier-one and the daemon over its core answer in one shape.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface
from typing import Any

from fixtures.node import Node
from fixtures.waiting import NotYet

HOME = "/var/lib/zerotier-one"
SECRET = f"{HOME}/identity.secret"
RELAY, DIRECT = "relayed", "direct"


@dataclass(frozen=True, slots=True)
class Membership:
    """A line of `listnetworks`: what a network is to one member."""

    network: str
    status: str
    type: str
    device: str
    mac: str
    mtu: int
    addresses: tuple[IPv4Interface, ...]

    @classmethod
    def of(cls, row: dict[str, Any]) -> Membership:
        """Build one from its JSON."""
        given = tuple(IPv4Interface(a) for a in row["assignedAddresses"] if ":" not in a)
        words = {"type": row["type"], "device": row["portDeviceName"], "mac": row["mac"], "mtu": row["mtu"]}
        return cls(row["id"], row["status"], addresses=given, **words)

    @property
    def address(self) -> IPv4Address:
        """The address that the network gave; NotYet until it has."""
        if self.status != "OK" or not self.addresses:
            raise NotYet(f"{self.network} is {self.status}, addresses {list(map(str, self.addresses))}")
        return self.addresses[0].ip


@dataclass(frozen=True, slots=True)
class Known:
    """A line of `peers`: another node, and the physical address at which it is reached directly, if it is."""

    address: str
    role: str
    at: str

    @classmethod
    def of(cls, row: dict[str, Any]) -> Known:
        """Build one from its JSON."""
        alive = [path["address"] for path in row["paths"] if path["active"] and not path.get("expired")]
        return cls(row["address"], row["role"], alive[0] if alive else "")

    @property
    def path(self) -> str:
        """How it is reached."""
        return DIRECT if self.at else RELAY


def cli(node: Node, sidecar: str, *words: str, quiet: bool = False) -> str:
    """Run zerotier-cli in a sidecar; raises NotYet while its daemon does not answer."""
    done = node.run(["docker", "exec", sidecar, "zerotier-cli", *words], check=False, quiet=quiet)
    if done.status != 0:
        raise NotYet((done.err or done.out).strip()[-200:])
    return done.out


def memberships(node: Node, sidecar: str, *, quiet: bool = False) -> dict[str, Membership]:
    """Return the networks that a member has joined, by their ids."""
    rows = json.loads(cli(node, sidecar, "-j", "listnetworks", quiet=quiet))
    return {row["id"]: Membership.of(row) for row in rows}


def peers(node: Node, sidecar: str, *, quiet: bool = False) -> dict[str, Known]:
    """Return the nodes that a member knows, by their ZeroTier addresses."""
    return {
        row["address"]: Known.of(row) for row in json.loads(cli(node, sidecar, "-j", "peers", quiet=quiet))
    }


def identity(node: Node, pid: int) -> str:
    """Return the identity of the member whose daemon is `pid`, its secret key included.

    Raises NotYet until it has made one. It is written nowhere.
    """
    done = node.run(["cat", f"/proc/{pid}/root{SECRET}"], check=False, quiet=True)
    if done.status != 0 or done.out.count(":") != 3:
        raise NotYet("it has no identity yet")
    return done.out.strip()


def has_address(node: Node, pid: int) -> None:
    """Raise NotYet until a ZeroTier device of the member has an IPv4 address."""
    shown = node.run(["nsenter", "-t", str(pid), "-n", "ip", "-j", "-4", "address"], check=False, quiet=True)
    found = [row["ifname"] for row in json.loads(shown.out or "[]") if row.get("addr_info")]
    if not any(name.startswith("zt") for name in found):
        raise NotYet(f"addresses on {', '.join(found) or 'nothing'}")
