"""Do the tables that packets are sent by tell the truth, after everybody has spoken with everybody?

Method: a UDP nonce for every ordered pair; then each container's own neighbour table, and the tables that
the caller read on the nodes, are compared with what is true. An entry that names the wrong owner is stale,
whether or not a packet still came through. An entry made on demand is missing only where its pair could
not be resolved: a kernel drops what it does not need.
Sources: RFC 826; arp(7); bridge(8), fdb (a VXLAN entry maps a link address to its VTEP).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import ip_address
from typing import Any

from overlab.model import Finding

from . import reachability
from .client import Peer
from .common import at_once, elapsed_ms, ordered_pairs

PROBE = "neighbours"
WAIT_S = 1.2
LIMIT_S = 10.0
DEAD = frozenset({"FAILED", "INCOMPLETE"})


class Outcome(StrEnum):
    """Classes of this probe, in the order in which they are judged."""

    OK = "ok"
    STALE = "stale"
    MISSING = "missing"
    UNRESOLVED_PAIR = "unresolved-pair"


@dataclass(frozen=True, slots=True)
class Table:
    """A table of a node, as `Node.state("neighbours" | "forwarding")` gives it, and what is true of it.

    `truth` maps an address to its link address (neighbours), or a link address to its VTEP's address or
    its port's name (forwarding); what is not in it is not judged. `promised` are the keys that must be
    there beforehand, whether or not anybody spoke.
    """

    label: str
    rows: Sequence[Mapping[str, Any]]
    truth: Mapping[str, str]
    promised: Collection[str] = ()

    def entries(self) -> list[tuple[str, str]]:
        """Return what the live rows say of a key: (key, owner)."""
        truth = {key.lower(): value.lower() for key, value in self.truth.items()}
        found: list[tuple[str, str]] = []
        for row in self.rows:
            if "mac" in row:
                key, vtep = str(row["mac"]).lower(), str(row.get("dst", "")).lower()
                # one link address may have two rows: at a bridge's port, and behind that port's VTEP
                by_port = _is_port(truth.get(key, ""))
                found += [(key, str(row.get("ifname", "")).lower() if by_port else vtep)]
            elif not DEAD & set(row.get("state", ())):
                found.append((str(row.get("dst", "")), str(row.get("lladdr", "")).lower()))
        return [(key, owner) for key, owner in found if owner]


def _is_port(owner: str) -> bool:
    try:
        ip_address(owner)
    except ValueError:
        return True
    return False


Owner = Callable[[Peer, str], str]


def check(
    peers: Sequence[Peer],
    *,
    owner: Owner | None = None,
    tables: Sequence[Table] = (),
    promised: Collection[str] = (),
    wait_s: float = WAIT_S,
) -> list[Finding]:
    """Let all pairs speak, then judge each container's table and each of `tables`; one Finding each.

    `owner(peer, address)` is the link address that `address` must have in `peer`'s table: the container's
    own, a proxy's; "" where it does not matter. Without it, each of `peers` is to be found at its own link
    address. `promised` are the addresses that every container must know beforehand. A Finding's value is
    the number of entries that were judged.
    """
    start = time.monotonic()
    owner = owner or own_addresses(peers)
    spoken = reachability.check(
        ordered_pairs(peers), protocols=[reachability.Protocol.UDP], attempts=2, wait_s=wait_s
    )
    silent: dict[str, set[str]] = {}
    by_name = {str(peer): peer.address for peer in peers}
    for finding in spoken:
        if finding.outcome in (reachability.Outcome.TIMEOUT, reachability.Outcome.UNREACHABLE):
            silent.setdefault(finding.src, set()).add(by_name[finding.dst])
    targets = [peer.address for peer in peers]

    def look(peer: Peer) -> Finding:
        others = [address for address in targets if address != peer.address]
        return _container(peer, others, (owner, promised), silent.get(str(peer), set()), start)

    return [*at_once(look, list(peers)), *(_node(table, start) for table in tables)]


def own_addresses(peers: Sequence[Peer]) -> Owner:
    """Return the Owner of an overlay whose link layer is real: each address at its container's own MAC."""
    links = at_once(lambda peer: str(peer.agent.interface_of(peer.address)["mac"]), list(peers))
    macs = {peer.address: mac.lower() for peer, mac in zip(peers, links, strict=True)}
    return lambda _peer, address: macs.get(address, "")


def _container(
    peer: Peer, others: list[str], rules: tuple[Owner, Collection[str]], silent: set[str], start: float
) -> Finding:
    owner, promised = rules
    routes = peer.agent.call("route_get", timeout=LIMIT_S, targets=others)["routes"]
    # the next hop is who has to be known: another container on the link, or a gateway
    hops = {route["dst"]: (route.get("gateway") or route["dst"]) for route in routes}
    devices = {route.get("dev") for route in routes}
    rows = peer.agent.call("neighbours", timeout=LIMIT_S)["neighbours"]
    rows = [row for row in rows if row["dev"] in devices]
    known = {row["address"]: row["mac"].lower() for row in rows if row["state"] not in DEAD and row["mac"]}
    wanted = {hop: owner(peer, hop).lower() for hop in {*hops.values(), *promised}}
    stale = [
        f"{address} is at {known[address]}, not at {mac}"
        for address, mac in sorted(wanted.items())
        if mac and known.get(address, mac) != mac
    ]
    missing = sorted(address for address in promised if address not in known and address != peer.address)
    lost = sorted(dst for dst in silent if hops.get(dst, dst) not in known)
    judged = sum(address in known for address, mac in wanted.items() if mac)
    evidence = {"entries": rows, "stale": stale, "missing": missing, "unresolved": lost}
    return _finding(str(peer), judged, evidence, start)


def _node(table: Table, start: float) -> Finding:
    entries = table.entries()
    truth = {key.lower(): value.lower() for key, value in table.truth.items()}
    stale = [
        f"{key} is at {value}, not at {truth[key]}"
        for key, value in entries
        if key in truth and value.lower() != truth[key]
    ]
    known = {key for key, _value in entries}
    missing = sorted(key for key in table.promised if key.lower() not in known)
    judged = sum(key in truth for key, _value in entries)
    evidence = {"entries": [dict(row) for row in table.rows], "stale": stale, "missing": missing}
    return _finding(table.label, judged, evidence | {"unresolved": []}, start)


def _finding(label: str, judged: int, evidence: dict[str, Any], start: float) -> Finding:
    outcome, reason = Outcome.OK, ""
    if evidence["stale"]:
        outcome, reason = Outcome.STALE, "; ".join(evidence["stale"][:3])
    elif evidence["missing"]:
        outcome, reason = Outcome.MISSING, f"no entry for {', '.join(evidence['missing'][:3])}"
    elif evidence["unresolved"]:
        outcome = Outcome.UNRESOLVED_PAIR
        reason = f"nobody is known at {', '.join(evidence['unresolved'][:3])}, and no packet came through"
    return Finding(
        PROBE,
        outcome,
        judged,
        "entries",
        src=label,
        reason=reason,
        evidence=evidence,
        duration_ms=elapsed_ms(start),
    )
