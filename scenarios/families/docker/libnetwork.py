"""What Docker's engines keep in a key-value store, read and held against the truth.

libnetwork writes JSON below `docker/network/v1.0`: `network/ID`, `endpoint/NETWORK/ID` with its name,
address, link address and its node ("locator"), and the driver's own `overlay/network/ID` with the VNI.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from fixtures.lab import Lab
from overlab.model import Finding
from scenarios.families.docker.hidden import Member, inspect, members, namespace

ROOT = "docker/network/v1.0"
Content = Mapping[str, str]


class Outcome(StrEnum):
    """Classes of these findings."""

    OK = "ok"
    DIFFERS = "differs"
    MISSING = "missing"
    LEFT_OVER = "left-over"


def compare(lab: Lab, network: str, content: Content) -> list[Finding]:
    """Hold `content` (path below ROOT: JSON text) against engines and kernels.

    One Finding for the network, one a node for the VNI, and one an endpoint: of those that the store has,
    and of those that run.
    """
    known = members(lab, network)
    engines = lab.each(lambda node: inspect(node, network))
    found = [_network(network, content, engines)]
    network_id = str(next(iter(engines.values()))["Id"])
    found += _vni(lab, network_id, content, {member.node for member in known})
    return [*found, *_endpoints(lab, network_id, content, known)]


def _network(network: str, content: Content, engines: Mapping[str, dict[str, Any]]) -> Finding:
    """Compare id, name, driver, scope and subnet, as each engine says them."""
    ids = sorted({str(told["Id"]) for told in engines.values()})
    stored = _json(content, f"network/{ids[0]}")
    if len(ids) > 1 or not stored:
        reason = (
            f"the engines say {', '.join(i[:12] for i in ids)}; the store has {_under(content, 'network')}"
        )
        return Finding("store-network", Outcome.MISSING, ids[0][:12], dst=network, reason=reason)
    pool = json.loads(json.loads(stored["ipamV4Info"])[0]["IPAMData"])
    says = {
        "id": stored["id"],
        "name": stored["name"],
        "driver": stored["networkType"],
        "scope": stored["scope"],
        "subnet": pool["Pool"],
        "gateway": str(pool["Gateway"]).partition("/")[0],
    }
    wrong = [
        line
        for node, told in engines.items()
        for line in _differences(says, _told(told), f"the engine of {node}")
    ]
    outcome = Outcome.DIFFERS if wrong else Outcome.OK
    reason = "; ".join(wrong[:3])
    return Finding(
        "store-network", outcome, ids[0][:12], dst=network, reason=reason, evidence={"store": says}
    )


def _told(engine: dict[str, Any]) -> dict[str, str]:
    config = engine["IPAM"]["Config"][0]
    return {
        "id": engine["Id"],
        "name": engine["Name"],
        "driver": engine["Driver"],
        "scope": engine["Scope"],
        "subnet": config["Subnet"],
        "gateway": config["Gateway"],
    }


def _vni(lab: Lab, network_id: str, content: Content, at: set[str]) -> list[Finding]:
    """Compare the VNI of the store with that of the device in each hidden namespace."""
    stored = _json(content, f"overlay/network/{network_id}")
    vni = stored["subnets"][0]["Vni"] if stored else None
    found = []
    for node in (lab.node(name) for name in sorted(at)):
        links = node.state("links", namespace=namespace(node, network_id))
        kinds = [
            row["linkinfo"]["info_data"]
            for row in links
            if row.get("linkinfo", {}).get("info_kind") == "vxlan"
        ]
        device = int(kinds[0]["id"]) if kinds else None
        outcome = Outcome.MISSING if vni is None else Outcome.OK if vni == device else Outcome.DIFFERS
        reason = "" if outcome is Outcome.OK else f"the store says {vni}, the device has {device}"
        found.append(Finding("store-vni", outcome, vni, promised=device, dst=node.name, reason=reason))
    return found


def _endpoints(lab: Lab, network_id: str, content: Content, known: list[Member]) -> list[Finding]:
    by_id = {member.endpoint: member for member in known}
    stored = set(_under(content, f"endpoint/{network_id}"))
    found = []
    for endpoint in sorted(stored | set(by_id)):
        says = _json(content, f"endpoint/{network_id}/{endpoint}")
        found.append(_endpoint(lab, endpoint, says, by_id.get(endpoint)))
    return found


def _endpoint(lab: Lab, endpoint: str, stored: dict[str, Any], member: Member | None) -> Finding:
    """Judge one endpoint; its value is its name."""
    probe = "store-endpoint"
    if member is None:
        reason = f"{stored['name']} on {stored['locator']} is in the store, and no engine has it"
        return Finding(probe, Outcome.LEFT_OVER, stored["name"], dst=endpoint[:12], reason=reason)
    where = f"{member.node}/{member.container}"
    if not stored:
        return Finding(
            probe, Outcome.MISSING, member.container, dst=where, reason="the store has no such endpoint"
        )
    says = {
        "name": stored["name"],
        "address": str(stored["ep_iface"]["addr"]).partition("/")[0],
        "mac": stored["ep_iface"]["mac"],
        "node": stored["locator"],
    }
    true = {
        "name": member.container,
        "address": str(member.address),
        "mac": member.mac,
        "node": str(lab.node(member.node).address),
    }
    wrong = _differences(says, true, where)
    outcome = Outcome.DIFFERS if wrong else Outcome.OK
    return Finding(probe, outcome, says["name"], dst=where, reason="; ".join(wrong), evidence={"store": says})


def _differences(store: Mapping[str, str], true: Mapping[str, str], who: str) -> list[str]:
    return [
        f"{key} is {store[key]} in the store, {true[key]} for {who}"
        for key in true
        if store[key] != true[key]
    ]


def _json(content: Content, path: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(content.get(path, "{}"))
    return found


def _under(content: Content, folder: str) -> list[str]:
    start = f"{folder}/"
    return [path.removeprefix(start) for path in content if path.startswith(start)]


def ghost(content: Content, network_id: str, name: str) -> tuple[str, str]:
    """Return path and JSON of an endpoint that nobody has: a copy of a true one under another id."""
    start = f"endpoint/{network_id}/"
    path = next(path for path in content if path.startswith(start))
    made = _json(content, path)
    identity = made["id"][::-1]
    made |= {"id": identity, "name": name, "sandbox": ""}
    return f"{start}{identity}", json.dumps(made)
