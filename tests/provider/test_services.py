"""Services of a node: supervised, in order, ready, and back after a reboot."""

from __future__ import annotations

from typing import Any

import pytest

from fixtures.lab import Lab
from fixtures.node import Node
from fixtures.waiting import NotYet, limit, wait_for
from overlab.errors import OverlabError
from tests.provider.grounds import Ground, small
from tests.provider.test_commands import alive, all_gone


def service(node: Node, name: str) -> dict[str, Any]:
    return next(s for s in node.services() if s["name"] == name)


def pid_of(node: Node, mark: str) -> str:
    """Wait for the one process of `node` whose command line is `mark`; return its pid."""

    def there() -> str:
        found = [line.split(maxsplit=1) for line in alive(node, mark)]
        pids = [pid for pid, args in found if args == mark]
        if len(pids) != 1:
            raise NotYet(str(found))
        return pids[0]

    return wait_for(f"{mark} on {node}", there, within=limit("service"))


def test_a_killed_service_comes_back(node: Node) -> None:
    """Symptom: serf or wireguard-go dies once, and the overlay is broken for the rest of the run."""
    node.service("lasting", ["sleep", "5001"])
    first = pid_of(node, "sleep 5001")
    node.run(["kill", "-9", first])

    def back() -> None:
        if not alive(node, "sleep 5001") or service(node, "lasting")["restarts"] != 1:
            raise NotYet(str(service(node, "lasting")))

    wait_for("the service to be back", back, within=limit("service"))
    assert pid_of(node, "sleep 5001") != first
    assert service(node, "lasting")["active"]
    node.stop_service("lasting")
    all_gone(node, "sleep 5001")
    assert "lasting" not in [s["name"] for s in node.services()]


def test_a_stopped_service_stays_stopped(node: Node) -> None:
    """Symptom: the supervisor takes a stop for a crash, and starts again what was to be gone."""
    node.service("ended", ["sleep", "5002"])
    node.stop_service("ended")
    all_gone(node, "sleep 5002")
    with pytest.raises(OverlabError, match="no service 'ended' on a"):
        node.stop_service("ended")
    assert alive(node, "sleep 5002") == []


def test_oneshots_run_in_order_and_are_undone(node: Node) -> None:
    """Symptom: an address is set before its link is there; a stopped overlay leaves its rules behind."""
    for word in ("one", "two", "three"):
        say = f"echo {word} >>/tmp/order"
        node.service(
            word, ["sh", "-c", say], oneshot=True, stop=["sh", "-c", f"echo not {word} >>/tmp/order"]
        )
    assert node.get("/tmp/order").split() == ["one", "two", "three"]
    assert service(node, "two") | {"log": ""} == {
        "name": "two", "active": True, "oneshot": True, "restarts": 0, "status": 0, "log": "",
    }  # fmt: skip
    for word in ("three", "two", "one"):
        node.stop_service(word)
    assert node.get("/tmp/order").splitlines()[3:] == ["not three", "not two", "not one"]


def test_a_oneshot_that_fails_says_so(node: Node) -> None:
    """Symptom: `ip` refuses a word, and the scenario goes on without its route."""
    with pytest.raises(OverlabError, match=r"service bad on a ended with 7.*its log ends: no such device"):
        node.service("bad", ["sh", "-c", "echo no such device; exit 7"], oneshot=True)
    node.stop_service("bad")


def test_start_waits_until_ready(node: Node) -> None:
    """Symptom: the next command meets a server that does not listen yet."""
    command = ["sh", "-c", "until [ -e /tmp/open ]; do sleep 0.01; done; exec sleep 5003"]
    node.service("opener", ["sh", "-c", "exec touch /tmp/open"], oneshot=True)
    node.service("server", command, ready=["sh", "-c", "ps -eo args= | grep -q '[s]leep 5003'"])
    assert alive(node, "sleep 5003")
    for name in ("server", "opener"):
        node.stop_service(name)


def test_a_wait_that_ends_shows_the_end_of_the_log(place: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    """Symptom: 'not ready after 15 s', and the reason is in a file nobody names."""
    monkeypatch.setenv("OVERLAB_SLOW", "0.2")
    with place.lab(small("solo")) as lab:
        said = "for i in 1 2 3 4 5 6 7; do echo line $i; done; exec sleep 5004"
        with pytest.raises(OverlabError, match="never on solo was not ready after 3 s") as caught:
            lab.node("solo").service("never", ["sh", "-c", said], ready=["false"])
    assert caught.value.remedy == "its log ends: line 3 | line 4 | line 5 | line 6 | line 7"


def test_a_service_that_ends_again_and_again_is_given_up(node: Node) -> None:
    """Symptom: a daemon refuses its flags at once, and everybody waits until the limit."""
    with pytest.raises(OverlabError, match=r"dying on a ends again and again, with 9.*bad flag"):
        node.service("dying", ["sh", "-c", "echo bad flag; exit 9"], ready=["false"])
    node.stop_service("dying")


def test_services_come_back_after_a_reboot_in_order(engined: Lab) -> None:
    """Symptom: after a reboot the overlay's daemon is there before the engine it talks to, or not at all."""
    node = engined.node("b")
    node.sh("rm -f /var/tmp/order")
    for name in ("first", "second"):
        node.service(
            name, ["sh", "-c", f"docker ps >/dev/null && echo {name} >>/var/tmp/order"], oneshot=True
        )
    node.service("third", ["sleep", "5005"], env={"MARK": "kept"})
    node.service("gone", ["sleep", "5006"])
    node.stop_service("gone")
    node.reboot()
    assert node.get("/var/tmp/order").split() == ["first", "second", "first", "second"]
    assert [s["name"] for s in node.services()] == ["containerd", "docker", "first", "second", "third"]
    environment = node.sh(f"tr '\\0' '\\n' </proc/{pid_of(node, 'sleep 5005')}/environ").out
    assert "MARK=kept" in environment.splitlines()
    assert alive(node, "sleep 5006") == []
    for name in ("third", "second", "first"):
        node.stop_service(name)
