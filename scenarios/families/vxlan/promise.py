"""What VXLAN promises, whoever fills its tables: its port, its overhead, and what follows for the MTU."""

from __future__ import annotations

from overlab.model import Flow, LinkMode, Naming, Promise

OVERHEAD = 50  # bytes: IPv4 20 + UDP 8 + VXLAN 8 + inner Ethernet 14 (RFC 7348, section 5)
PORT = 4789


def vxlan(link: LinkMode, naming: Naming, *control: Flow) -> Promise:
    """Return the promise; who answers ARP and names, and what is said beside it, is the scenario's to say."""
    return Promise(
        link=link,
        interface_mtu=lambda underlay: underlay - OVERHEAD,
        path_mtu=lambda underlay: underlay - OVERHEAD,
        wire_bytes=lambda inner, underlay: inner + OVERHEAD,
        outer=Flow("udp", PORT, "VXLAN"),
        encrypted=False,
        hops=0,
        naming=naming,
        control=control,
    )
