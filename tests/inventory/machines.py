"""Machines that overlab did not make, as far as the inventory provider can tell: only sshd and Docker.

They are namespaced nodes of a lab of ours; whoever tests is a process in that lab's own network, so that
nothing is on the host's.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

from fixtures import setup
from fixtures.lab import Lab
from fixtures.node import Node
from fixtures.providers.namespace.labs import boot, plan_of
from fixtures.store.cache import Cache
from fixtures.store.progress import Progress
from fixtures.waiting import NotYet, limit, wait_for
from overlab.model import NodeSpec, Topology
from overlab.paths import CHECKOUT

NETWORK = IPv4Network("192.168.50.0/24")
OURS = IPv4Address("192.168.50.1")
FOLDER = "tests/inventory/machine"
# Where files of a machine may differ: what its kernel and its engine keep, logs, and the ssh server's traces.
ENGINES = ("/var/lib/docker", "/run/docker", "/var/lib/containerd", "/run/containerd")
NOT_FILES = ("/proc", "/sys", "/dev", "/var/log", *ENGINES)
SNAPSHOT = {
    "packages": "dpkg-query -W",
    "links": "ip -o link | sed 's/@if[0-9]*//; s/^[0-9]*: //; s/ qlen.*//'",
    "addresses": "ip -o addr | sed 's/^[0-9]*: //; s/valid_lft.*//'",
    "routes": "(ip -4 route show table all; ip -6 route show table all) | sed 's/ linkdown//'",
    "rules": "ip -4 rule; ip -6 rule",
    "filters": "iptables-save | grep -v '^#' | sed 's/\\[.*\\]//'; "
    "iptables-legacy-save | grep -v '^#'; nft list tables",
    "sysctls": "sysctl -a 2>/dev/null | grep '^net\\.' | grep -v 'conntrack_count\\|fastopen_key'",
    "files": "find / -xdev \\( "
    + " -o ".join(f"-path {place}" for place in NOT_FILES)
    + " \\) -prune -o -type f -printf '%p %s %m %T@\\n' -o -printf '%p %m\\n' | sort",
    "processes": "ps -eo args= | grep -v 'ps -eo\\|^sshd: \\|^sh -c\\|^sort\\|^grep\\|^\\[' | sort",
    "images": "docker image ls -a --no-trunc",
    "containers": "docker ps -a --no-trunc",
    "networks": "docker network ls --no-trunc",
    "volumes": "docker volume ls",
}  # fmt: skip


@dataclass(frozen=True)
class Machines:
    """Three machines, and the way to them."""

    lab: Lab
    folder: Path

    @property
    def names(self) -> list[str]:
        """Their names."""
        return list(self.lab.nodes)

    def inventory(self, name: str = "hosts.ini", **changed: Mapping[str, str]) -> Path:
        """Write an inventory; `changed` sets other variables for a machine by its name."""
        path = self.folder / name
        known = f"-o UserKnownHostsFile={self.folder / 'known_hosts'}"
        lines = ["# three machines", "[overlab]"]
        for node in self.lab.nodes.values():
            words = {"ansible_host": str(node.address), "overlab_interface": node.interface}
            words |= changed.get(node.name, {})
            lines.append(" ".join([node.name, *(f"{key}={value}" for key, value in words.items())]))
        lines += ["[all:vars]", "ansible_user=root"]
        lines += [f"ansible_ssh_private_key_file={self.folder / 'key'}", f'ansible_ssh_common_args="{known}"']
        path.write_text("\n".join(lines) + "\n")
        return path

    def inside(self, argv: Sequence[str]) -> list[str]:
        """Return the words that run `argv` in the machines' network."""
        return ["nsenter", f"--net=/proc/{self.lab.status()['pid']}/ns/net", "--", *argv]

    def run(self, *words: str, timeout: float = 900) -> subprocess.CompletedProcess[str]:
        """Run `python ...` in the checkout, in the machines' network."""
        return subprocess.run(
            self.inside([sys.executable, "-P", *words]), cwd=CHECKOUT, capture_output=True, text=True,
            check=False, timeout=timeout, env=os.environ | {"PYTHONPATH": str(CHECKOUT)},
        )  # fmt: skip

    def snapshots(self) -> dict[str, dict[str, list[str]]]:
        """Return how every machine is, by the machine's own means, not by the provider's."""
        return self.lab.each(snapshot)


def snapshot(node: Node) -> dict[str, list[str]]:
    """Return lines by kind."""
    return {
        kind: node.sh(script, check=False, quiet=True).out.splitlines() for kind, script in SNAPSHOT.items()
    }


def differences(before: Mapping[str, Sequence[str]], after: Mapping[str, Sequence[str]]) -> list[str]:
    """Return what is new or gone, a line each."""
    told = []
    for kind in before:
        told += [f"{kind} + {line}" for line in after[kind] if line not in set(before[kind])]
        told += [f"{kind} - {line}" for line in before[kind] if line not in set(after[kind])]
    return told


@contextmanager
def machines(*, names: Sequence[str] = ("m1", "m2", "m3"), engine: str = "20.10") -> Iterator[Machines]:
    """Boot machines, each with an ssh server that knows one key."""
    specs = tuple(NodeSpec(name, NETWORK[11 + i]) for i, name in enumerate(names))
    topology = Topology("machines", specs, NETWORK, interface="eth0", engine=engine, layers=(FOLDER,))
    cache = Cache.open()
    ready = setup.prepare(cache, topology, Progress())
    lab = boot(cache, topology, plan_of(topology, ready.layers, None))
    try:
        with tempfile.TemporaryDirectory(prefix="overlab-machines-") as place:
            folder = Path(place)
            keygen = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f"]
            for name in ("key", "other-key"):
                subprocess.run([*keygen, str(folder / name)], check=True)
            known = lab.each(lambda node: _serve(node, (folder / "key.pub").read_text()))
            lines = [f"{lab.node(name).address} {key}" for name, key in known.items()]
            (folder / "known_hosts").write_text("\n".join(lines) + "\n")
            lab.underlay.run(["ip", "addr", "add", f"{OURS}/24", "dev", "lan0"])
            _settle(lab)
            yield Machines(lab, folder)
    finally:
        lab.down()


def _settle(lab: Lab) -> None:
    """Wait until the kernels have made up their minds about their own IPv6 addresses."""

    def settled() -> None:
        for node in lab.nodes.values():
            if "tentative" in node.sh("ip -6 addr", quiet=True).out:
                raise NotYet(f"{node} still asks")

    wait_for("the machines' own addresses", settled, within=limit("node"))


def _serve(node: Node, key: str) -> str:
    """Start a node's ssh server; return its host key."""
    node.put("/root/.ssh/authorized_keys", key, mode="0600")
    node.service("sshd", ["sh", "-c", "mkdir -p /run/sshd && exec /usr/sbin/sshd -D"])

    def up() -> None:
        if "sshd: /usr/sbin/sshd" not in node.sh("ps -eo args=", quiet=True).out:
            raise NotYet("it does not listen")

    wait_for(f"the ssh server of {node}", up, within=limit("service"))
    return node.run(["cat", "/etc/ssh/ssh_host_ed25519_key.pub"], quiet=True).out.strip()
