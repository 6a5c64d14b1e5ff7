r"""VXLAN by hand: on each node a namespace with a bridge and a VXLAN device; we fill the tables ourselves.

    node1 192.168.56.101                      node2 192.168.56.102
    +--------------------------------+        +--------------------------------+
    | probe0  eth1 192.168.0.2       |        | probe0  eth1 192.168.0.3       |
    |           |  02:42:c0:a8:00:02 |        |           |  02:42:c0:a8:00:03 |
    | overns    |                    |        | overns    |                    |
    |   br0 - veth2                  |        |   br0 - veth3                  |
    |    |                           |        |    |                           |
    |   vxlan1  id 42, proxy         |        |   vxlan1  id 42, proxy         |
    |   missd (miss) --- etcd (miss) | ------ | ----- missd (miss)             |
    +-----|--------------------------+        +-----|--------------------------+
         eth1 ---------- VXLAN, UDP 4789 --------- eth1

What Docker's overlay driver hides is made here step by step. vxlan1 asks nobody (it has no multicast group,
and does not learn): it needs a neighbour entry to answer ARP for a container elsewhere, and a forwarding
entry to know its node. They are written on every node beforehand (`static`), or on demand, by an agent that
hears what the kernel misses and asks a store (`miss`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from ipaddress import IPv4Address
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from fixtures import overlay as base
from fixtures.containers import forget_neighbours
from fixtures.lab import Lab
from fixtures.node import Node
from overlab.model import Endpoint, Flow, LinkMode
from probes.neighbours import Table
from scenarios.families.by_hand import steps as by_hand_steps
from scenarios.families.by_hand.base import HandMade, mac_of, promise, topology
from scenarios.families.by_hand.steps import DEVICE, VXLAN
from scenarios.families.by_hand.tables import NOBODY, elsewhere, forwarding, members, neighbours
from scenarios.vxlan import steps

STORE = "node1"
CLIENT = 2379
DATA = "/var/lib/etcd/overlay"
AGENT = Path(__file__).with_name("missd.py")
INSTALLED = f"{by_hand_steps.FOLDER}/missd.py"
STORE_UNREACHABLE, NOT_TOLD = "store-unreachable", "not-told"

Entries = Literal["static", "miss"]


class Options(base.Options):
    """Options of the VXLAN scenario."""

    entries: Entries = Field(
        "static", description="static: on every node beforehand; miss: on demand, by an agent that asks etcd"
    )


class ByHand(HandMade):
    """The talks' overlay."""

    namespace = steps.NAMESPACE
    # An ARP request that is missed is lost, and so is the answer's own. A kernel asks three times in three
    # seconds: ten times are in the same time.
    neighbour_settings: ClassVar[Mapping[str, int]] = {"retrans_time_ms": 300, "mcast_solicit": 10}
    options_type = Options
    topology = topology("vxlan")
    promise = promise(LinkMode.PROXY_ARP)

    def __init__(self, options: base.Options) -> None:
        super().__init__(options)
        assert isinstance(options, Options)
        self._choose(options.entries)

    def _choose(self, entries: Entries) -> None:
        self.entries = entries
        asked = Flow("tcp", CLIENT, "agents and their store")
        self.promise = promise(LinkMode.PROXY_ARP, *([asked] if entries == "miss" else []))

    @property
    def store(self) -> str:
        """Where the agents ask: address:port."""
        return f"{self.topology.node(STORE).address}:{CLIENT}"

    def up(self, lab: Lab) -> None:
        """Make namespace, bridge and device; with `miss`, the store and its agents too."""

        def put(node: Node) -> None:
            node.put(steps.ENTER, steps.enter(self.place, node.address))
            node.put(steps.TELL, steps.TELL_ONE)

        lab.each(put)
        super().up(lab)
        self._start_agents(lab)

    def down(self, lab: Lab) -> None:
        """See Overlay."""
        self._stop_agents(lab)
        super().down(lab)

    def fill(self, lab: Lab, entries: Entries) -> None:
        """Go over to the other way of filling the tables; all containers stay where they are."""
        self._stop_agents(lab)
        self._choose(entries)

        def again(node: Node) -> None:
            node.run(["rm", "-f", steps.ENTRIES])
            node.put(DEVICE, self.device(node))
            node.run(["sh", "-ex", DEVICE])

        lab.each(again)
        self._start_agents(lab)
        for member in members(lab):
            self.announce(lab, member.endpoint)
            # What a container itself knows would spare the node a question.
            forget_neighbours(lab.node(member.node), member.container)

    def _start_agents(self, lab: Lab) -> None:
        if self.entries == "static":
            return
        store = lab.node(STORE)
        urls = f"http://{self.store},http://127.0.0.1:{CLIENT}"
        flags = ["--name", STORE, "--data-dir", DATA, "--listen-client-urls", urls]
        flags += ["--advertise-client-urls", f"http://{self.store}"]
        store.service("etcd", ["etcd", *flags], ready=["etcdctl", "endpoint", "health"])

        def start(node: Node) -> None:
            node.put(INSTALLED, AGENT.read_text())
            asked = [self.place.path or "", VXLAN, self.store, str(node.address)]
            listening = ["grep", "-q", "listening", "/var/log/missd.log"]
            node.service("missd", ["python3", INSTALLED, *asked], ready=listening)

        lab.each(start)

    def _stop_agents(self, lab: Lab) -> None:
        if self.entries == "static":
            return
        lab.each(lambda node: node.stop_service("missd"))
        lab.node(STORE).stop_service("etcd")
        lab.node(STORE).run(["rm", "-rf", DATA])

    def device(self, node: Node) -> str:
        """See HandMade: who asks, or what is known, is what the two ways differ in."""
        known = steps.ENTER_ALL if self.entries == "static" else ""
        return steps.device(self.place, misses=self.entries == "miss") + known

    def up_script(self, node: Node) -> str:
        """See HandMade."""
        return by_hand_steps.up(self.place, before=steps.NEW_NAMESPACE)

    def down_script(self, node: Node) -> str:
        """See HandMade: what is in a namespace goes with it."""
        return steps.OLD_NAMESPACE

    def announce(self, lab: Lab, endpoint: Endpoint) -> None:
        """Write the entries on every node, or tell the store."""
        self._tell(lab, endpoint, str(lab.node(endpoint.node).address))

    def withdraw(self, lab: Lab, endpoint: Endpoint) -> None:
        """Remove the entries from every node, or from the store."""
        self._tell(lab, endpoint, "")

    def _tell(self, lab: Lab, endpoint: Endpoint, vtep: str) -> None:
        address, mac = str(endpoint.address), mac_of(endpoint.address)
        if self.entries == "static":
            lab.each(lambda node: node.run(["sh", "-ex", steps.TELL, address, mac, vtep]))
            return
        told = {f"forwarding/{mac}": vtep, f"neighbours/{address}": mac}
        client = ["etcdctl", f"--endpoints=http://{self.store}"]
        for key, value in told.items():
            lab.node(endpoint.node).run([*client, "put", key, value] if vtep else [*client, "del", key])

    def tables(self, lab: Lab, wanted: Collection[IPv4Address] = ()) -> list[Table]:
        """See HandMade: static entries are all there beforehand, others once they were needed."""
        known = members(lab)

        def read(node: Node) -> list[Table]:
            away = [member for member in known if member.node != node.name]
            # On demand, a container that has a link address asks for none, but every packet needs a node.
            static = self.entries == "static"
            addresses = [str(member.address) for member in away if static]
            macs = [member.mac for member in away if static or member.address in wanted]
            # Who is nowhere, or here, must not be in the device's table.
            rows = node.state("forwarding", namespace=self.place.path)
            nodes = {str(row["mac"]): NOBODY for row in rows} | elsewhere(lab, node, known)
            return [
                neighbours(node, self.place, known, addresses),
                *forwarding(node, self.place, known, ([], macs), nodes),
            ]

        return [table for tables in lab.each(read).values() for table in tables]

    def why_missing(self, node: Node) -> tuple[str, str]:
        """See HandMade: static ones were never written; others were not found, or not asked for."""
        if self.entries == "static":
            return NOT_TOLD, f"nobody has told {node}"
        client = ["etcdctl", f"--endpoints=http://{self.store}", "--dial-timeout=1s", "--command-timeout=1s"]
        asked = node.run([*client, "get", "--limit=1", "--prefix", "forwarding/"], check=False)
        if asked.status != 0:
            said = asked.err.strip().splitlines()[-1]
            return STORE_UNREACHABLE, f"{self.store} does not answer {node}: {said}"
        return NOT_TOLD, "nobody has told the store"

    def variant(self, kernel_has: Callable[[str], bool]) -> dict[str, str]:
        """Name the way in which the tables are filled, as the row was asked for."""
        assert isinstance(self.options, Options)
        return {"entries": self.options.entries}

    def version(self, lab: Lab) -> dict[str, str]:
        """Return the versions of what the overlay is made with."""
        node = lab.node(STORE)
        found = {"iproute2": node.run(["ip", "-V"], quiet=True).out.split("-")[-1].partition(",")[0]}
        if self.entries == "miss":
            found["etcd"] = node.run(["etcd", "--version"], quiet=True).out.split()[2]
        return found


OVERLAY = ByHand
