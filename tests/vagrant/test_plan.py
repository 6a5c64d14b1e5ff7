"""What the Vagrantfile is told, and the exact calls and files of those branches that cannot be run here."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest

from fixtures.providers.base import Settings
from fixtures.providers.catalogue import provider
from fixtures.providers.vagrant.driver import Driver, write_plan
from fixtures.providers.vagrant.plan import BARGE_NETWORK, BARGE_WIREGUARD, Stand, plan
from overlab.errors import CannotStartError, UsageError
from overlab.model import NodeSpec, Topology

BARGE = Stand("virtualbox", "barge")
NODES = tuple(NodeSpec(f"barge{i}", IPv4Address(f"10.10.10.{100 + i}")) for i in (1, 2, 3))
TOPOLOGY = Topology("some", NODES, IPv4Network("10.10.10.0/24"))


def test_every_fact_is_the_topologys() -> None:
    """Symptom: an address is in the Vagrantfile too, and one of the two is old."""
    told = plan(TOPOLOGY, "some-12ab34", BARGE)
    assert told["nodes"] == [{"name": n.name, "address": str(n.address)} for n in TOPOLOGY.nodes]
    assert (told["netmask"], told["mtu"], told["id"]) == ("255.255.255.0", 1500, "some-12ab34")
    assert told["images"][told["box"]] == "ailispaw/barge"
    assert told["wire"] == "private"
    assert list(told["provision"]) == ["network", "wireguard"]
    assert told["insert_key"], "a machine that anybody's key opens is for a world of its own only"


def test_a_network_of_virtualboxs_own_is_refused() -> None:
    """Symptom: the underlay is 10.0.0.0/16, and half of it is behind VirtualBox' NAT."""
    wide = replace(TOPOLOGY, network=IPv4Network("10.0.0.0/16"))
    with pytest.raises(UsageError, match=r"overlaps 10\.0\.2\.0/24"):
        plan(wide, "some", BARGE)
    assert plan(wide, "some", Stand("libvirt", "debian"))["mtu"] == 1500


def test_barge_is_for_virtualbox_only() -> None:
    with pytest.raises(UsageError, match="Barge box for VirtualBox only"):
        plan(TOPOLOGY, "some", Stand("libvirt", "barge"))


def test_a_bridged_wire() -> None:
    told = plan(replace(TOPOLOGY, wire="bridged"), "some", replace(BARGE, bridge="eno1"))
    assert (told["wire"], told["bridge"]) == ("bridged", "eno1")


def run_script(folder: Path, script: str, *arguments: str) -> list[str]:
    """Run a provisioning script with BusyBox' and Barge's tools replaced by ones that note their calls."""
    tools = folder / "bin"
    tools.mkdir(exist_ok=True)
    for name in ("ifup", "ifdown", "sysctl", "pkg", "modprobe"):
        (tools / name).write_text(f'#!/bin/sh\necho "{name} $*" >>"{folder / "calls"}"\n')
        (tools / name).chmod(0o755)
    here = script.replace("/etc/network/interfaces", str(folder / "interfaces"))
    env = {"PATH": f"{tools}:/usr/bin:/bin"}
    subprocess.run(["sh", "-ec", here, "script", *arguments], check=True, env=env)
    calls = (folder / "calls").read_text().splitlines()
    (folder / "calls").unlink()
    return calls


def test_barges_interfaces_file(tmp_path: Path) -> None:
    """Symptom: the address is gone after a reboot, as it was set by hand; or the stanza is there twice."""
    (tmp_path / "interfaces").write_text("auto lo\niface lo inet loopback\n")
    for _ in range(2):
        calls = run_script(tmp_path, BARGE_NETWORK, "10.10.10.101", "255.255.255.0")
        assert calls == ["ifdown eth1", "ifup eth1", "sysctl -w net.ipv4.ip_forward=1"]
    assert (tmp_path / "interfaces").read_text() == (
        "auto lo\niface lo inet loopback\n\n"
        "auto eth1\niface eth1 inet static\n    address 10.10.10.101\n    netmask 255.255.255.0\n"
    )


def test_barges_own_package(tmp_path: Path) -> None:
    assert run_script(tmp_path, BARGE_WIREGUARD) == ["pkg install wireguard", "modprobe wireguard"]


class Calls:
    """A vagrant and a VBoxManage on PATH that note how they are called."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        tools = folder / "tools"
        tools.mkdir()
        for name in ("vagrant", "VBoxManage"):
            told = 'cat "$OVERLAB_MACHINES.ssh"' if name == "vagrant" else ":"
            (tools / name).write_text(
                f'#!/bin/sh\necho "{name} $*" >>"{folder / "calls"}"\n[ "$1" != ssh-config ] || {told}\n'
            )
            (tools / name).chmod(0o755)
        self.path = f"{tools}:{os.environ['PATH']}"

    def made(self) -> Sequence[str]:
        """Return the calls so far, and forget them."""
        path = self.folder / "calls"
        found = path.read_text().splitlines() if path.exists() else []
        path.unlink(missing_ok=True)
        return found


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Calls:
    made = Calls(tmp_path)
    monkeypatch.setenv("PATH", made.path)
    return made


@pytest.fixture
def driver(tmp_path: Path, calls: Calls) -> Driver:
    write_plan(tmp_path, plan(TOPOLOGY, "some-12ab34", BARGE))
    return Driver(tmp_path, BARGE)


def test_calls_of_power(driver: Driver, calls: Calls, tmp_path: Path) -> None:
    """Symptom: `halt --force` is taken for a power cut, and the file system is synced first."""
    driver.do("up")
    driver.do("halt", vm_name="barge2")
    driver.do("up", vm_name="barge2", no_provision=True)
    driver.do("suspend", vm_name="barge2")
    driver.do("resume", vm_name="barge2")
    place = tmp_path / ".vagrant/machines/barge2/virtualbox"
    place.mkdir(parents=True)
    (place / "id").write_text("0f0f-1\n")
    driver.cut("barge2")
    driver.do("destroy")
    assert calls.made() == [
        "vagrant up",
        "vagrant halt barge2",
        "vagrant up barge2 --no-provision",
        "vagrant suspend barge2",
        "vagrant resume barge2",
        "VBoxManage controlvm 0f0f-1 poweroff",
        "vagrant destroy --force",
    ]


def test_the_way_to_a_machine(driver: Driver, calls: Calls, tmp_path: Path) -> None:
    """Symptom: the harness guesses the port that VirtualBox forwards."""
    (tmp_path / "vagrant.json.ssh").write_text(
        "Host barge2\n  HostName 127.0.0.1\n  User bargee\n  Port 2201\n  IdentityFile /keys/barge2\n"
    )
    reach = driver.reach("barge2")
    assert (reach.host, reach.port, reach.user, reach.key) == ("127.0.0.1", 2201, "bargee", "/keys/barge2")
    assert reach.become
    assert calls.made() == ["vagrant ssh-config barge2"]


def test_the_ways_to_all_machines(driver: Driver, calls: Calls, tmp_path: Path) -> None:
    """Symptom: a lab of five machines asks Vagrant five times, which takes it three seconds each."""
    hosts = "".join(
        f"Host {n.name}\n  HostName {n.address}\n  User u\n  Port 22\n  IdentityFile /k\n\n" for n in NODES
    )
    (tmp_path / "vagrant.json.ssh").write_text(hosts)
    assert {name: reach.host for name, reach in driver.reaches().items()} == {
        n.name: str(n.address) for n in NODES
    }
    assert calls.made() == ["vagrant ssh-config"]


def test_who_configures_a_guest() -> None:
    """Symptom: Vagrant tells an emulated machine its name for four minutes, or Barge its address twice."""
    stands = (BARGE, Stand("libvirt", "debian"), Stand("libvirt", "debian", embedded=True))
    told = [(one["names"], one["addresses"]) for one in (plan(TOPOLOGY, "some", s) for s in stands)]
    assert told == [(True, False), (True, True), (False, False)]


def test_what_vagrant_is_told_by_variables(driver: Driver, tmp_path: Path) -> None:
    """Symptom: two labs share one `.vagrant`, and the second destroys the machines of the first."""
    assert driver.settings["VAGRANT_DOTFILE_PATH"] == str(tmp_path / ".vagrant")
    assert driver.settings["OVERLAB_MACHINES"] == str(tmp_path / "vagrant.json")
    assert json.loads((tmp_path / "vagrant.json").read_text())["id"] == "some-12ab34"
    assert "VAGRANT_HOME" not in driver.settings, "boxes are the user's, and stay"


def test_a_failure_says_what_vagrant_said(driver: Driver, tmp_path: Path, calls: Calls) -> None:
    """Symptom: 'returned non-zero exit status 1', and nothing else."""
    (tmp_path / "tools/vagrant").write_text(
        "#!/bin/sh\necho 'Timed out while waiting for the machine to boot.'\nexit 1\n"
    )
    with pytest.raises(CannotStartError, match="vagrant up failed: a machine did not boot in time") as raised:
        driver.do("up")
    assert "vagrant.log" in raised.value.remedy
    (tmp_path / "vagrant.log").write_text("")
    (tmp_path / "tools/vagrant").write_text("#!/bin/sh\necho 'No such box.'\nexit 1\n")
    with pytest.raises(CannotStartError, match=r"vagrant up failed: No such box\."):
        driver.do("up")


def test_boxes() -> None:
    with pytest.raises(UsageError, match="no box 'bargee'"):
        provider("vagrant", Settings(box="bargee"))


def test_who_has_a_way_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Symptom: a scenario asks for its vendor's servers from machines that have only each other."""
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not provider("vagrant").outside
    assert not provider("namespace").outside
    (tmp_path / "vagrant").touch(mode=0o755)
    assert provider("vagrant").outside


def test_barge_without_virtualbox(monkeypatch: pytest.MonkeyPatch) -> None:
    """Symptom: a download is tried where there is neither Vagrant nor a network."""
    monkeypatch.setenv("PATH", "/usr/bin:/bin:/usr/sbin:/sbin")
    if provider("vagrant").label == "vagrant":
        pytest.skip("Vagrant is installed — this is about machines without it")
    if os.geteuid() != 0:
        pytest.skip("needs root — run sudo ./lab test")
    with pytest.raises(CannotStartError, match="the barge box cannot be had here"):
        provider("vagrant", Settings(box="barge")).check()
