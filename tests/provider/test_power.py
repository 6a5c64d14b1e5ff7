"""Reboot, pause and power: what survives, and what must not."""

from __future__ import annotations

import pytest

from fixtures.lab import Lab
from fixtures.node import Node
from fixtures.providers.namespace.labs import find
from fixtures.waiting import NotYet, limit, wait_for
from overlab.errors import OverlabError
from tests.provider.grounds import Ground
from tests.provider.test_commands import alive


def answers(node: Node, other: Node) -> bool:
    return node.run(["ping", "-c1", "-W1", str(other.address)], check=False, quiet=True).status == 0


def mac(node: Node) -> str:
    return next(str(row["address"]) for row in node.state("links") if row["ifname"] == "eth1")


def ticks(node: Node) -> int:
    return len(node.sh("cat /var/tmp/ticks 2>/dev/null", check=False).out)


def test_a_reboot_keeps_the_disk_and_forgets_the_kernel(bare: Lab, node: Node) -> None:
    """Symptom: a scenario survives its 'reboot' only because nothing was really gone."""
    other = bare.node("b")
    node.sh(
        "echo kept >/var/tmp/disk; echo lost >/run/lost; echo lost >/tmp/lost; echo new-name >>/etc/hosts"
    )
    node.sh(
        "ip link add dummy0 type bridge; ip route add 10.9.0.0/24 dev eth1; ip addr add 10.8.0.1/24 dev eth1"
    )
    node.sh("sysctl -qw net.ipv4.conf.all.rp_filter=2; nft add table inet lost; ip rule add prio 7 table 7")
    left = node.popen(["sleep", "6001"])
    before = {name: node.get(name) for name in ("/etc/machine-id", "/etc/hostname", "/etc/hosts")}
    namespace = node.run(["readlink", "/proc/self/ns/net"]).out
    card = mac(node)
    assert alive(node, "sleep 6001"), "not the thing under test: nothing to lose"
    node.reboot()
    assert node.run(["readlink", "/proc/self/ns/net"]).out != namespace
    assert left.wait(limit("node")) != 0
    assert node.get("/var/tmp/disk") == "kept\n"
    assert {name: node.get(name) for name in before} == before
    assert node.run(["hostname"]).out == "a\n"
    assert node.sh("ls /run/lost /tmp/lost", check=False).out == ""
    assert alive(node, "sleep 6001") == []
    assert {row["ifname"] for row in node.state("links")} == {"lo", "eth1"}
    assert mac(node) == card, "a network card keeps its address, and peers keep it in their ARP tables"
    local = [
        a["local"] for row in node.state("addresses") for a in row["addr_info"] if row["ifname"] == "eth1"
    ]
    assert str(node.address) in local
    assert "10.8.0.1" not in local
    assert not [row for row in node.state("routes") if row["dst"] == "10.9.0.0/24"]
    assert [row for row in node.state("rules") if row["priority"] == 7] == []
    assert node.run(["nft", "list", "tables"]).out == ""
    assert node.get("/proc/sys/net/ipv4/conf/all/rp_filter") != "2\n"
    assert answers(node, other)
    assert answers(other, node)


def test_power(bare: Lab) -> None:
    """Symptom: a node that is off still answers, or one that is on again is not the same machine."""
    here, node = bare.node("a"), bare.node("b")
    node.sh("echo kept >/var/tmp/disk")
    identity = node.get("/etc/machine-id")
    assert answers(here, node), "not the thing under test: it answered before"
    node.power_off()
    assert {n["name"]: n["state"] for n in bare.status()["nodes"]} == {"a": "on", "b": "off", "c": "on"}
    assert not answers(here, node)
    assert answers(here, bare.node("c")), "the others go on"
    with pytest.raises(OverlabError, match="b is off; power it on first"):
        node.run(["true"])
    node.power_off()
    node.power_on()
    assert answers(here, node)
    assert node.get("/etc/machine-id") == identity
    assert node.get("/var/tmp/disk") == "kept\n"
    node.power_on()
    assert answers(here, node)


def test_another_client_sees_a_reboot(bare: Lab, place: Ground) -> None:
    """Symptom: `./lab exec` says 'off', or enters what has the old pid, after pytest rebooted the node."""
    mine = bare.node("c")
    theirs = find(place.cache, bare.id).node("c")
    theirs.run(["true"])
    mine.reboot()
    assert theirs.run(["hostname"]).out == "c\n"


def test_pause(bare: Lab) -> None:
    """Symptom: a 'paused' node goes on answering its peers' gossip."""
    node = bare.node("b")
    node.service("ticking", ["sh", "-c", "while :; do printf . >>/var/tmp/ticks; sleep 0.01; done"])
    grows(node, 0)
    node.pause()
    frozen = ticks(node)
    # The kernel says when every process is frozen: there is no later tick to wait for.
    assert next(n["state"] for n in bare.status()["nodes"] if n["name"] == "b") == "paused"
    assert bare.node("a").run(["hostname"]).out == "a\n"
    assert ticks(node) == frozen
    node.resume()
    grows(node, frozen)
    node.stop_service("ticking")


def test_a_paused_node_can_be_rebooted(bare: Lab) -> None:
    """Symptom: the power of a paused node cannot be cut, as frozen processes do not die."""
    node = bare.node("b")
    node.pause()
    node.power_off()
    node.power_on()
    assert answers(bare.node("a"), node)


def grows(node: Node, beyond: int) -> None:
    def more() -> None:
        if (now := ticks(node)) <= beyond + 3:
            raise NotYet(f"{now} ticks")

    wait_for("more ticks", more, within=limit("service"))


def test_cpu_seconds_grow_with_work(bare: Lab) -> None:
    """Symptom: CPU per packet is that of the whole machine, or of nothing."""
    node, idle = bare.node("a"), bare.node("c")
    before, before_idle = node.cpu_seconds(), idle.cpu_seconds()
    used = "python3 -c 'import time\nwhile time.process_time() < 0.3: pass'"
    node.service("work", ["sh", "-c", used], oneshot=True)
    node.stop_service("work")
    assert node.cpu_seconds() - before >= 0.3
    assert idle.cpu_seconds() - before_idle < 0.2
