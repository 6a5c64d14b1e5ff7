"""ARP: a container is found by two owners, or by a proxy with nobody behind it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest

from overlab.model import Finding, LinkMode
from probes import arp
from probes.arp import Outcome
from tests.probes.nets import Net, Space

WAIT_S = 0.3


@pytest.fixture(scope="module")
def lan() -> Iterator[Net]:
    """Three hosts on one bridge, 10.6.0.1 to .3; agents at h1, h2."""
    with closing(Net()) as net:
        yield bridged(net)


@pytest.fixture(scope="module")
def proxied() -> Iterator[Net]:
    """a 10.7.1.2/16 — left (r, proxy_arp) right — b 10.7.2.2/16; agents at a, b."""
    with closing(Net()) as net:
        yield by_proxy(net)


@contextmanager
def broken(space: Space, fault: str, mend: str) -> Iterator[None]:
    space.sh(fault)
    try:
        yield
    finally:
        space.sh(mend)


def bridged(net: Net) -> Net:
    net.space("sw", "h1", "h2", "h3")
    net["sw"].sh("ip link add br0 type bridge forward_delay 0; ip link set br0 up")
    for number in (1, 2, 3):
        net.veth((f"h{number}", "eth0", f"10.6.0.{number}/24"), ("sw", f"p{number}", ""))
        net["sw"].sh(f"ip link set p{number} master br0")
    net.start("h1", "h2")
    return net


def by_proxy(net: Net) -> Net:
    net.space("a", "r", "b")
    net.veth(("a", "eth0", "10.7.1.2/16"), ("r", "left", ""))
    net.veth(("r", "right", ""), ("b", "eth0", "10.7.2.2/16"))
    net["r"].sh("echo 1 > /proc/sys/net/ipv4/ip_forward\nip addr add 10.9.9.9/32 dev lo")
    for dev, own in (("left", 1), ("right", 2)):
        net["r"].sh(
            f"echo 1 > /proc/sys/net/ipv4/conf/{dev}/proxy_arp\n"
            f"echo 0 > /proc/sys/net/ipv4/neigh/{dev}/proxy_delay\n"
            f"ip route add 10.7.{own}.0/24 dev {dev} src 10.9.9.9"
        )
    net.start("a", "b")
    return net


def link_address(net: Net, space: str, dev: str) -> str:
    # not from /sys: it is mounted once, and shows the namespace in which it was
    return net[space].sh(f"ip -br link show {dev}").split()[2]


def on_lan(lan: Net, promised: LinkMode = LinkMode.L2) -> Finding:
    return arp.check(lan.peer("h1", "10.6.0.1"), lan.peer("h2", "10.6.0.2"), promised=promised, wait_s=WAIT_S)


def test_a_real_link_layer(lan: Net) -> None:
    found = on_lan(lan)
    assert found.ok, found
    assert found.evidence["macs"] == [link_address(lan, "h2", "eth0")]


def test_two_owners_of_one_address(lan: Net) -> None:
    second = "ip addr {} 10.6.0.2/24 dev eth0"
    with broken(lan["h3"], second.format("add"), second.format("del")):
        found = on_lan(lan)
    assert found.outcome == Outcome.DUPLICATE, found
    assert found.evidence["macs"] == sorted(link_address(lan, h, "eth0") for h in ("h2", "h3"))


def test_nobody(lan: Net) -> None:
    with broken(lan["sw"], "ip link set p2 nomaster", "ip link set p2 master br0"):
        found = on_lan(lan)
    assert found.outcome == Outcome.NO_ANSWER, found


def test_a_proxy(proxied: Net) -> None:
    a, b = proxied.peer("a", "10.7.1.2"), proxied.peer("b", "10.7.2.2")
    proxies = [link_address(proxied, "r", "left")]
    found = arp.check(a, b, promised=LinkMode.PROXY_ARP, proxies=proxies, wait_s=WAIT_S)
    assert found.ok, found
    assert found.evidence["macs"] == proxies
    assert found.evidence["nonce"]["outcome"] == "reply"


def test_another_mode_than_promised(proxied: Net) -> None:
    a, b = proxied.peer("a", "10.7.1.2"), proxied.peer("b", "10.7.2.2")
    for promised in (LinkMode.L2, LinkMode.L3_ONLY):
        assert arp.check(a, b, promised=promised, wait_s=WAIT_S).outcome == Outcome.WRONG_MODE
    stranger = arp.check(a, b, promised=LinkMode.PROXY_ARP, proxies=["02:00:00:00:00:01"], wait_s=WAIT_S)
    assert stranger.outcome == Outcome.WRONG_MODE, stranger


def test_a_proxy_with_nobody_behind(proxied: Net) -> None:
    a, b = proxied.peer("a", "10.7.1.2"), proxied.peer("b", "10.7.2.2")
    hole = "ip route {} blackhole 10.7.1.2/32"
    with broken(proxied["b"], hole.format("add"), hole.format("del")):
        found = arp.check(a, b, promised=LinkMode.PROXY_ARP, wait_s=WAIT_S)
    assert found.outcome == Outcome.UNDELIVERED, found


def test_a_proxy_that_answers_with_the_containers_own_address(lan: Net) -> None:
    """As Docker's overlay does, from permanent neighbour entries, for a dead container too."""
    mac = link_address(lan, "h2", "eth0")
    stand_in = (
        "ip link set p2 nomaster\n"
        "ip link add vx0 type vxlan id 42 local 192.0.2.1 dstport 4789 proxy\n"
        "ip link set vx0 master br0 up\n"
        f"bridge fdb add {mac} dev vx0 dst 192.0.2.9\n"
        f"ip neigh add 10.6.0.2 lladdr {mac} dev vx0 nud permanent"
    )
    with broken(lan["sw"], stand_in, "ip link del vx0; ip link set p2 master br0"):
        found = on_lan(lan, LinkMode.PROXY_ARP)
        wrong = on_lan(lan, LinkMode.L2)
    assert (found.outcome, found.value) == (Outcome.UNDELIVERED, LinkMode.PROXY_ARP), found
    assert found.evidence["macs"] == [mac]
    assert wrong.outcome == Outcome.WRONG_MODE


def test_an_interface_without_arp(pair: Net) -> None:
    pair["a"].sh("ip link set eth0 arp off")
    found = arp.check(
        pair.peer("a", "10.1.0.2"), pair.peer("b", "10.2.0.2"), promised=LinkMode.L3_ONLY, wait_s=WAIT_S
    )
    assert found.ok, found
    assert found.evidence["asked"]["arp"] is False
