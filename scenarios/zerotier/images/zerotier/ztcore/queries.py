"""What a node says of itself: info, peers and listnetworks, as zerotier-cli gives them (-j, and as lines)."""

from __future__ import annotations

import ctypes as c
import struct
from typing import TYPE_CHECKING, Any

from . import abi, addresses

if TYPE_CHECKING:
    from .node import Node

ALIVE_MS = 40_000  # a path that heard nothing for so long is not one


def config_of(pointer: int) -> dict[str, Any]:
    """Return a ZT_VirtualNetworkConfig as data."""
    config = c.cast(pointer, c.POINTER(abi.NetworkConfig))[0]
    assigned = [addresses.unpack(bytes(config.addresses[n])) for n in range(config.address_count)]
    return {
        "id": f"{config.nwid:016x}",
        "mac": addresses.mac(config.mac),
        "mac_number": config.mac,
        "name": config.name.decode(),
        "status": abi.STATUSES[config.status],
        "type": abi.TYPES[config.type],
        "mtu": config.mtu,
        "netconfRevision": config.revision,
        "assignedAddresses": [f"{ip[0]}/{ip[1]}" for ip in assigned if ip],
    }


class Queries:
    """Questions to a node that runs."""

    def __init__(self, node: Node) -> None:
        self._node = node

    def info(self) -> dict[str, Any]:
        """Return the node's address, public identity, and whether it reaches a root."""
        status = abi.NodeStatus()
        self._node.core.ZT_Node_status(self._node.handle, c.byref(status))
        return {
            "address": f"{status.address:010x}",
            "publicIdentity": status.public.decode(),
            "online": bool(status.online),
            "version": ".".join(map(str, abi.VERSION)),
            "refusedAddresses": self._node.refused,
        }

    def listnetworks(self) -> list[dict[str, Any]]:
        """Return every network that was joined, with its status and the addresses it gave."""
        found = []
        for network in sorted(self._node.joined):
            pointer = self._node.core.ZT_Node_networkConfig(self._node.handle, network)
            if pointer:
                config = config_of(pointer)
                self._node.core.ZT_Node_freeQueryResult(self._node.handle, pointer)
                tap = self._node.taps.get(network)
                found.append(config | {"portDeviceName": tap.name if tap else ""})
        return found

    def peers(self) -> list[dict[str, Any]]:
        """Return every node that this one knows, and the physical paths to it; none: it is relayed."""
        pointer = self._node.core.ZT_Node_peers(self._node.handle)
        first, count = struct.unpack("QQ", c.string_at(pointer, 16))
        found = [
            _peer(c.string_at(first + n * abi.PEER_BYTES, abi.PEER_BYTES), self._node.now_ms())
            for n in range(count)
        ]
        self._node.core.ZT_Node_freeQueryResult(self._node.handle, pointer)
        return found


def _peer(raw: bytes, now: int) -> dict[str, Any]:
    address, major, minor, revision, latency, role = struct.unpack_from("=Qiiiii", raw)
    (count,) = struct.unpack_from("=I", raw, abi.PATH_COUNT_AT)
    paths = []
    for number in range(count):
        at = abi.PATHS_AT + number * abi.PATH_BYTES
        sent, received = struct.unpack_from("=QQ", raw, at + abi.PATH_TIMES_AT)
        to = addresses.unpack(raw[at : at + addresses.STORAGE])
        if to:
            shown = {"address": f"{to[0]}/{to[1]}", "lastSend": sent, "lastReceive": received}
            paths.append(shown | {"active": now - received < ALIVE_MS})
    return {
        "address": f"{address:010x}",
        "version": f"{major}.{minor}.{revision}",
        "latency": latency,
        "role": abi.ROLES[role],
        "paths": paths,
        "link": "DIRECT" if any(path["active"] for path in paths) else "RELAY",
    }


def lines(what: str, answer: Any) -> list[str]:
    """Return an answer as zerotier-cli prints it."""
    if what == "info":
        state = "ONLINE" if answer["online"] else "OFFLINE"
        return [f"200 info {answer['address']} {answer['version']} {state}"]
    if what == "listnetworks":
        head = "200 listnetworks <nwid> <name> <mac> <status> <type> <dev> <ZT assigned ips>"
        return [head, *(_network_line(network) for network in answer)]
    if what == "peers":
        head = "200 peers\n<ztaddr>   <ver>  <role> <lat> <link> <path>"
        return [head, *(_peer_line(peer) for peer in answer)]
    return [f"200 {what} OK" if answer == "ok" else f"500 {what} {answer}"]


def _network_line(network: dict[str, Any]) -> str:
    ips = ",".join(network["assignedAddresses"]) or "-"
    words = ["id", "name", "mac", "status", "type", "portDeviceName"]
    return " ".join(["200 listnetworks", *(network[word] or "-" for word in words), ips])


def _peer_line(peer: dict[str, Any]) -> str:
    path = next((p["address"] for p in peer["paths"] if p["active"]), "-")
    words = [peer["address"], peer["version"], peer["role"], str(peer["latency"]), peer["link"], path]
    return " ".join(words)
