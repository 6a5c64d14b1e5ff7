"""The agent and its client: a probe that hangs, or a dead agent that reads as a broken network."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from overlab.model import Vantage, VantageKind
from probes.client import Agent, AgentError, AgentGoneError, AgentTimeoutError, OperationError
from tests.probes.nets import ROOT, Net, Piped

HERE = Vantage(VantageKind.NODE, "n1")


@pytest.fixture(scope="module")
def alone() -> Iterator[Agent]:
    net = Net()
    try:
        net.space("a")
        net.start("a")
        yield net.agents["a"]
    finally:
        net.close()


def test_hello_says_what_is_there(alone: Agent) -> None:
    assert [entry["name"] for entry in alone.hello["interfaces"]] == ["lo"]
    assert alone.interface_of("127.0.0.1")["name"] == "lo"
    with pytest.raises(AgentError, match=r"no interface with 10\.0\.0\.1; it has 127\.0\.0\.1/8"):
        alone.interface_of("10.0.0.1")


def test_answers_find_their_callers(alone: Agent) -> None:
    sizes = list(range(64, 1064, 10))

    def echo(size: int) -> int:
        target = {"dst": "127.0.0.1", "port": alone.udp_port, "size": size}
        return int(alone.call("udp_echo", timeout=10, targets=[target])["results"][0]["seen"]["length"])

    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(echo, sizes)) == [size - 28 for size in sizes]


def test_a_long_operation_does_not_hold_up_a_short_one(alone: Agent) -> None:
    silent = [{"dst": "127.0.0.1", "port": 1, "size": 64}]
    slow = threading.Thread(target=alone.call, args=("udp_echo",), kwargs={"timeout": 10, "targets": silent})
    slow.start()
    assert alone.call("ping", timeout=5)["pid"] > 0
    assert slow.is_alive(), "not the thing under test: the long operation has ended already"
    slow.join()


def test_errors_are_one_line(alone: Agent) -> None:
    with pytest.raises(OperationError, match="no operation 'dance'") as unknown:
        alone.call("dance", timeout=5)
    assert unknown.value.kind == "unknown-op"
    with pytest.raises(OperationError) as bad:
        alone.call("start_sniff", timeout=5, interface="none0")
    assert bad.value.kind == "OSError"
    assert "\n" not in str(bad.value)
    assert alone.call("ping", timeout=5), "it goes on after an error"


def test_a_sniffer_is_live_when_it_is_said_to_be(alone: Agent) -> None:
    for _ in range(20):
        number = alone.call("start_sniff", timeout=5, interface="lo", protocols=["udp"])["sniff"]
        target = {"dst": "127.0.0.1", "port": alone.udp_port, "size": 64, "nonce": "0102030405060708"}
        alone.call("udp_echo", timeout=5, targets=[target])
        seen = alone.call("stop_sniff", timeout=5, sniff=number, nonce="0102030405060708")
        kinds = sorted(packet["kind"] for packet in seen["packets"])
        assert kinds == ["reply", "reply", "request", "request"]  # loopback shows each out and in


def test_the_kernel_filter_keeps_what_it_must(alone: Agent) -> None:
    number = alone.call("start_sniff", timeout=5, interface="lo", protocols=["icmp"])["sniff"]
    both = [{"dst": "127.0.0.1", "port": alone.udp_port, "size": 64}]
    alone.call("udp_echo", timeout=5, targets=both)
    alone.call("icmp_echo", timeout=5, targets=both)
    seen = alone.call("stop_sniff", timeout=5, sniff=number)
    assert {entry["protocol"] for entry in seen["conversations"]} == {"icmp"}


def test_a_dead_agent_says_its_exit_status() -> None:
    stream = Piped(["sh", "-c", "read line; exit 7"])
    stream.stdin.write(b"\n")
    stream.stdin.flush()
    with pytest.raises(AgentGoneError, match=r"n1 ended \(exit status 7\) while asked for 'hello'"):
        Agent(stream, HERE)


def test_an_agent_that_dies_in_a_call() -> None:
    stream = Piped([sys.executable, "-m", "probes.agent"])
    with Agent(stream, HERE) as agent:
        stream.process.kill()
        with pytest.raises(AgentGoneError, match=r"exit status -9\) while asked for 'ping'"):
            agent.call("ping", timeout=10)


def test_no_hello_is_a_timeout() -> None:
    with pytest.raises(AgentTimeoutError, match=r"did not answer 'hello' within 0\.2 s"):
        Agent(Piped(["sleep", "60"]), HERE, timeout=0.2)


def test_another_protocol_is_refused() -> None:
    old = Piped(["sh", "-c", """echo '{"hello": {"protocol": 0}}'; read line"""])
    with pytest.raises(AgentError, match="speaks protocol 0, not 1; rebuild the image"):
        Agent(old, HERE)


def test_it_ends_when_its_input_closes() -> None:
    stream = Piped([sys.executable, "-m", "probes.agent"])
    assert stream.stdout.readline().startswith(b'{"hello"')
    stream.stdin.close()
    assert stream.process.wait(10) == 0


def test_its_folder_alone_is_enough(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "probes" / "agent", tmp_path / "probes" / "agent")
    names = "sorted(n for n in sys.modules if n.split('.')[0] in ('scapy', 'overlab'))"
    script = f"import probes.agent.server, sys; print(probes.agent.__file__, {names})"
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == [str(tmp_path / "probes" / "agent" / "__init__.py"), "[]"]
