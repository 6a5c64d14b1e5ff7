"""Nodes behind a NAT of the underlay: what leaves is translated, what nobody asked for does not come in."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest

from fixtures.lab import Lab
from fixtures.node import Node

PORT = 5353
LISTEN = """
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(("0.0.0.0", 5353))
print("ready", flush=True)
while True:
    data, peer = s.recvfrom(99); s.sendto(peer[0].encode(), peer)
"""
# Says which address the other saw, or nothing.
ASK = """
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(0.7)
s.sendto(b"who am I", (sys.argv[1], 5353))
try: print(s.recv(99).decode())
except OSError: pass
"""


@pytest.fixture
def nodes(bare: Lab) -> tuple[Node, Node, Node]:
    return bare.node("a"), bare.node("b"), bare.node("c")


def seen_by(server: Node, client: Node, address: str) -> str:
    """Return the address that `client` has for `server`, which it asks at `address`; "" for no answer."""
    process = server.popen(["python3", "-u", "-c", LISTEN])
    try:
        assert process.stdout.readline() == b"ready\n"
        return client.run(["python3", "-c", ASK, address]).out.strip()
    finally:
        process.stop()


def own_addresses(node: Node) -> list[str]:
    rows = [row for row in node.state("addresses") if row["ifname"] == node.interface]
    return [entry["local"] for entry in rows[0]["addr_info"] if entry["family"] == "inet"]


def own_routes(node: Node) -> list[str]:
    rows = [row for row in node.state("routes") if row["dev"] == node.interface]
    return sorted(str(row) for row in rows if ":" not in str(row["dst"]))  # IPv6's come a moment later


def test_one_behind_a_nat(bare: Lab, nodes: tuple[Node, Node, Node]) -> None:
    """Symptom: a node 'behind a NAT' is still met at its own address, or seen with it."""
    a, b, _ = nodes
    before = own_addresses(a), own_routes(a)
    assert seen_by(b, a, str(b.address)) == str(a.address), "not the thing under test"
    with bare.underlay.behind_nat(a) as fault:
        front = seen_by(b, a, str(b.address))
        assert front == str(bare.topology.network[201])
        assert own_addresses(a) == ["10.0.1.2"]
        assert fault.hits() > 0
        assert seen_by(a, b, str(a.address)) == "", "it is met at its own address"
        assert seen_by(a, b, front) == "", "what nobody asked for came in"
    assert (own_addresses(a), own_routes(a)) == before
    assert seen_by(a, b, str(a.address)) == str(b.address), "it was not healed"
    assert "nat1" not in bare.underlay.run(["ip", "-br", "link"]).out


def test_both_behind_one(bare: Lab, nodes: tuple[Node, Node, Node]) -> None:
    """Symptom: two nodes in one home do not see each other, or have two faces outside."""
    a, b, c = nodes
    with bare.underlay.behind_nat(a, b):
        inside = own_addresses(b)[0]
        assert seen_by(b, a, inside) == own_addresses(a)[0]
        faces = {seen_by(c, node, str(c.address)) for node in (a, b)}
        assert faces == {str(bare.topology.network[201])}
    assert seen_by(c, a, str(c.address)) == str(a.address)
    assert seen_by(c, b, str(c.address)) == str(b.address)


def test_each_behind_its_own(bare: Lab, nodes: tuple[Node, Node, Node]) -> None:
    """Symptom: the second NAT is the first one, or neither lets its node out."""
    a, b, c = nodes
    with bare.underlay.behind_nat(a), bare.underlay.behind_nat(b):
        faces = [seen_by(c, node, str(c.address)) for node in (a, b)]
        assert [IPv4Address(face) for face in faces] == [bare.topology.network[n] for n in (201, 202)]
        assert seen_by(b, a, faces[1]) == ""
    assert seen_by(b, a, str(b.address)) == str(a.address)


def test_a_reboot_behind_a_nat(bare: Lab, nodes: tuple[Node, Node, Node]) -> None:
    """Symptom: a node that was rebooted behind a NAT cannot be healed, or stays cut off."""
    a, b, _ = nodes
    with bare.underlay.behind_nat(a):
        a.reboot()
    assert seen_by(b, a, str(b.address)) == str(a.address)
