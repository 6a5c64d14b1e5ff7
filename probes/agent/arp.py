"""Who answers ARP for an address, and how many do.

scapy's `srp(multi=True)` keeps listening after the first answer, so two owners of one address are both
seen; `arping -D` stops at the first. The kernel's own neighbour table is not asked: it may be warm.
"""

from __future__ import annotations

import logging
import threading
from typing import Any

from . import netlink

BROADCAST = "ff:ff:ff:ff:ff:ff"
_importing = threading.Lock()


def arp(targets: list[str], wait: float = 1.3, interface: str = "") -> dict[str, Any]:
    """Ask for every address at once and collect answers for `wait` seconds.

    The interface is the route's own unless it is given. Returns results, one a target, in order:
    {"dst", "dev", "arp": False where the interface has no ARP, "answers": [{"mac", "ms"}]}.
    """
    results: list[dict[str, Any]] = []
    by_link: dict[str, list[str]] = {}
    links = {entry["name"]: entry for entry in netlink.interfaces()}
    for dst in targets:
        dev = interface or netlink.route(dst)["dev"]
        able = bool(links[dev]["arp"])
        results.append({"dst": dst, "dev": dev, "arp": able, "answers": []})
        if able:
            by_link.setdefault(dev, []).append(dst)
    for dev, wanted in by_link.items():
        source = netlink.route(wanted[0])["source"]
        answers = _ask(dev, links[dev]["mac"], source, wanted, wait)
        for result in results:
            if result["dev"] == dev:
                result["answers"] = answers.get(result["dst"], [])
    return {"results": results}


def _ask(dev: str, mac: str, source: str, wanted: list[str], wait: float) -> dict[str, list[dict[str, Any]]]:
    with _importing:
        logging.getLogger("scapy").setLevel(logging.ERROR)
        from scapy.layers.l2 import ARP, Ether
        from scapy.sendrecv import srp
    crafted = [
        Ether(src=mac, dst=BROADCAST) / ARP(op=1, hwsrc=mac, psrc=source, pdst=dst, hwdst="00:00:00:00:00:00")
        for dst in wanted
    ]
    answered, _silent = srp(crafted, iface=dev, timeout=wait, multi=True, verbose=0)
    found: dict[str, list[dict[str, Any]]] = {}
    for asked, reply in answered:
        if reply.haslayer(ARP) and reply[ARP].op == 2 and reply[ARP].psrc == asked[ARP].pdst:
            ms = round((float(reply.time) - float(asked.sent_time)) * 1000, 3)
            found.setdefault(reply[ARP].psrc, []).append({"mac": reply[ARP].hwsrc, "ms": ms})
    return found
