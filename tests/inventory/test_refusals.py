"""Machines that cannot be used: one line that names each and its remedy, status 3, and nothing is touched."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.inventory.machines import Machines, differences

SCENARIO = "wireguard"
Breaks = Callable[[Machines], Iterator[Path]]


@contextmanager
def wrong_key(three: Machines) -> Iterator[Path]:
    yield three.inventory("wrong.ini", m2={"ansible_ssh_private_key_file": str(three.folder / "other-key")})


@contextmanager
def no_answer(three: Machines) -> Iterator[Path]:
    args = f'"-o ConnectTimeout=2 -o UserKnownHostsFile={three.folder / "known_hosts"}"'
    yield three.inventory("silent.ini", m2={"ansible_host": "192.168.50.99", "ansible_ssh_common_args": args})


@contextmanager
def strange_host_key(three: Machines) -> Iterator[Path]:
    nobody = three.folder / "nobody-known"
    nobody.write_text("")
    args = f'"-o UserKnownHostsFile={nobody} -o StrictHostKeyChecking=yes"'
    yield three.inventory("strange.ini", m2={"ansible_ssh_common_args": args})


@contextmanager
def no_docker(three: Machines) -> Iterator[Path]:
    node = three.lab.node("m2")
    node.run(["mv", "/usr/bin/docker", "/usr/bin/docker.away"])
    try:
        yield three.inventory()
    finally:
        node.run(["mv", "/usr/bin/docker.away", "/usr/bin/docker"])


@contextmanager
def no_such_interface(three: Machines) -> Iterator[Path]:
    yield three.inventory("interface.ini", m2={"overlab_interface": "ens9"})


def refused(three: Machines, inventory: Path) -> subprocess.CompletedProcess[str]:
    return three.run("-m", "overlab", "up", SCENARIO, "--provider=inventory", f"--inventory={inventory}")


@pytest.mark.parametrize(
    ("breaks", "told"),
    [
        (wrong_key, "m2 (192.168.50.12): the key was refused"),
        (no_answer, "m2 (192.168.50.99): it does not answer"),
        (strange_host_key, "m2 (192.168.50.12): its host key is not the known one"),
        (no_docker, "m2 (192.168.50.12): it has no Docker (install an engine)"),
        (no_such_interface, "m2 (192.168.50.12): it has no interface ens9"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_one_machine_is_unfit(breaks: Breaks, told: str, three: Machines) -> None:
    """Symptom: a traceback, a lab that is half there, or a wait without an end."""
    with breaks(three) as inventory:  # type: ignore[attr-defined]
        before = three.snapshots()
        done = refused(three, inventory)
        after = three.snapshots()
    assert done.returncode == 3, done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("lab: a machine is unfit: ")
    assert told in line
    assert "nothing was changed" in line
    assert {name: differences(before[name], after[name]) for name in before} == {name: [] for name in before}


def test_all_that_is_wrong_is_said_at_once(three: Machines) -> None:
    """Symptom: people mend one machine after the other, and each call finds one thing."""
    node = three.lab.node("m3")
    empty = three.folder / "empty.tar"
    subprocess.run(["tar", "-cf", str(empty), "-T", "/dev/null"], check=True)
    with wrong_key(three) as inventory:
        files = "bin/sleep lib64 $(ldd /bin/sleep | grep -o '/lib/[^ ]*')"
        node.sh(f"cd / && tar -ch {files} | docker import - theirs")
        node.run(["docker", "run", "-d", "--name=payroll", "theirs", "/bin/sleep", "inf"])
        try:
            done = refused(three, inventory)
        finally:
            node.run(["docker", "rm", "-f", "payroll"])
            node.sh("docker rmi theirs")
    assert done.returncode == 3, done.stderr
    (line,) = done.stderr.splitlines()
    assert "2 machines are unfit" in line
    assert "m2 (192.168.50.12): the key was refused" in line
    assert "m3 (192.168.50.13): containers that are not ours run there: payroll" in line


def test_too_few(three: Machines) -> None:
    inventory = three.folder / "two.ini"
    inventory.write_text(
        "\n".join(line for line in three.inventory().read_text().splitlines() if "m3 " not in line)
    )
    done = three.run("-m", "overlab", "up", SCENARIO, "--provider=inventory", f"--inventory={inventory}")
    assert done.returncode == 3, done.stderr
    assert "needs 3 machines and the inventory has 2" in done.stderr.splitlines()[-1]


def test_pytest_ends_with_the_same_line(three: Machines) -> None:
    """Symptom: under pytest each test fails by itself, and the status is 1."""
    with wrong_key(three) as inventory:
        words = ["-q", "-p", "no:cacheprovider", f"--results={three.folder / 'runs'}", "--provider=inventory"]
        done = three.run("-m", "pytest", f"scenarios/{SCENARIO}", *words, f"--inventory={inventory}")
    assert done.returncode == 3, done.stdout + done.stderr
    assert (
        "cannot start: a machine is unfit: m2 (192.168.50.12): the key was refused"
        in done.stdout + done.stderr
    )


def test_no_inventory(three: Machines) -> None:
    done = three.run("-m", "overlab", "up", SCENARIO, "--provider=inventory")
    assert done.returncode == 2
    assert "--inventory hosts.ini" in done.stderr
