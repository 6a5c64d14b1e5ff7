"""Faults of the underlay: each is met by traffic, leaves the rest alone, and heals; captures are readable."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fixtures.lab import Lab
from fixtures.node import Node
from fixtures.waiting import NotYet, limit, wait_for
from overlab.errors import OverlabError

LISTEN = """
import socket, sys
kind = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}[sys.argv[1]]
s = socket.socket(socket.AF_INET, kind); s.bind(("0.0.0.0", int(sys.argv[2])))
if sys.argv[1] == "tcp": s.listen()
print("ready", flush=True)
while True:
    if sys.argv[1] == "tcp":
        c, _ = s.accept()
        n = 0
        while data := c.recv(65536): n += len(data)
        c.close()
    else:
        data, peer = s.recvfrom(65536); s.sendto(data, peer)
"""
TCP = "import socket,sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 0.5)"
UDP = """
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(0.5)
s.sendto(b"ask", (sys.argv[1], int(sys.argv[2]))); s.recv(9)
"""
FILL = """
import socket, sys, time
s = socket.create_connection((sys.argv[1], int(sys.argv[2])))
started = time.monotonic(); s.sendall(bytes(500_000)); s.shutdown(socket.SHUT_WR); s.recv(1)
print(500_000 * 8 / 1e6 / (time.monotonic() - started))
"""


@pytest.fixture
def nodes(bare: Lab) -> tuple[Node, Node, Node]:
    return bare.node("a"), bare.node("b"), bare.node("c")


@pytest.fixture(autouse=True)
def _whole(nodes: tuple[Node, Node, Node]) -> Iterator[None]:
    """Every fault begins and ends on a whole underlay."""
    a, b, c = nodes
    assert reaches(a, b)
    assert reaches(a, c)
    yield

    def healed() -> None:  # a kernel asks once a second for a link address that it missed
        if not (reaches(a, b) and reaches(b, c) and reaches(a, c, 1472)):
            raise NotYet("no answer")

    wait_for("the underlay to be whole again", healed, within=limit("overlay"))


def reaches(here: Node, there: Node, size: int = 56) -> bool:
    """True when one of three echoes of `size` bytes of data comes back, unfragmented."""
    asked = ["ping", "-c3", "-i0.05", "-W0.3", "-Mdo", f"-s{size}", str(there.address)]
    return here.run(asked, check=False, quiet=True).status == 0


def connects(here: Node, there: Node, protocol: str, port: int) -> bool:
    script = {"tcp": TCP, "udp": UDP}[protocol]
    asked = ["python3", "-c", script, str(there.address), str(port)]
    return here.run(asked, check=False, quiet=True).status == 0


@contextmanager
def listening(node: Node, protocol: str, port: int) -> Iterator[None]:
    process = node.popen(["python3", "-c", LISTEN, protocol, str(port)])
    try:
        assert process.stdout.readline() == b"ready\n"
        yield
    finally:
        process.stop()


@pytest.mark.parametrize("protocol", ["udp", "tcp"])
def test_a_blocked_port(bare: Lab, nodes: tuple[Node, Node, Node], protocol: str) -> None:
    """Symptom: the overlay 'survives' a blocked port, as nothing was blocked, or the whole wire was cut."""
    a, b, _ = nodes
    other = "tcp" if protocol == "udp" else "udp"
    with listening(b, protocol, 7001), listening(b, protocol, 7002), listening(b, other, 7001):
        assert connects(a, b, protocol, 7001)
        with bare.underlay.blocked(protocol, 7001) as fault:
            assert fault.hits() == 0
            assert not connects(a, b, protocol, 7001)
            assert fault.hits() > 0
            assert connects(a, b, protocol, 7002)
            assert connects(a, b, other, 7001)
        assert connects(a, b, protocol, 7001)
        with bare.underlay.blocked(protocol) as fault:
            assert not connects(a, b, protocol, 7002)
            assert fault.hits() > 0
            assert connects(a, b, other, 7001), "the other protocol is not touched"
        assert connects(a, b, protocol, 7002)


def test_a_partition(bare: Lab, nodes: tuple[Node, Node, Node]) -> None:
    """Symptom: the cut node still hears the others, or the others lose each other too."""
    a, b, c = nodes
    with bare.underlay.partition(c) as fault:
        assert not reaches(c, a)
        met = fault.hits()
        assert met > 0, "what the cut node sends counts"
        assert not reaches(a, c)
        assert fault.hits() > met, "what it would have got counts"
        assert reaches(a, b)
    with bare.underlay.partition(b, c):
        assert not reaches(b, c)


def test_loss(bare: Lab, nodes: tuple[Node, Node, Node]) -> None:
    """Symptom: '20 % loss' loses nothing, or all."""
    a, b, _ = nodes
    with bare.underlay.loss(50) as fault:
        shown = a.run(["ping", "-c60", "-i0.002", "-W0.2", str(b.address)], check=False).out
        answered = int(shown.split(" received")[0].rpartition(" ")[2])
        assert 0 < answered < 60
        assert fault.hits() >= 60 - answered


def test_a_port_that_swallows_what_is_large(bare: Lab, nodes: tuple[Node, Node, Node]) -> None:
    """Symptom: the black hole begins 14 bytes too late, and a wrong overlay MTU goes unseen."""
    a, b, c = nodes
    with bare.underlay.port_mtu(b, 1400) as fault:
        assert reaches(a, b, 1400 - 28)
        assert fault.hits() == 0
        assert not reaches(a, b, 1401 - 28)
        assert fault.hits() > 0
        assert reaches(a, c, 1472)


def test_a_node_with_a_smaller_mtu(bare: Lab, nodes: tuple[Node, Node, Node]) -> None:
    """Symptom: the MTU is not put back, and every later figure is another."""
    a, b, c = nodes
    with bare.underlay.node_mtu(a, 1400) as fault:
        assert fault.hits() == 1400
        assert reaches(a, b, 1400 - 28)
        assert not reaches(a, b, 1401 - 28)
        assert reaches(b, c, 1472)


def test_a_slow_wire(bare: Lab, nodes: tuple[Node, Node, Node]) -> None:
    """Symptom: the shaper is on one direction, or on none, and goodput is the machine's."""
    a, b, _ = nodes

    def mbit(here: Node, there: Node) -> float:
        with listening(there, "tcp", 7003):
            return float(here.run(["python3", "-c", FILL, str(there.address), "7003"]).out)

    assert mbit(a, b) > 20, "not the thing under test: the wire is slow anyway"
    with bare.underlay.rate(5) as fault:
        for here, there in ((a, b), (b, a)):
            before = fault.hits()
            assert mbit(here, there) < 8
            assert fault.hits() > before


def test_a_delay_is_there_or_refused_by_name(bare: Lab, nodes: tuple[Node, Node, Node]) -> None:
    """Symptom: on a kernel without netem a 'delay' delays nothing, or ends in tc's own words."""
    a, b, _ = nodes
    asked = ["ping", "-c1", "-W2", str(b.address)]
    trial = ["tc", "qdisc", "add", "dev", "lo", "root", "netem"]
    if bare.underlay.run(trial, check=False).status != 0:
        with (
            pytest.raises(OverlabError, match=r"no sch_netem.*; use machines whose"),
            bare.underlay.delay(40),
        ):
            pass
        return
    bare.underlay.run(["tc", "qdisc", "del", "dev", "lo", "root"])
    with bare.underlay.delay(40) as fault:
        shown = a.run(asked).out
        assert float(shown.split("time=")[1].split()[0]) >= 80, "40 ms each way"
        assert fault.hits() > 0


def test_a_fault_heals_over_a_reboot(bare: Lab, nodes: tuple[Node, Node, Node]) -> None:
    """Symptom: the healing of a fault fails as the node was rebooted meanwhile, and hides the finding."""
    a, b, _ = nodes
    with bare.underlay.rate(5), bare.underlay.partition(b) as fault:
        b.reboot()
        assert not reaches(b, a)
        assert fault.hits() > 0


def test_faults_heal_when_the_test_fails(bare: Lab, nodes: tuple[Node, Node, Node]) -> None:
    """Symptom: one failing mutation breaks every test after it."""
    a, b, _ = nodes

    def failing() -> None:
        with bare.underlay.partition(b):
            assert not reaches(a, b)
            raise ValueError("as tests do")

    with pytest.raises(ValueError, match="as tests do"):
        failing()


def test_a_capture_is_a_pcap(bare: Lab, nodes: tuple[Node, Node, Node], tmp_path: Path) -> None:
    """Symptom: the evidence of a failed probe is a file that no tool opens."""
    from scapy.layers.inet import ICMP, IP
    from scapy.utils import rdpcap

    a, b, _ = nodes
    capture = bare.underlay.capture(b, "icmp")
    data = capture.stdout.read(24)
    assert len(data) == 24, "the header comes at once"

    def caught() -> None:
        nonlocal data
        reaches(a, b)
        data += capture.stdout.read(1 << 16)
        path = tmp_path / "b.pcap"
        path.write_bytes(data)
        if not any(ICMP in p for p in rdpcap(str(path))):
            raise NotYet(f"{len(data)} bytes")

    try:
        wait_for("an echo in the capture", caught, within=limit("overlay"))
    finally:
        capture.stop()
    packets = [p for p in rdpcap(str(tmp_path / "b.pcap")) if ICMP in p]
    assert {p[IP].src for p in packets} <= {str(a.address), str(b.address)}
