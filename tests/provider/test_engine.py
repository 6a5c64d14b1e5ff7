"""Docker Engine on a node: ready, its own, configurable, and with its state on the node's disk."""

from __future__ import annotations

import docker
import pytest

from fixtures.lab import Lab
from fixtures.node import Node
from fixtures.waiting import NotYet, limit, wait_for
from overlab.errors import OverlabError

TOOLS = "overlab/tools"


@pytest.fixture
def here(engined: Lab) -> Node:
    return engined.node("a")


def forward_policy(node: Node) -> str:
    return node.run(["iptables", "-S", "FORWARD"]).out.splitlines()[0]


def test_the_sdk_speaks_to_the_engine_of_the_node(engined: Lab) -> None:
    """Symptom: the SDK's client is that of the host, or of another node."""
    infos = {name: node.docker.info() for name, node in engined.nodes.items()}
    assert {name: info["Name"] for name, info in infos.items()} == {"a": "a", "b": "b"}
    assert len({info["ID"] for info in infos.values()}) == 2, "engines are told apart by their ids"
    assert infos["a"]["Driver"] == "overlay2"
    machine = [node.get("/etc/machine-id") for node in engined.nodes.values()]
    assert len(set(machine)) == 2


def test_images_are_ready_on_every_node(engined: Lab) -> None:
    """Symptom: the first `docker run` of a test waits for a registry."""
    wanted = {f"overlab/{name}:latest" for name in ("rng", "hasher", "worker", "webui", "redis", "tools")}
    for node in engined.nodes.values():
        assert {tag for image in node.docker.images.list() for tag in image.tags} >= wanted
        assert node.run(["docker", "run", "--rm", TOOLS, "hostname", "-s"]).out.strip()


def test_forwarded_packets_are_accepted(engined: Lab) -> None:
    """Symptom: Docker sets FORWARD to DROP, and every routed overlay is dead before it begins."""
    for node in engined.nodes.values():
        assert forward_policy(node) == "-P FORWARD ACCEPT"
        assert node.get("/proc/sys/net/ipv4/ip_forward") == "1\n"


def test_docker_zero_is_a_device_of_its_own_on_each_node(engined: Lab) -> None:
    """Symptom: the bridges of two nodes have one link address, and a routed overlay confuses them."""
    rows = [next(r for r in n.state("links") if r["ifname"] == "docker0") for n in engined.nodes.values()]
    assert len({row["address"] for row in rows}) == 2


def test_hidden_namespaces_can_be_looked_into(here: Node) -> None:
    """Symptom: what Docker hides in a namespace without a name cannot be shown to a student."""
    here.run(["docker", "run", "-d", "--name", "hidden", TOOLS, "sleep", "10001"])
    try:
        inside = here.docker.containers.get("hidden").attrs["NetworkSettings"]
        assert inside["SandboxKey"].replace("/var/run", "/run") in here.namespaces()
        rows = here.state("addresses", namespace=inside["SandboxKey"])
        assert inside["IPAddress"] in {a["local"] for row in rows for a in row["addr_info"]}
        routes = here.state("routes", namespace=inside["SandboxKey"])
        assert any(row["dst"] == "default" and row["gateway"] == inside["Gateway"] for row in routes)
    finally:
        here.run(["docker", "rm", "-f", "hidden"])


def test_the_engine_is_configured_again(here: Node) -> None:
    """Symptom: a flag is set and the old engine goes on; or the flags of before stay for ever."""
    before = here.docker.info()
    assert before["Labels"] in ([], None)
    here.configure_engine(["--label=mark=yes"])
    assert here.docker.info()["Labels"] == ["mark=yes"]
    assert here.docker.info()["ID"] == before["ID"]
    assert forward_policy(here) == "-P FORWARD ACCEPT"
    here.configure_engine(storage_driver="vfs")
    assert here.docker.info()["Driver"] == "vfs"
    here.configure_engine()
    assert here.docker.info()["Driver"] == "overlay2"
    assert here.docker.info()["Labels"] in ([], None)
    assert here.run(["docker", "run", "--rm", TOOLS, "echo", "whole"]).out == "whole\n"


@pytest.mark.parametrize("signal", ["TERM", "KILL"])
def test_an_engine_that_ends_comes_back_with_its_images(here: Node, signal: str) -> None:
    """Symptom: the engine stops in order, unmounts the layers of its images, and comes back hollow."""
    before = here.run(["pidof", "dockerd"]).out
    here.run(["pkill", f"-{signal}", "-x", "dockerd"])

    def back() -> None:
        asked = here.run(["docker", "version"], check=False, quiet=True)
        if asked.status != 0 or here.run(["pidof", "dockerd"], check=False).out == before:
            raise NotYet(asked.err)

    wait_for("the engine to be back", back, within=limit("engine"))
    assert here.run(["docker", "run", "--rm", TOOLS, "echo", "whole"]).out == "whole\n"
    mounted = here.get("/proc/mounts").splitlines()
    layers = [line.split()[1] for line in mounted if "/var/lib/docker/overlay2/" in line and "/diff " in line]
    assert layers
    assert len(set(layers)) == len(layers), "each layer is bound once"
    assert all(line.split()[3].startswith("ro") for line in mounted if "/diff " in line)


def test_a_container_outlives_containerd(here: Node) -> None:
    """Symptom: what runs containers ends, and the engine hangs, or its containers are lost."""
    here.run(["docker", "run", "-d", "--name", "lasting", TOOLS, "sleep", "10002"])
    here.run(["pkill", "-KILL", "-x", "containerd"])

    def answers() -> None:
        asked = here.run(["docker", "exec", "lasting", "echo", "whole"], check=False, quiet=True)
        if asked.out != "whole\n":
            raise NotYet(asked.err)

    try:
        wait_for("the container to be entered again", answers, within=limit("engine"))
        assert next(s for s in here.services() if s["name"] == "containerd")["restarts"] == 1
    finally:
        here.run(["docker", "rm", "-f", "lasting"])


def test_an_engine_that_does_not_start_shows_its_log(here: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """Symptom: 'the engine does not answer' after 30 s, and why is in a file nobody names."""
    with pytest.raises(OverlabError) as caught:
        here.configure_engine(["--no-such-flag"])
    assert "the engine of a" in caught.value.what
    assert "unknown flag: --no-such-flag" in caught.value.remedy
    here.configure_engine()
    assert here.docker.ping()


def test_containers_and_engine_survive_a_reboot(engined: Lab) -> None:
    """Symptom: after a reboot the SDK talks to a dead socket, or restarted containers are not there."""
    node = engined.node("b")
    identity = node.docker.info()["ID"]
    node.run(["docker", "run", "-d", "--name", "always", "--restart=always", TOOLS, "sleep", "10002"])
    node.run(["docker", "run", "-d", "--name", "once", TOOLS, "sleep", "10003"])
    node.reboot()
    assert node.docker.info()["ID"] == identity
    states = {str(c.name): c.status for c in node.docker.containers.list(all=True)}
    assert states == {"always": "running", "once": "exited"}
    assert forward_policy(node) == "-P FORWARD ACCEPT"
    for name in states:
        node.docker.containers.get(name).remove(force=True)


def test_containers_come_back_after_a_power_cut(engined: Lab) -> None:
    """Symptom: an engine whose power was cut does not start again, or takes its images for broken."""
    node = engined.node("b")
    node.run(["docker", "run", "-d", "--name", "always", "--restart=always", TOOLS, "sleep", "10004"])
    node.power_off()
    node.power_on()
    assert node.docker.containers.get("always").status == "running"
    node.docker.containers.get("always").remove(force=True)
    with pytest.raises(docker.errors.NotFound):
        node.docker.containers.get("always")


def test_pause_freezes_containers_too(engined: Lab) -> None:
    """Symptom: the engine of a paused node is frozen, and its containers go on."""
    node = engined.node("b")
    script = "while :; do echo >>/t; done"
    node.run(["docker", "run", "-d", "--name", "busy", TOOLS, "sh", "-c", script])
    before = node.cpu_seconds()
    while node.cpu_seconds() == before:
        pass
    node.pause()
    frozen = node.cpu_seconds()
    assert node.run(["ps", "-o", "pid=", "-C", "dockerd"]).out.strip(), "looking does not need the engine"
    node.run(["sleep", "0.4"])  # commands still enter: only what lives in the node is frozen
    assert node.cpu_seconds() - frozen < 0.2, "a busy loop would have used twice that"
    node.resume()
    assert node.run(["docker", "exec", "busy", "echo", "on"]).out == "on\n"
    node.run(["docker", "rm", "-f", "busy"])
