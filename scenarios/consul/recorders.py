"""The paper's three shells: what the kernel tells of links, routes and neighbours while something happens.

    ip monitor link        ip monitor route        echo 1 >.../eth1/app_solicit; ip monitor neigh

With app_solicit set, the kernel tells user space that it looks for a neighbour ("miss") before it asks the
wire itself, a second later: this is how a program could answer in ARP's place.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime

from fixtures.command import Process
from fixtures.containers import in_network_of
from fixtures.node import Node
from fixtures.waiting import NotYet, limit, wait_for
from overlab.model import Endpoint

KINDS = ("link", "route", "neigh")
MARK = "recmark"
NOWHERE = "198.51.100"  # RFC 5737: nobody's network


@dataclass(frozen=True, slots=True, order=True)
class Event:
    """One line of a recorder: when the node's kernel told it, which recorder, what."""

    time: datetime
    kind: str
    text: str


class Recorder:
    """One `ip monitor`, read as it speaks."""

    def __init__(self, node: Node, kind: str) -> None:
        self._kind = kind
        self._process: Process = node.popen(["ip", "-o", "-ts", "monitor", kind])
        self._lines: list[str] = []
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        with self._process.stdout as stream:
            rest = b""
            while data := stream.read(1 << 16):
                *lines, rest = (rest + data).split(b"\n")
                self._lines += [line.decode(errors="replace") for line in lines]

    @property
    def events(self) -> list[Event]:
        """What it has told so far: `[2017-12-01T10:00:00.123456] text`."""
        return [event for line in list(self._lines) if (event := parse(self._kind, line))]

    def stop(self) -> None:
        """End it."""
        self._process.stop()
        self._thread.join()


def parse(kind: str, line: str) -> Event | None:
    """Return the event of a line of `ip -o -ts monitor`, or None for a line without a time."""
    stamp, bracket, text = line.removeprefix("[").partition("] ")
    if not bracket:
        return None
    return Event(datetime.fromisoformat(stamp), kind, " ".join(text.replace("\\", " ").split()))


class Recorders:
    """The three of them, on one node."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._running = [Recorder(node, kind) for kind in KINDS]

    def timeline(self) -> list[Event]:
        """Return what all of them told, in order, without the marks that showed that they listen."""
        told = [event for recorder in self._running for event in recorder.events]
        return sorted(event for event in told if MARK not in event.text and NOWHERE not in event.text)

    def wait_until_live(self) -> None:
        """Make one event of each kind, again and again, until each recorder has told one."""

        def told() -> None:
            self._node.sh(MAKE_MARKS, quiet=True)
            silent = [k for k, r in zip(KINDS, self._running, strict=True) if not r.events]
            if silent:
                raise NotYet(f"silent: {', '.join(silent)}")

        wait_for("three recorders to listen", told, within=limit("service"))

    def stop(self) -> None:
        """End all of them."""
        for recorder in self._running:
            recorder.stop()


MAKE_MARKS = f"""
ip link add {MARK} type bridge && ip address add {NOWHERE}.1/24 dev {MARK} && ip link set {MARK} up
ip neigh add {NOWHERE}.2 lladdr 02:00:00:00:00:01 dev {MARK}
ip link del {MARK}
"""


def app_solicit(node: Node) -> str:
    """Return the name of the knob on the underlay interface."""
    return f"net.ipv4.neigh.{node.interface}.app_solicit"


@contextmanager
def recording(node: Node, *, asking: bool = True) -> Iterator[Recorders]:
    """Let the three recorders run on `node`, with user space asked for neighbours or not."""
    knob = app_solicit(node)
    with ExitStack() as undo:
        if asking:
            node.run(["sysctl", "-w", f"{knob}=1"])
            undo.callback(node.run, ["sysctl", "-w", f"{knob}=0"])
        recorders = Recorders(node)
        undo.callback(recorders.stop)
        recorders.wait_until_live()
        yield recorders


def shown(events: list[Event]) -> list[str]:
    """Return the timeline as lines: milliseconds since the first event, recorder, what it told."""
    if not events:
        return []
    zero = events[0].time
    return [f"{(e.time - zero).total_seconds() * 1000:9.1f} ms  {e.kind:5}  {e.text}" for e in events]


def first_packet(node: Node, container: str, other: Node, dst: Endpoint, recorders: Recorders) -> float:
    """Let `container` send a packet that must first find the other node; return its round trip in ms."""
    node.run(["ip", "neigh", "del", str(other.address), "dev", node.interface], check=False)
    told = in_network_of(node, container, ["ping", "-c", "1", "-W", "5", str(dst.address)]).out

    def found() -> None:
        last = [e.text for e in recorders.timeline() if e.kind == "neigh" and str(other.address) in e.text]
        if not last or "REACHABLE" not in last[-1]:
            raise NotYet(last[-1] if last else "nothing was told")

    wait_for(f"{other} to be told as reachable", found, within=limit("overlay"))
    return float(told.partition("time=")[2].split()[0])


def asked_first(timeline: list[Event], address: str) -> float:
    """Return how long the last neighbour that user space was asked for waited for the wire, in ms."""
    about = [event for event in timeline if event.kind == "neigh" and address in event.text]
    asked = [event.time for event in about if event.text.startswith("miss")]
    found = [event.time for event in about if "REACHABLE" in event.text]
    return (found[-1] - asked[-1]).total_seconds() * 1000 if asked and found else 0.0
