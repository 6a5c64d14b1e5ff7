"""Small networks of real namespaces, and a router in user space that breaks packets on purpose.

Nothing is made in the host's network namespace: a veth is born inside one space with its peer in another.
Every space ends with its holder, whose standard input is ours.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import IO

from overlab.model import Vantage, VantageKind
from probes.client import Agent, Peer

ROOT = Path(__file__).resolve().parents[2]
_compiled = tempfile.TemporaryDirectory(prefix="overlab-test-")
HOLDER = "ip link set lo up; echo r; read _"


class Piped:
    """A process with pipes, as the client's Stream wants it."""

    def __init__(self, argv: Sequence[str]) -> None:
        self.process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT)
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.stdin: IO[bytes] = self.process.stdin
        self.stdout: IO[bytes] = self.process.stdout

    def poll(self) -> int | None:
        return self.process.poll()

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()


class Space:
    """One network (and mount and process) namespace."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.holder = Piped(["unshare", "-n", "-m", "-p", "-f", "--kill-child", "sh", "-c", HOLDER])
        assert self.holder.stdout.read(1) == b"r"
        pid = self.holder.process.pid
        self.pid = int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])

    def argv(self, *argv: str) -> list[str]:
        return ["nsenter", "-t", str(self.pid), "-n", "-m", "--", *argv]

    def sh(self, script: str) -> str:
        """Run shell commands, one a line; the first that fails fails the test with its words."""
        done = subprocess.run(self.argv("sh", "-ec", script), capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{self.name}: {script}\n{done.stderr}"
        return done.stdout

    def agent(self, container: str = "c") -> Agent:
        # compiled once, also where the environment forbids it: agents start by the dozen here
        cached = ["-u", "PYTHONDONTWRITEBYTECODE", f"PYTHONPYCACHEPREFIX={_compiled.name}"]
        python = self.argv("env", *cached, f"PYTHONPATH={ROOT}", sys.executable, "-m", "probes.agent")
        return Agent(Piped(python), Vantage(VantageKind.ENDPOINT, self.name, container))

    def close(self) -> None:
        self.holder.stdin.close()
        self.holder.stop()


class Net:
    """Spaces by name, links between them, and agents in them."""

    def __init__(self) -> None:
        self.stack = ExitStack()
        self.spaces: dict[str, Space] = {}
        self.agents: dict[str, Agent] = {}

    def space(self, *names: str) -> None:
        with ThreadPoolExecutor(len(names)) as pool:
            for space in pool.map(Space, names):
                self.spaces[space.name] = space
                self.stack.callback(space.close)

    def __getitem__(self, name: str) -> Space:
        return self.spaces[name]

    def veth(self, one: tuple[str, str, str], two: tuple[str, str, str], mtu: int = 1500) -> None:
        """Join (space, interface, address/prefix) to another; an empty address gives none."""
        (a, dev_a, _), (b, dev_b, _) = one, two
        self[a].sh(f"ip link add {dev_a} mtu {mtu} type veth peer {dev_b} netns {self[b].pid} mtu {mtu}")
        for space, dev, address in (one, two):
            if address:
                self[space].sh(f"ip addr add {address} dev {dev}")
            self[space].sh(f"ip link set {dev} up")

    def start(self, *names: str) -> None:
        """Start agents in these spaces, side by side."""
        with ThreadPoolExecutor(len(names)) as pool:
            for name, agent in zip(names, pool.map(lambda n: self[n].agent(), names), strict=True):
                self.agents[name] = agent
                self.stack.callback(agent.close)

    def peer(self, name: str, address: str, host_name: str = "") -> Peer:
        return Peer(self.agents[name], address, host_name)

    def run(self, name: str, *argv: str) -> Piped:
        """Start a helper in a space; it has said one line when this returns."""
        helper = Piped(self[name].argv(*argv))
        self.stack.callback(helper.stop)
        assert helper.stdout.readline(), f"{argv} ended before it was ready"
        return helper

    def mangle(self, fault: str, space: str = "r") -> None:
        """Route what comes in on the router's legs through the user-space router, with this fault."""
        self.run(space, sys.executable, str(Path(__file__).with_name("mangler.py")), fault)
        self[space].sh(
            "echo 0 > /proc/sys/net/ipv4/conf/all/rp_filter\n"
            "echo 0 > /proc/sys/net/ipv4/conf/mangle0/rp_filter\n"
            "ip link set mangle0 mtu 9000 up\n"
            "ip route add default dev mangle0 table 100\n"
            "ip rule add iif left table 100\n"
            "ip rule add iif right table 100"
        )

    def close(self) -> None:
        self.stack.close()


def routed(net: Net, mtu: int = 1400) -> None:
    """a 10.1.0.2 — left (r) right — b 10.2.0.2; the second leg has the smaller MTU."""
    net.space("a", "r", "b")
    # without a limit on ICMP errors, so that each probe gets its own
    net["r"].sh("echo 1 > /proc/sys/net/ipv4/ip_forward\necho 0 > /proc/sys/net/ipv4/icmp_ratelimit")
    net.veth(("a", "eth0", "10.1.0.2/24"), ("r", "left", "10.1.0.1/24"))
    net.veth(("r", "right", "10.2.0.1/24"), ("b", "eth0", "10.2.0.2/24"), mtu)
    # b can send 1500; it is the router's interface that refuses, as an exact oracle
    net["a"].sh("ip route add default via 10.1.0.1")
    net["b"].sh("ip route add default via 10.2.0.1")
