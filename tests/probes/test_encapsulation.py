"""Encapsulation: an overlay that is said to encrypt sends in the clear, or sends more than is said."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from overlab.model import Finding, Flow, LinkMode, Naming, Promise
from probes import encapsulation
from probes.client import Peer
from probes.encapsulation import Outcome, Wire
from tests.probes.nets import Net

VXLAN = Promise(
    link=LinkMode.L2,
    interface_mtu=lambda underlay: underlay - 50,
    path_mtu=lambda underlay: underlay - 50,
    wire_bytes=lambda inner, _underlay: inner + 50,
    outer=Flow("udp", 4789),
    encrypted=False,
    hops=0,
    naming=Naming.HOSTS_FILE,
)
VEIL = replace(VXLAN, wire_bytes=lambda inner, _underlay: inner + 29, outer=Flow("udp", 5555), encrypted=True)
NOTHING = replace(
    VXLAN, path_mtu=lambda underlay: underlay, wire_bytes=lambda inner, _underlay: inner, outer=None
)
SIZES = (84, 500, 1280, 1449, 1450)


def underlay(net: Net) -> None:
    net.space("a", "b")
    net.veth(("a", "eth0", "10.9.0.1/24"), ("b", "eth0", "10.9.0.2/24"))
    for name, own, other in (("a", 1, 2), ("b", 2, 1)):
        net[name].sh(
            f"ip link add vx0 mtu 1450 type vxlan id 42 remote 10.9.0.{other} dstport 4789 dev eth0\n"
            f"ip addr add 10.8.0.{own}/24 dev vx0\n"
            "ip link set vx0 up"
        )
    net.start("a", "b")


@pytest.fixture(scope="module")
def wires() -> Iterator[Net]:
    """Two nodes and a VXLAN between them; tests leave it as it was."""
    made = Net()
    try:
        underlay(made)
        yield made
    finally:
        made.close()


def wire(net: Net, name: str, interface: str = "eth0") -> Wire:
    return Wire(net.agents[name], interface, {"a": "10.9.0.1", "b": "10.9.0.2"}[name])


def ask(net: Net, promise: Promise = VXLAN, inner: str = "10.8.0", **how: object) -> list[Finding]:
    ends: tuple[Peer, Peer] = net.peer("a", f"{inner}.1"), net.peer("b", f"{inner}.2")
    more = {"sizes": (500,)} | how
    found: list[Finding] = encapsulation.check(
        *ends, wire(net, "a"), wire(net, "b"), promise=promise, underlay_mtu=1500, **more  # type: ignore[arg-type]
    )  # fmt: skip
    return found


def sized(found: list[Finding]) -> list[Finding]:
    return [f for f in found if f.unit == "bytes"]


def classes(found: list[Finding]) -> set[str]:
    return {f.outcome for f in sized(found)}


def without_vxlan(net: Net) -> None:
    """Its kernel confirms neighbours through it now and then: a conversation that others must not have."""
    for name in ("a", "b"):
        net[name].sh("ip link set vx0 down")


def veiled(net: Net, fault: str) -> None:
    without_vxlan(net)
    for name, own, other in (("a", "1", "2"), ("b", "2", "1")):
        program = str(Path(__file__).with_name("veil.py"))
        net.run(name, sys.executable, program, f"10.9.0.{own}", f"10.9.0.{other}", fault)
        net[name].sh(f"ip addr add 10.7.0.{own} peer 10.7.0.{other} dev veil0\nip link set veil0 mtu 1450 up")


@pytest.fixture
def lifted(wires: Net) -> Iterator[Net]:
    """The same net; what was run in it for one test ends with it."""
    mark = wires.stack
    wires.stack = type(mark)()
    try:
        yield wires
    finally:
        wires.stack.close()
        wires.stack = mark
        for name in ("a", "b"):
            wires[name].sh("ip link set vx0 up")


def test_as_promised(wires: Net) -> None:
    found = ask(wires, sizes=())
    assert [str(f) for f in found if not f.ok] == []
    assert {(f.evidence["size"], f.value) for f in sized(found)} == {(n, n + 50) for n in SIZES}
    assert len(sized(found)) == 3 * len(SIZES), "echoes both ways and UDP, at each size"


def test_nothing_around_it(lifted: Net) -> None:
    without_vxlan(lifted)
    found = ask(lifted, NOTHING, "10.9.0", sizes=())
    assert [str(f) for f in found if not f.ok] == []
    assert {f.value for f in sized(found)} == {84, 500, 1280, 1499, 1500}


def test_a_veil_is_measured_without_a_look_inside(lifted: Net) -> None:
    veiled(lifted, "none")
    found = ask(lifted, VEIL, "10.7.0", sizes=())
    assert [str(f) for f in found if not f.ok] == []
    assert {(f.evidence["size"], f.value) for f in sized(found)} == {(n, n + 29) for n in SIZES}
    plainly = ask(lifted, replace(VEIL, encrypted=False), "10.7.0")
    assert classes(plainly) == {Outcome.UNREADABLE}, plainly[0]


@pytest.mark.parametrize(
    ("fault", "outcome", "words"),
    [
        ("plain", Outcome.LEAKED_PLAIN, "readable in udp/5555 to 10.9.0.2"),
        ("pad", Outcome.WRONG_SIZE, "545 bytes on the wire (545 in udp/5555 to 10.9.0.2), not 529"),
        ("split", Outcome.WRONG_SIZE, "558 bytes on the wire (69 in udp/5555 to 10.9.0.2 + 489 in"),
        ("port", Outcome.WRONG_OUTER, "it is in udp/5556 to 10.9.0.2, not in udp/5555 to 10.9.0.2"),
        ("chatty", Outcome.WRONG_SIZE, "558 bytes"),
    ],
)
def test_what_an_overlay_does_wrong(lifted: Net, fault: str, outcome: Outcome, words: str) -> None:
    veiled(lifted, fault)
    found = ask(lifted, VEIL, "10.7.0")
    assert classes(found) == {outcome}, [str(f) for f in found]
    assert words in found[0].reason
    assert found[-1].ok is (fault != "port"), found[-1]


def test_an_encrypted_overlay_that_is_not(wires: Net) -> None:
    assert classes(ask(wires, replace(VXLAN, encrypted=True))) == {Outcome.LEAKED_PLAIN}


def test_another_outer_flow_than_promised(wires: Net) -> None:
    found = ask(wires, replace(VXLAN, outer=Flow("udp", 8472)))
    assert classes(found) == {Outcome.WRONG_OUTER}
    assert "it is in udp/4789 to 10.9.0.2, not in udp/8472 to 10.9.0.2" in found[0].reason
    assert found[-1].outcome == Outcome.STRAY_CONVERSATION
    bare = ask(wires, NOTHING, "10.8.0")
    assert classes(bare) == {Outcome.WRONG_OUTER}, bare[0]


def test_an_outer_packet_in_fragments(wires: Net) -> None:
    for name in ("a", "b"):
        wires[name].sh("ip link set eth0 mtu 1300; ip link set vx0 mtu 1450")
    try:
        found = ask(wires, sizes=(500, 1400))
    finally:
        for name in ("a", "b"):
            wires[name].sh("ip link set eth0 mtu 1500; ip link set vx0 mtu 1450")
    forth = {(f.evidence["size"], f.outcome, f.value) for f in sized(found) if f.src == "a/c"}
    one_header_more = 1400 + 50 + 20
    assert forth == {(500, "ok", 550), (1400, Outcome.WRONG_SIZE, one_header_more)}, [str(f) for f in found]


def test_a_marker_outside_shows_that_the_check_can_fail(lifted: Net) -> None:
    near, far = wire(lifted, "a"), wire(lifted, "b")

    def during(nonce: str) -> None:
        encapsulation.outside(near, far, nonce)

    found = ask(lifted, during=during)
    assert {f.outcome for f in found} == {Outcome.WRONG_OUTER, Outcome.STRAY_CONVERSATION}, found
    veiled(lifted, "none")
    found = ask(lifted, VEIL, "10.7.0", during=during)
    assert {f.outcome for f in found} == {Outcome.LEAKED_PLAIN, Outcome.STRAY_CONVERSATION}, found


def test_a_stray_conversation(wires: Net) -> None:
    port = wires.agents["b"].udp_port
    target = {"dst": "10.9.0.2", "port": port, "size": 99}

    def during(_nonce: str) -> None:
        wires.agents["a"].call("udp_echo", timeout=5, targets=[target])

    found = ask(wires, during=during)
    assert classes(found) == {"ok"}, "not the thing under test"
    assert (found[-1].outcome, found[-1].value) == (Outcome.STRAY_CONVERSATION, 4), found[-1]
    allowed = ask(wires, replace(VXLAN, control=(Flow("udp", port),)), during=during)
    assert allowed[-1].ok, allowed[-1]


def test_a_capture_that_sees_nothing(wires: Net) -> None:
    ends = wires.peer("a", "10.8.0.1"), wires.peer("b", "10.8.0.2")
    elsewhere = wire(wires, "a", "lo"), wire(wires, "b", "lo")
    found = encapsulation.check(*ends, *elsewhere, promise=VXLAN, underlay_mtu=1500, sizes=(84,))
    assert classes(found) == {Outcome.NOTHING_SEEN}, found[0]


def test_what_is_not_answered_is_seen_all_the_same(wires: Net) -> None:
    wires["b"].sh("ip link set vx0 down")
    wires["a"].sh("ip neigh replace 10.8.0.2 lladdr 02:00:00:00:00:02 dev vx0 nud permanent")
    try:
        found = ask(wires, wait_s=0.2)
    finally:
        wires["a"].sh("ip neigh del 10.8.0.2 dev vx0")
        wires["b"].sh("ip link set vx0 up")
    assert classes(found) == {"ok"}, [str(f) for f in found]
    assert {f.src for f in sized(found)} == {"a/c"}, "nothing comes back, so nothing is said of it"


def test_offloads_are_switched_and_restored(wires: Net) -> None:
    near, far = wire(wires, "a"), wire(wires, "b")

    def now() -> dict[str, bool]:
        state: dict[str, bool] = near.agent.call("offloads", timeout=5, interface="eth0")["after"]
        return state

    before = now()
    assert before["tso"], "not the thing under test: a veth has them"
    with encapsulation.without_offloads(near, far):
        assert not any(now().values())
        assert classes(ask(wires)) == {"ok"}
    assert now() == before
