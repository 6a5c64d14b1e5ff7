"""Whatever a scenario did to a machine, and however it ended: the machine is as it was.

What is compared is read by the machines' own means, by another way than the provider's.
"""

from __future__ import annotations

import os
import signal
import subprocess

import pytest

from fixtures.providers.namespace import registry
from fixtures.store.cache import Cache
from tests.inventory.machines import Machines, differences
from tests.inventory.owner import Owner, gone

# What scenarios do to a node, and more; undone by nobody.
MESS = """
set -e
ip link add left0 type bridge
ip addr add 10.98.0.1/24 dev left0
ip link set left0 up
ip route add 10.97.0.0/16 dev left0
ip rule add pref 77 to 10.97.0.0/16 lookup main
ip link set lo mtu 60000
sysctl -qw net.ipv4.conf.eth0.proxy_arp=1
sysctl -qw net.ipv4.tcp_congestion_control=reno
iptables -t nat -I POSTROUTING -o left0 -j ACCEPT
iptables -P FORWARD DROP
iptables -N LEFT
nft add table bridge left
docker network create --subnet=10.96.0.0/24 --opt com.docker.network.bridge.name=left1 left1
docker volume create left
docker run -d --name=left -v left:/data --network=left1 -p 8888:80 overlab/tools
docker tag overlab/tools somebody/else
echo here >/srv/left
echo here >/etc/left
mkdir -p /etc/wireguard && echo secret >/etc/wireguard/left.conf
"""


def in_lab(three: Machines, lab: str, *argv: str) -> subprocess.CompletedProcess[str]:
    return three.run("-m", "overlab", "exec", "--lab", lab, "one", "--", *argv)


def nothing_is_left(three: Machines, before: dict[str, dict[str, list[str]]]) -> None:
    after = three.snapshots()
    assert {name: differences(before[name], after[name]) for name in before} == {name: [] for name in before}


@pytest.fixture(autouse=True)
def before(three: Machines) -> dict[str, dict[str, list[str]]]:
    return three.snapshots()


def test_a_mess_is_put_back(three: Machines, before: dict[str, dict[str, list[str]]], owner: Owner) -> None:
    """Symptom: after a night of tests, somebody's machine drops what it should forward."""
    done = in_lab(three, owner.lab, "sh", "-c", MESS)
    assert done.returncode == 0, done.stderr
    during = three.snapshots()
    told = "\n".join(differences(before["m1"], during["m1"]))
    for word in (
        "links + left0",
        "10.97.0.0/16",
        "proxy_arp = 1",
        "somebody/else",
        "/srv/left",
        ":FORWARD DROP",
    ):
        assert word in told, f"not the thing under test: the mess is not seen: {told}"
    assert "/etc/left" not in told, "a file beside the container's own"
    owner.end()
    nothing_is_left(three, before)


def test_an_owner_that_is_killed(
    three: Machines, before: dict[str, dict[str, list[str]]], owner: Owner
) -> None:
    """Symptom: Ctrl-C twice, and the tools' container stays on three machines."""
    assert in_lab(three, owner.lab, "true").returncode == 0
    owner.process.kill()
    gone(owner.lab)
    nothing_is_left(three, before)


def test_a_keeper_that_is_killed(
    three: Machines, before: dict[str, dict[str, list[str]]], owner: Owner
) -> None:
    """Symptom: what a SIGKILL left is left for ever."""
    keeper = registry.owner_of(Cache.open().labs / owner.lab)
    os.kill(keeper.pid, signal.SIGKILL)
    owner.process.kill()
    done = three.run("-m", "overlab", "status")
    assert done.returncode == 0, done.stderr
    assert owner.lab not in done.stdout
    nothing_is_left(three, before)


def test_the_verbs_know_the_lab(three: Machines, owner: Owner) -> None:
    """Symptom: a lab on machines can be booted, but not looked at."""
    shown = three.run("-m", "overlab", "status", "--lab", owner.lab).stdout
    assert f"{owner.lab}  (inventory," in shown
    assert "one          10.99.0.1" in shown
    assert in_lab(three, owner.lab, "sh", "-c", "exit 7").returncode == 7
    assert three.run("-m", "overlab", "ps", "--lab", owner.lab).returncode == 0
    refused = three.run("-m", "overlab", "fault", "off", "one", "--lab", owner.lab)
    assert refused.returncode == 3
    assert "use --provider namespace or vagrant" in refused.stderr
    assert three.run("-m", "overlab", "down", owner.lab).stdout == f"{owner.lab} is down\n"
