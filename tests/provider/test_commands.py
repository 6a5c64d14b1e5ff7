"""Commands on a node: run, popen, put, get, and what the transcript keeps of them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from fixtures.lab import Lab
from fixtures.node import Node, NodeError
from fixtures.transcript import Entry, read_transcript
from fixtures.waiting import NotYet, limit, wait_for
from overlab.errors import UsageError
from overlab.model import Secret


def last(lab: Lab) -> Entry:
    return read_transcript(lab.transcript.path)[-1]


def alive(node: Node, mark: str) -> list[str]:
    """Return the processes of `node` whose command line holds `mark`, but for the one that looks."""
    shown = node.run(["ps", "-eo", "pid=,args="], quiet=True).out.splitlines()
    return [line for line in shown if mark in line]


def all_gone(node: Node, mark: str) -> None:
    def gone() -> None:
        if left := alive(node, mark):
            raise NotYet(" | ".join(left))

    wait_for(f"no {mark} on {node}", gone, within=limit("command"))


def test_output_status_and_time_come_back(bare: Lab, node: Node) -> None:
    """Symptom: output is lost or mixed with errors, or a command runs on the host and not on the node."""
    done = node.sh("hostname; echo wrong >&2; exit 3", check=False)
    assert (done.status, done.out, done.err) == (3, "a\n", "wrong\n")
    assert 0 < done.duration < limit("command")
    assert last(bare).status == 3
    assert last(bare).out == "a\n"


def test_a_failure_says_node_command_status_and_words(node: Node) -> None:
    """Symptom: 'command failed' with neither where nor why."""
    with pytest.raises(NodeError, match=r"a: `sh -c 'echo no such thing >&2; exit 4'` ended with 4: no such"):
        node.sh("echo no such thing >&2; exit 4")


def test_a_command_that_does_not_end_is_ended(bare: Lab, node: Node) -> None:
    """Symptom: a hanging command hangs the run, stays on the node, and no transcript tells of it."""
    with pytest.raises(NodeError, match=r"a: `sh -c .*` went on after 0\.3 s.*so far"):
        node.sh("echo so far; exec sleep 4001", timeout=0.3)
    all_gone(node, "sleep 4001")
    assert "4001" in last(bare).argv[-1]
    assert last(bare).status is None
    assert last(bare).out == "so far\n"


def test_input_and_environment_arrive(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """Symptom: a command reads the terminal, or sees the caller's own environment and its secrets."""
    monkeypatch.setenv("CALLERS_TOKEN", "must not travel")
    assert node.run(["cat"], input="given").out == "given"
    assert node.run(["cat"]).out == ""
    shown = node.run(["env"], env={"MINE": "yes"}).out
    assert "MINE=yes" in shown
    assert "CALLERS_TOKEN" not in shown


def test_secrets_show_by_name_only(bare: Lab, node: Node) -> None:
    """Symptom: a private key stands in the transcript, in an error, or in a failing test's page."""
    key = Secret("TEST_KEY", "kept-to-ourselves-77")
    length = str(len(key.reveal()))
    assert node.run(["sh", "-c", "printf %s $1 | wc -c", "sh", key]).out.strip() == length
    node.run(["cat"], input=key)
    with pytest.raises(NodeError, match=r"\$TEST_KEY") as caught:
        node.run(["sh", "-c", "echo bad key $1 >&2; exit 1", "sh", key])
    with pytest.raises(NodeError) as late:
        node.run(["sh", "-c", "echo $1; exec sleep 4002", "sh", key], timeout=0.3)
    node.put("/etc/test.key", key, mode="0600")
    assert node.get("/etc/test.key") == key.reveal()
    told = f"{caught.value} {late.value} {bare.transcript.path.read_text()}"
    assert "$TEST_KEY" in told
    assert key.reveal() not in told


def test_a_stream_is_read_and_written_while_it_goes_on(node: Node) -> None:
    """Symptom: an agent's answers come only at its end."""
    process = node.popen(["cat"])
    try:
        for word in (b"one\n", b"two\n"):
            process.stdin.write(word)
            assert process.stdout.readline() == word
        assert process.poll() is None
    finally:
        process.stop()
    assert process.poll() is not None


@pytest.mark.parametrize("trap", ["", "trap '' TERM; "], ids=["willing", "deaf"])
def test_stop_ends_the_process_inside_the_node(node: Node, trap: str) -> None:
    """Symptom: tcpdump or iperf3 goes on inside the node after its nsenter died, and eats the port."""
    process = node.popen(["sh", "-c", f"{trap}echo ready; sleep 4003; :"])
    assert process.stdout.readline() == b"ready\n"
    assert alive(node, "sleep 4003"), "not the thing under test: nothing to stop"
    process.stop()
    assert alive(node, "4003") == []


def test_what_is_put_is_got(node: Node) -> None:
    """Symptom: a file's last newline, its mode or its folder is lost on the way."""
    text = "first\n\n  ünï $HOME 'quoted'\nlast without newline"
    node.put("/etc/deep/down/file", text, mode="0640")
    assert node.get("/etc/deep/down/file") == text
    assert node.sh("stat -c %a /etc/deep/down/file").out.strip() == "640"
    with pytest.raises(NodeError, match="No such file"):
        node.get("/etc/deep/none")


def test_unknown_names_are_told(bare: Lab) -> None:
    """Symptom: KeyError for a misspelt node."""
    with pytest.raises(UsageError, match=r"no node 'd'.*there are: a, b, c"):
        bare.node("d")


def test_testinfra_looks_at_the_node_and_not_at_the_host(node: Node) -> None:
    """Symptom: assertions by testinfra pass because they look at the machine that runs pytest."""
    node.put("/etc/only-here", "x")
    assert not Path("/etc/only-here").exists()
    host = node.host
    assert host.file("/etc/only-here").content_string == "x"
    assert host.check_output("hostname") == "a"
    assert host.run("exit 5").rc == 5
    assert host.package("iproute2").is_installed


def test_state_is_data(bare: Lab, node: Node) -> None:
    """Symptom: a kind of kernel state is empty, or is that of the host."""
    other = bare.node("b")
    node.run(["ping", "-c1", "-W2", str(other.address)])
    links = {row["ifname"]: row for row in node.state("links")}
    assert links["eth1"]["mtu"] == bare.underlay.mtu
    assert links["eth1"]["linkinfo"]["info_kind"] == "veth"
    addresses = {a["local"] for row in node.state("addresses") for a in row["addr_info"]}
    assert str(node.address) in addresses
    assert any(row["dst"] == "10.77.0.0/24" and row["dev"] == "eth1" for row in node.state("routes"))
    assert any(row["dst"] == str(other.address) and "lladdr" in row for row in node.state("neighbours"))
    assert any(row["ifname"] == "eth1" for row in node.state("forwarding"))
    assert {row["priority"] for row in node.state("rules")} >= {0, 32766, 32767}


def test_machines_are_told_apart(bare: Lab) -> None:
    """Symptom: overlay peers take two nodes for one, as their machine ids or link addresses are the same."""
    nodes = list(bare.nodes.values())
    assert {n.run(["hostname"]).out.strip() for n in nodes} == {"a", "b", "c"}
    ids = [n.get("/etc/machine-id").strip() for n in nodes]
    assert all(re.fullmatch("[0-9a-f]{32}", one) for one in ids)
    assert len(set(ids)) == 3
    macs = {row["address"] for n in nodes for row in n.state("links") if row["ifname"] == "eth1"}
    assert len(macs) == 3
