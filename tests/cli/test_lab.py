"""A lab that was brought up from the command line, and all that can be done to it from there."""

from __future__ import annotations

import json
import os
import pty
import signal
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from fixtures.store.cache import Cache
from tests.cli.calling import COMMAND, Done, assert_one_line, call, environment, start
from tests.cli.conftest import SCENARIO

PCAP = bytes.fromhex("d4c3b2a1")  # microseconds, little-endian


def on(lab_id: str, *words: str, **options: Any) -> Done:
    """Run `exec` on a node of the lab."""
    return call("exec", "--lab", lab_id, *words, **options)


@contextmanager
def going(*words: str) -> Iterator[subprocess.Popen[str]]:
    """Start a verb that goes on, and make sure that it has ended."""
    process = start(*words)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_status_shows_the_lab_with_its_nodes(lab_id: str) -> None:
    done = call("status", "--lab", lab_id)
    assert done.returncode == 0
    assert "kept until ./lab down" in done.stdout
    rows = [line.split() for line in done.stdout.splitlines() if line.startswith("  barge")]
    assert [row[2] for row in rows] == ["on", "on", "on"]


def test_ps_shows_services_and_containers(lab_id: str) -> None:
    rows = [line.split()[:3] for line in call("ps", "--lab", lab_id).stdout.splitlines()]
    assert ["barge1", "docker", "(service)"] in rows
    assert ["barge1", "worker", "overlab/worker"] in rows
    assert ["barge2", "webui", "overlab/webui"] in rows


def test_doctor_finds_the_lab_well(lab_id: str) -> None:
    done = call("doctor", "--lab", lab_id)
    assert done.returncode == 0, done.stdout
    assert f"{lab_id}, barge3: engine and services are well" in done.stdout


def test_exec_passes_the_status_and_the_input(lab_id: str) -> None:
    assert on(lab_id, "barge1", "--", "sh", "-c", "exit 7").returncode == 7
    assert on(lab_id, "barge1", "--", "sh", "-c", "kill -9 $$").returncode == 128 + 9
    done = on(lab_id, "barge2", "--", "sh", "-c", "hostname; cat", given="words\n")
    assert (done.returncode, done.stdout) == (0, "barge2\nwords\n")


def test_exec_in_a_container(lab_id: str) -> None:
    done = on(lab_id, "barge1", "--service", "worker", "--", "sh", "-c", "hostname; exit 3")
    assert (done.returncode, done.stdout) == (3, "worker\n")


def test_exec_is_in_the_transcript(lab_id: str) -> None:
    assert on(lab_id, "barge3", "--", "echo", "for the lab sheet").returncode == 0
    lines = (Cache.open().labs / lab_id / "transcript.jsonl").read_text().splitlines()
    shown = [json.loads(line) for line in lines]
    assert ["echo", "for the lab sheet"] in [entry["argv"] for entry in shown if entry["node"] == "barge3"]


@pytest.mark.parametrize("where", [["barge1"], ["barge1", "worker"]], ids=["node", "container"])
def test_sh_is_a_shell_on_a_terminal(lab_id: str, where: list[str]) -> None:
    ours, theirs = pty.openpty()
    argv = [*COMMAND, "sh", *where, "--lab", lab_id]
    process = subprocess.Popen(
        argv, env=environment(), stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
    )
    os.close(theirs)
    os.write(ours, b"echo host=$(hostname); exit 5\n")
    shown = b""
    try:
        while data := os.read(ours, 4096):
            shown += data
    except OSError:  # the terminal's other end is closed
        pass
    os.close(ours)
    assert process.wait() == 5
    assert f"host={where[-1]}".encode() in shown


def test_logs_of_engine_service_and_container(lab_id: str) -> None:
    engine = call("logs", "barge1", "--lab", lab_id)
    assert "level=" in engine.stdout
    container = call("logs", "barge1", "worker", "--lab", lab_id)
    assert "worker: rng at rng" in container.stdout + container.stderr
    assert call("logs", "barge1", "ovl0", "--lab", lab_id).stdout.count("iptables") == 2


def test_capture_as_text_and_as_pcap(lab_id: str, tmp_path: Path) -> None:
    words = ["capture", "barge1", "eth1", "-c", "2", "--lab", lab_id, "udp", "port", "12345"]
    text = call(*words)
    assert (text.returncode, text.stdout.count(".12345 >")) == (0, 2), text.stderr
    target = tmp_path / "wire.pcap"
    assert call(*words, "-w", str(target)).returncode == 0
    assert target.read_bytes()[:4] == PCAP
    piped = subprocess.run([*COMMAND, *words, "-w", "-"], env=environment(), capture_output=True, check=True)
    assert piped.stdout[:4] == PCAP


def test_forward_is_a_door_for_a_browser(lab_id: str) -> None:
    with going("forward", "barge2:8000", "0", "--lab", lab_id) as door:
        url = _address(door)
        port = int(url.rpartition(":")[2])
        with pytest.raises(ConnectionRefusedError):  # bound to 127.0.0.1, not to all of the machine
            socket.create_connection(("127.0.0.2", port))
        with urllib.request.urlopen(f"{url}/json") as answer:
            assert "coins" in json.load(answer)
        with urllib.request.urlopen(url) as answer:
            assert b"<html" in answer.read().lower()
        taken = call("forward", "barge2:8000", str(port), "--lab", lab_id)
        assert_one_line(taken, 2, f"127.0.0.1:{port} cannot be listened on", "name another port")
        door.send_signal(signal.SIGINT)
        assert door.wait() == 0
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))


def test_forward_says_that_nothing_listens(lab_id: str) -> None:
    with going("forward", "barge2:9", "0", "--lab", lab_id) as door:
        url = _address(door)
        with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2]))) as client:
            assert client.recv(1) == b""
        assert door.stderr
        assert "nothing listens on barge2:9" in door.stderr.readline()


def _address(door: subprocess.Popen[str]) -> str:
    assert door.stdout
    url = door.stdout.readline().split()[0]
    assert url.startswith("http://127.0.0.1:")
    return url


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_fault_is_held_and_healed(lab_id: str, number: signal.Signals) -> None:
    ping = ["barge1", "--", "ping", "-q", "-c1", "-W1", "10.10.10.103"]
    assert on(lab_id, *ping).returncode == 0, "not healthy beforehand"
    with going("fault", "partition", "barge3", "--lab", lab_id) as fault:
        assert fault.stdout
        assert "barge3 cut off" in fault.stdout.readline()
        assert on(lab_id, *ping).returncode == 1
        fault.send_signal(number)
        assert "healed" in fault.stdout.readline()
        assert fault.wait() == 0
    assert on(lab_id, *ping).returncode == 0


def test_a_fault_ends_by_itself(lab_id: str) -> None:
    done = call("fault", "mtu", "barge2", "1300", "--seconds", "0", "--lab", lab_id)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "healed"


WRONG = {
    "node": (["sh", "brge1"], "did you mean 'barge1'?"),
    "container": (["exec", "barge1", "--service", "wrker", "--", "true"], "did you mean 'worker'?"),
    "elsewhere": (["sh", "barge2", "worker"], "no container 'worker' runs on barge2"),
    "logs": (["logs", "barge1", "wrker"], "did you mean 'worker'?"),
    "interface": (["capture", "barge1", "eth9"], "did you mean 'eth1'?"),
    "filter": (["capture", "barge1", "eth1", "udp", "prt"], "see pcap-filter(7)"),
    "file": (["capture", "barge1", "eth1", "-w", "/nowhere/x"], "/nowhere/x cannot be written"),
    "fault": (["fault", "pause", "barge9"], "there are: barge1, barge2, barge3"),
}


@pytest.mark.parametrize(("words", "told"), WRONG.values(), ids=WRONG.keys())
def test_what_is_not_there(lab_id: str, words: list[str], told: str) -> None:
    verb = words[:2] if words[0] == "fault" else words[:1]
    assert_one_line(call(*verb, "--lab", lab_id, *words[len(verb) :]), 2, told)


def test_more_nodes_than_memory_holds(tmp_path: Path) -> None:
    (tmp_path / "meminfo").write_text("MemTotal: 262144 kB\nMemAvailable: 204800 kB\n")
    poor = f'mount --bind {tmp_path}/meminfo /proc/meminfo && exec "$@"'
    done = call("up", SCENARIO, before=["unshare", "-m", "sh", "-c", poor, "poor"])
    assert done.returncode == 3
    assert "3 nodes need about 288 MiB, and 200 MiB are free" in done.stderr.splitlines()[-1]
    assert "ask for 2 nodes at most" in done.stderr.splitlines()[-1]


def test_up_that_is_interrupted_leaves_nothing(tmp_path: Path) -> None:
    with going("up", SCENARIO) as process:
        assert process.stderr
        lines = iter(process.stderr.readline, "")
        started = next(line for line in lines if "nodes are up" in line).partition(":")[0]
        assert (Cache.open().labs / started).is_dir(), "not up"
        process.send_signal(signal.SIGINT)
        assert process.wait() == 130
        assert list(lines)[-1] == "lab: interrupted\n"
    assert not (Cache.open().labs / started).exists()


def test_down_leaves_nothing_and_closes_the_door(lab_id: str) -> None:
    """The last one: it takes the module's lab down."""
    with going("forward", "barge2:8000", "0", "--lab", lab_id) as door:
        _address(door)
        done = call("down", lab_id)
        assert (done.returncode, done.stdout) == (0, f"{lab_id} is down\n")
        assert door.wait() == 0
        assert door.stderr
        assert f"{lab_id} is gone" in door.stderr.read()
    assert not (Cache.open().labs / lab_id).exists()
    assert_one_line(call("down", lab_id), 2, f"no lab '{lab_id}' is up")
