"""Neighbours: a container was started again elsewhere, and somebody still sends to where it was."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from overlab.model import Finding
from probes import neighbours
from probes.client import Peer
from probes.neighbours import Outcome, Table
from tests.probes.nets import Net

NAMES = ("h1", "h2", "h3")
WRONG = "02:00:00:00:00:99"


@pytest.fixture(scope="module")
def lan() -> Iterator[Net]:
    """Three hosts on one bridge; tests leave it as it was."""
    net = Net()
    try:
        net.space("sw", *NAMES)
        net["sw"].sh("ip link add br0 type bridge forward_delay 0; ip link set br0 up")
        for number, name in enumerate(NAMES, 1):
            net.veth((name, "eth0", f"10.5.0.{number}/24"), ("sw", f"p{number}", ""))
            net["sw"].sh(f"ip link set p{number} master br0")
        net.start(*NAMES)
        yield net
    finally:
        net.close()


@pytest.fixture
def peers(lan: Net) -> Iterator[list[Peer]]:
    yield [lan.peer(name, f"10.5.0.{number}") for number, name in enumerate(NAMES, 1)]
    for name in NAMES:
        lan[name].sh("ip link set eth0 arp on; ip neigh flush nud all dev eth0")


def outcomes(found: list[Finding]) -> dict[str, str]:
    return {f.src: f.outcome for f in found}


def test_all_know_each_other(peers: list[Peer]) -> None:
    found = neighbours.check(peers)
    assert outcomes(found) == {f"{name}/c": "ok" for name in NAMES}
    assert {f.value for f in found} == {2}


def test_a_stale_entry(lan: Net, peers: list[Peer]) -> None:
    lan["h1"].sh(f"ip neigh replace 10.5.0.2 lladdr {WRONG} dev eth0 nud permanent")
    found = neighbours.check(peers, wait_s=0.2)
    assert outcomes(found) == {"h1/c": Outcome.STALE, "h2/c": "ok", "h3/c": "ok"}
    assert found[0].reason.startswith(f"10.5.0.2 is at {WRONG}, not at ")


def test_a_proxy_is_the_truth_where_it_is_promised(lan: Net, peers: list[Peer]) -> None:
    found = neighbours.check(peers, owner=lambda peer, address: WRONG if address == "10.5.0.2" else "")
    assert outcomes(found) == {"h1/c": Outcome.STALE, "h2/c": "ok", "h3/c": Outcome.STALE}
    assert [f.value for f in found] == [1, 0, 1], "what has no truth is not judged"


def test_a_pair_that_is_not_resolved(lan: Net, peers: list[Peer]) -> None:
    lan["h3"].sh("ip link set eth0 arp off; ip neigh flush all dev eth0")
    found = neighbours.check(peers, wait_s=0.2)
    assert found[0].outcome == Outcome.UNRESOLVED_PAIR, found[0]
    assert "nobody is known at 10.5.0.3" in found[0].reason


def test_an_entry_that_has_to_be_there_beforehand(peers: list[Peer]) -> None:
    assert neighbours.check(peers, promised=["10.5.0.2"])[0].ok
    found = neighbours.check(peers, promised=["10.5.0.2", "10.5.0.77"])
    assert {f.outcome for f in found} == {Outcome.MISSING}
    assert found[0].reason == "no entry for 10.5.0.77"


def row(**fields: Any) -> dict[str, Any]:
    return fields


MAC1, MAC2 = "02:42:0a:00:00:01", "02:42:0a:00:00:02"
ARP = {"10.0.0.1": MAC1, "10.0.0.2": MAC2}
FDB = {MAC1: "10.9.0.1", MAC2: "10.9.0.2"}
TABLES = {
    "arp-ok": (ARP, [row(dst="10.0.0.1", lladdr=MAC1.upper(), state=["PERMANENT"])], "ok"),
    "arp-stale": (ARP, [row(dst="10.0.0.1", lladdr=MAC2, state=["STALE"])], Outcome.STALE),
    "arp-failed": (ARP, [row(dst="10.0.0.1", state=["FAILED"])], Outcome.MISSING),
    "fdb-ok": (
        FDB,
        [
            row(mac=MAC1, ifname="vx0", master="br0"),
            row(mac=MAC1, ifname="vx0", dst="10.9.0.1", flags=["self"]),
            row(mac="33:33:00:00:00:01", ifname="vx0"),
        ],
        "ok",
    ),
    "fdb-stale": (FDB, [row(mac=MAC1, ifname="vx0", dst="10.9.0.2")], Outcome.STALE),
    "fdb-missing": (FDB, [row(mac=MAC2, ifname="vx0", dst="10.9.0.2")], Outcome.MISSING),
    "port-ok": ({MAC1: "veth1"}, [row(mac=MAC1, ifname="veth1", master="br0")], "ok"),
    "port-stale": ({MAC1: "veth1"}, [row(mac=MAC1, ifname="vx0", master="br0")], Outcome.STALE),
}


@pytest.mark.parametrize("name", list(TABLES))
def test_tables_of_a_node(name: str) -> None:
    truth, rows, outcome = TABLES[name]
    table = Table("node1 br0", rows, truth, promised=[next(iter(truth))])
    (found,) = neighbours.check([], tables=[table])
    assert (found.src, found.outcome) == ("node1 br0", outcome), found
