r"""VXLAN with BGP EVPN: nodes tell each other which link address is where, in the words of routers.

    node1 192.168.56.101                      node2 192.168.56.102
    +--------------------------------+        +--------------------------------+
    | probe0  eth1 192.168.0.2       |        | probe0  eth1 192.168.0.3       |
    |           |  02:42:c0:a8:00:02 |        |           |  02:42:c0:a8:00:03 |
    |   br0 - veth2                  |        |   br0 - veth3                  |
    |    |                           |        |    |                           |
    |   vxlan1  id 42, nolearning    |        |   vxlan1  id 42, nolearning    |
    |   zebra - bgpd AS 65000  - 179 | ------ | 179 -  bgpd AS 65000 - zebra   |
    +-----|--------------------------+        +-----|--------------------------+
         eth1 ---------- VXLAN, UDP 4789 --------- eth1

The bridge learns its own containers from their frames, as every switch does; zebra hears of it, bgpd
announces it (a route of type 2), and the other node's zebra enters it as `extern_learn`. ARP is real: a
question to all goes to every node that has announced the VNI (type 3), each in a packet of its own. There is
no store and no agent of ours, and no entry that anybody wrote by hand.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from ipaddress import IPv4Address
from typing import Any

from fixtures.lab import Lab
from fixtures.node import Node
from fixtures.waiting import NotYet, limit, wait_for
from overlab.model import Endpoint, Flow, LinkMode
from probes.neighbours import Table
from scenarios.evpn import steps
from scenarios.families.by_hand import steps as by_hand_steps
from scenarios.families.by_hand.base import HandMade, promise, topology
from scenarios.families.by_hand.tables import elsewhere, forwarding, members

BGP = 179
FLOOD = "00:00:00:00:00:00"  # where a frame goes that nobody is known for
SESSION_DOWN, NOT_TOLD = "bgp-session-down", "not-told"


class Evpn(HandMade):
    """Two nodes, each a VTEP and a BGP speaker."""

    namespace = ""  # zebra reads its own namespace, and bgpd needs the underlay
    topology = topology("evpn")
    promise = promise(LinkMode.L2, Flow("tcp", BGP, "BGP"))

    def up(self, lab: Lab) -> None:
        """Make bridge and device, start FRR, and wait for its sessions."""
        super().up(lab)
        lab.each(self._start_zebra)
        lab.each(self.start_bgp)
        for node in lab.nodes.values():
            self.until_established(node)

    def _start_zebra(self, node: Node) -> None:
        node.put(steps.ZEBRA_CONF, steps.zebra_config(node.name))
        node.service("zebra", steps.ZEBRA, ready=["vtysh", "-d", "zebra", "-c", "show version"])

    def start_bgp(self, node: Node) -> None:
        """Start the node's bgpd, or start it again."""
        others = [spec.address for spec in self.topology.nodes if spec.name != node.name]
        node.put(steps.BGPD_CONF, steps.bgpd_config(node.name, node.address, others))
        node.service("bgpd", steps.BGPD, ready=["vtysh", "-d", "bgpd", "-c", "show version"])

    def until_established(self, node: Node) -> None:
        """Wait until all BGP sessions of `node` are there."""

        def established() -> None:
            if down := self.sessions_down(node):
                raise NotYet(down)

        look = f"./lab exec {node} -- vtysh -c 'show bgp l2vpn evpn summary'"
        wait_for(f"the BGP sessions of {node}", established, within=limit("overlay"), look=look)

    def sessions_down(self, node: Node) -> str:
        """Say in words which sessions of `node` are not established; "" where all are."""
        shown = vtysh(node, "show bgp l2vpn evpn summary json", check=False)
        peers = shown.get("peers", {})
        wanted = [str(spec.address) for spec in self.topology.nodes if spec.name != node.name]
        states = {peer: peers.get(peer, {}).get("state", "unknown: no bgpd answers") for peer in wanted}
        return "; ".join(f"the session to {p} is {s}" for p, s in states.items() if s != "Established")

    def down(self, lab: Lab) -> None:
        """See Overlay."""

        def stop(node: Node) -> None:
            for name in ("bgpd", "zebra"):
                node.stop_service(name)
            node.run(["rm", "-f", steps.BGPD_CONF, steps.ZEBRA_CONF])

        lab.each(stop)
        super().down(lab)

    def device(self, node: Node) -> str:
        """See HandMade."""
        return steps.device(self.place, node.address)

    def up_script(self, node: Node) -> str:
        """See HandMade."""
        return by_hand_steps.up(self.place) + steps.LET_THROUGH

    def down_script(self, node: Node) -> str:
        """See HandMade."""
        return steps.STOP_LETTING_THROUGH + steps.REMOVE

    def announce(self, lab: Lab, endpoint: Endpoint) -> None:
        """Nothing: the container has told its bridge where it is, and BGP tells the others."""

    def withdraw(self, lab: Lab, endpoint: Endpoint) -> None:
        """Nothing: the bridge has forgotten its port."""

    def tables(self, lab: Lab, wanted: Collection[IPv4Address] = ()) -> list[Table]:
        """See HandMade: what BGP tells is there beforehand. Who has an address, containers ask each other."""
        known = members(lab)

        def read(node: Node) -> list[Table]:
            # The bridge decides first: the device may keep an entry of who came here, which nobody asks for.
            away = elsewhere(lab, node, known)
            (other,) = (str(spec.address) for spec in self.topology.nodes if spec.name != node.name)
            return forwarding(node, self.place, known, (away, [*away, FLOOD]), away | {FLOOD: other})

        return [table for tables in lab.each(read).values() for table in tables]

    def why_missing(self, node: Node) -> tuple[str, str]:
        """See HandMade: without a session nobody tells anything."""
        down = self.sessions_down(node)
        return (
            (SESSION_DOWN, down) if down else (NOT_TOLD, "all sessions are established, and nobody said it")
        )

    def version(self, lab: Lab) -> dict[str, str]:
        """Return FRR's version."""
        shown = next(iter(lab.nodes.values())).run(["/usr/lib/frr/bgpd", "--version"], quiet=True)
        return {"frr": shown.out.split()[2]}


def vtysh(node: Node, command: str, *, check: bool = True) -> dict[str, Any]:
    """Return what FRR answers to a command that ends in `json`; {} where it does not answer."""
    shown = node.run(["vtysh", "-c", command], quiet=True, check=check)
    try:
        answer: dict[str, Any] = json.loads(shown.out or "{}")
    except json.JSONDecodeError:
        return {}
    return answer


OVERLAY = Evpn
