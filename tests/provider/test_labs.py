"""Labs beside each other, and labs that outlive their client."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Thread

import pytest

from fixtures.lab import Lab
from fixtures.providers.namespace import registry
from fixtures.providers.namespace.labs import find
from fixtures.waiting import NotYet, limit, wait_for
from overlab.errors import OverlabError, UsageError
from overlab.model import Secret
from overlab.paths import CHECKOUT
from tests.census import census, nothing_left
from tests.provider.grounds import Ground, small

Client = subprocess.Popen[bytes]


@contextmanager
def client(place: Ground, token: str, *words: str, names: tuple[str, ...] = ("a", "b")) -> Iterator[Client]:
    """Start a client that boots a lab; what is left of it at the end is killed."""
    orders = place.write_orders(small(*names, token=token))
    argv = [sys.executable, "-m", "tests.provider.client", str(place.cache.root), str(orders), *words]
    process = subprocess.Popen(
        argv, cwd=CHECKOUT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def said(process: Client) -> str:
    """Return the next line of a client."""
    assert process.stdout
    return process.stdout.readline().decode().strip()


def test_two_labs_with_the_same_addresses(bare: Lab, place: Ground) -> None:
    """Symptom: two runs on one machine answer each other's probes."""
    with place.lab(small("a", "b", "c")) as twin:
        assert twin.id != bare.id
        assert twin.node("a").address == bare.node("a").address
        for lab in (bare, twin):
            lab.node("b").put("/etc/lab", lab.id)
            assert lab.node("b").get("/etc/lab") == lab.id
        with twin.underlay.partition(twin.node("b")):
            there = str(bare.node("b").address)
            assert bare.node("a").run(["ping", "-c1", "-W1", there], check=False).status == 0
            assert twin.node("a").run(["ping", "-c1", "-W1", there], check=False).status == 1
        assert {e.id for e in registry.entries(place.cache)} >= {bare.id, twin.id}
    bare.node("a").run(["true"])


def test_a_detached_lab_outlives_its_client(place: Ground) -> None:
    """Symptom: `./lab up` ends, and the lab with it; or `./lab down` leaves something."""
    topology = small("a", "b")
    before = census(topology.name, place.cache)
    with client(place, topology.name, "kept") as process:
        assert said(process) == "booting"
        _, name = said(process).split()
        process.communicate(b"")
    assert process.returncode == 0
    lab = find(place.cache, name)
    assert lab.topology == topology
    assert find(place.cache, topology.name).id == name
    assert lab.node("a").run(["hostname"]).out == "a\n"
    during = census(topology.name, place.cache)
    assert during.folders == {name}
    lab.down()
    nothing_left(topology.name, place.cache, before, during)
    with pytest.raises(UsageError, match=f"no lab '{name}' is up"):
        find(place.cache, name)


def test_a_lab_whose_folder_is_gone_ends(place: Ground) -> None:
    """Symptom: somebody removes the cache folder, and a lab goes on that no command can find."""
    topology = small("a")
    before = census(topology.name, place.cache)
    lab = place.boot(topology)
    lab.detach()
    during = census(topology.name, place.cache)
    assert during.namespaces
    subprocess.run(["rm", "-rf", "--one-file-system", str(lab.folder)], check=False)

    def gone() -> None:
        if census(topology.name, place.cache).processes - before.processes:
            raise NotYet("its processes go on")

    wait_for("the lab to end", gone, within=limit("down"))
    nothing_left(topology.name, place.cache, before, during)


def test_clients_share_what_must_be_masked(bare: Lab, place: Ground) -> None:
    """Symptom: `./lab exec` writes into the transcript a key that pytest had masked."""
    bare.secret(Secret("SHARED_KEY", "shared-and-hidden-42"))
    bare.tell(overlay="up")
    other = find(place.cache, bare.id)
    other.node("a").run(["echo", "it is shared-and-hidden-42"])
    assert "shared-and-hidden-42" not in bare.transcript.path.read_text()
    assert "$SHARED_KEY" in bare.transcript.path.read_text()
    assert other.status()["about"]["overlay"] == "up"


def test_a_boot_that_fails_says_why_and_leaves_nothing(place: Ground) -> None:
    """Symptom: one node of fifty cannot boot, and the others stay for ever."""
    topology = small("good", "a-name-that-is-fine", "b" * 70)  # a host's name holds 64 characters
    before = census(topology.name, place.cache)
    with pytest.raises(OverlabError, match="did not boot; its init said: hostname: name too long"):
        place.boot(topology)
    nothing_left(topology.name, place.cache, before, before)


def test_an_end_during_a_call(place: Ground) -> None:
    """Symptom: a node that was rebooting while the lab went down boots into a lab that is no more."""
    topology = small("a", "b")
    before = census(topology.name, place.cache)
    lab = place.boot(topology)
    during = census(topology.name, place.cache)
    other = find(place.cache, lab.id)

    def reboot() -> None:
        with suppress(OverlabError):  # whichever of the two comes first
            other.node("a").reboot()

    thread = Thread(target=reboot)
    thread.start()
    lab.down()
    thread.join()
    nothing_left(topology.name, place.cache, before, during)
