"""Fills the tables of a VXLAN device on demand: what the kernel misses is asked of a store. Runs on a node.

    missd.py NAMESPACE DEVICE STORE VTEP      e.g. /run/netns/overns vxlan1 192.168.56.101:2379 192.168.56.102

The store is etcd, asked by its JSON gateway: `neighbours/ADDRESS` is a link address, `forwarding/MAC` the
node behind which that is. A device with l3miss and l2miss tells whoever listens (RTM_GETNEIGH) that it knows
no link address for an address, or no node for a link address. What is found is entered for good, and the
kernel asks nothing while it believes that it knows: so at every change of the store all is compared.
Source: the notifications of drivers/net/vxlan in Linux, vxlan_ip_miss and vxlan_fdb_miss.
"""

from __future__ import annotations

import ctypes
import errno
import json
import logging
import os
import socket
import sys
import threading
import time
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator
from http.client import HTTPConnection, HTTPException, HTTPResponse
from typing import Any

from pyroute2 import IPRoute, NetlinkError

CLONE_NEWNET = 0x40000000
RTMGRP_NEIGH, NTF_SELF, NUD_PERMANENT = 4, 2, 0x80
ANSWER_S, RETRY_S = 1.0, 1.0
# A store whose machine is gone says nothing: seconds until it is asked, between two questions, and how many.
KEEPALIVE = {socket.TCP_KEEPIDLE: 4, socket.TCP_KEEPINTVL: 1, socket.TCP_KEEPCNT: 3}
ALL = {"key": "AA==", "range_end": "AA=="}  # etcd's way of saying: from the first key to the last
UNANSWERED = (OSError, HTTPException, ValueError)  # what asking the store can end with
GONE = (errno.ENOENT, errno.ESRCH)
Known = dict[str, str]
log = logging.getLogger("missd")


class Store:
    """etcd, over HTTP; raises what UNANSWERED names."""

    def __init__(self, where: str) -> None:
        self._host, _, port = where.partition(":")
        self._port = int(port)

    def read(self) -> Known:
        """Return everything."""
        answer = json.load(self._post("/v3/kv/range", ALL, ANSWER_S))
        pairs = answer.get("kvs", [])
        return {b64decode(p["key"]).decode(): b64decode(p["value"]).decode() for p in pairs}

    def get(self, key: str) -> str | None:
        """Return the value of a key."""
        answer = json.load(self._post("/v3/kv/range", {"key": b64encode(key.encode()).decode()}, ANSWER_S))
        return b64decode(answer["kvs"][0]["value"]).decode() if "kvs" in answer else None

    def changes(self) -> Iterator[None]:
        """Yield once when the store listens to us, then at every change."""
        for _line in self._post("/v3/watch", {"create_request": ALL}, None):
            yield

    def _post(self, path: str, body: dict[str, Any], within: float | None) -> HTTPResponse:
        connection = HTTPConnection(self._host, self._port, timeout=ANSWER_S)
        connection.connect()
        connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in KEEPALIVE.items():
            connection.sock.setsockopt(socket.IPPROTO_TCP, option, value)
        connection.sock.settimeout(within)
        connection.request("POST", path, json.dumps(body))
        answer = connection.getresponse()
        if answer.status != 200:
            raise OSError(f"{path}: {answer.status} {answer.reason}")
        return answer


class Device:
    """The device's two tables in the kernel."""

    def __init__(self, name: str) -> None:
        self.netlink = IPRoute()
        self.index = self.netlink.link_lookup(ifname=name)[0]

    def neighbours(self) -> Known:
        """Return the entered neighbours: address → link address."""
        return self._rows(self.netlink.get_neighbours(family=socket.AF_INET), "NDA_DST", "NDA_LLADDR")

    def forwarding(self) -> Known:
        """Return the entered nodes: link address → the node's address."""
        return self._rows(self.netlink.fdb("dump"), "NDA_LLADDR", "NDA_DST")

    def _rows(self, rows: Any, key: str, value: str) -> Known:
        own = [row for row in rows if row["ifindex"] == self.index and row["state"] & NUD_PERMANENT]
        return {row.get_attr(key): row.get_attr(value) for row in own if row.get_attr("NDA_DST")}

    def neighbour(self, address: str, mac: str | None) -> None:
        """Enter a neighbour, or with None remove it."""
        entry = {"dst": address, "ifindex": self.index}
        if mac is None:
            self._remove(self.netlink.neigh, entry)
        else:
            self.netlink.neigh("replace", lladdr=mac, state=NUD_PERMANENT, **entry)

    def forward(self, mac: str, vtep: str | None) -> None:
        """Enter the node behind which a link address is, or with None remove it."""
        entry = {"lladdr": mac, "ifindex": self.index, "flags": NTF_SELF}
        if vtep is None:
            self._remove(self.netlink.fdb, entry)
        else:
            self.netlink.fdb("replace", dst=vtep, state=NUD_PERMANENT, **entry)

    def _remove(self, table: Callable[..., Any], entry: dict[str, Any]) -> None:
        try:
            table("del", **entry)
        except NetlinkError as error:
            if error.code not in GONE:
                raise


class Agent:
    """Between the two."""

    def __init__(self, store: Store, device: Device, vtep: str) -> None:
        self._store, self._device, self._vtep = store, device, vtep
        self._lock = threading.Lock()  # what was read before a change must not be entered after it

    def missed(self, address: str | None, mac: str | None) -> None:
        """Answer one miss. What is on this node the bridge knows: no entry may lead away from here.

        Who asks for an address has a packet for it: where that goes is entered first, or it would be missed
        in its turn, and lost.
        """
        with self._lock:
            if address is not None:
                mac = self._store.get(f"neighbours/{address}")
            vtep = self._store.get(f"forwarding/{mac}") if mac else None
            log.info("miss of %s: %s behind %s", address or mac, mac or "nobody", vtep or "nobody")
            if mac is None or vtep in (None, self._vtep):
                return
            self._device.forward(mac, vtep)
            if address is not None:
                self._device.neighbour(address, mac)

    def compare(self) -> None:
        """Hold every entry against the store."""
        with self._lock:
            known = self._store.read()
            away = {key: vtep for key, vtep in known.items() if vtep != self._vtep}
            for address, mac in self._device.neighbours().items():
                told = known.get(f"neighbours/{address}")
                true = told if f"forwarding/{told}" in away else None
                if true != mac:
                    log.info("%s was at %s: %s", address, mac, true or "no more")
                    self._device.neighbour(address, true)
            for mac, vtep in self._device.forwarding().items():
                true = away.get(f"forwarding/{mac}")
                if true != vtep:
                    log.info("%s was behind %s: %s", mac, vtep, true or "no more")
                    self._device.forward(mac, true)

    def follow(self) -> None:
        """Compare at every change, for ever; whatever else goes wrong ends the process."""
        try:
            while True:
                try:
                    for _change in self._store.changes():
                        self.compare()
                except UNANSWERED as error:
                    log.warning("the store does not answer: %s", error)
                time.sleep(RETRY_S)
        finally:
            os._exit(1)


def inside(namespace: str, device: str) -> tuple[IPRoute, Device]:
    """Return the misses of a network namespace, and a device there; the process itself stays outside.

    A socket belongs to the namespace in which it was made, so that the store is reached from the node's own.
    Only before there are threads: each has a namespace of its own.
    """
    own, other = (os.open(path, os.O_RDONLY) for path in ("/proc/self/ns/net", namespace))
    _enter(other)
    events, found = IPRoute(), Device(device)
    events.bind(groups=RTMGRP_NEIGH)
    _enter(own)
    return events, found


def _enter(namespace: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(namespace, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


def main() -> None:
    """Listen for misses, and for changes of the store."""
    logging.basicConfig(format="%(asctime)s %(message)s", level=logging.INFO)
    namespace, device, store, vtep = sys.argv[1:]
    events, found = inside(namespace, device)
    agent = Agent(Store(store), found, vtep)
    threading.Thread(target=agent.follow, daemon=True).start()
    log.info("listening to %s, asking %s", device, store)
    while True:
        for message in events.get():
            if message["event"] != "RTM_GETNEIGH" or message["ifindex"] != found.index:
                continue
            address, mac = message.get_attr("NDA_DST"), message.get_attr("NDA_LLADDR")
            try:
                agent.missed(address, None if address else mac)
            except UNANSWERED as error:
                log.warning("miss of %s: the store does not answer: %s", address or mac, error)


if __name__ == "__main__":
    main()
