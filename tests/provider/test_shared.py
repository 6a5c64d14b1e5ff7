"""What a topology may ask of a node beside its links: one shared folder, and services before the engine."""

from __future__ import annotations

from dataclasses import replace

from fixtures.service import Service, boot_order
from tests.provider.grounds import Ground, small


def test_one_folder_on_every_node(place: Ground) -> None:
    """Symptom: an image that one node saved is not there for the other, or is gone after a reboot."""
    topology = replace(small("a", "b"), shared="/vagrant/files")
    with place.lab(topology) as lab:
        a, b = lab.node("a"), lab.node("b")
        a.put("/vagrant/files/saved", "by a")
        assert b.get("/vagrant/files/saved") == "by a"
        b.reboot()
        assert b.get("/vagrant/files/saved") == "by a"
        folder = lab.folder
        assert (folder / "shared/saved").read_text() == "by a"
    assert not folder.exists()


def test_no_folder_unless_asked(place: Ground) -> None:
    """Symptom: every lab has a hole in the wall between its nodes."""
    with place.lab(small("a")) as lab:
        assert not (lab.folder / "shared").exists()


def test_order_of_a_boot() -> None:
    """Symptom: the engine starts before the store that its flags name, and waits for it until it gives up."""
    names = {"docker": False, "store": True, "late": False, "keys": True}
    services = [Service(name, (name,), before_engine=first) for name, first in names.items()]
    assert [service.name for service in boot_order(services)] == ["store", "keys", "docker", "late"]


def test_the_engine_starts_after_what_it_needs(place: Ground) -> None:
    """Symptom: after a reboot the engine has no networks for half a minute."""
    with place.lab(small("a"), engines=True) as lab:
        node = lab.node("a")
        assert [s["name"] for s in node.services()] == ["containerd", "docker"]
        node.service("store", ["sleep", "5011"], before_engine=True)
        node.service("late", ["sleep", "5012"])
        node.reboot()
        assert [s["name"] for s in node.services()] == ["containerd", "store", "docker", "late"]
        assert all(s["active"] for s in node.services())


def test_an_engine_that_waits(place: Ground) -> None:
    """Symptom: an engine is started twice at every set-up, the first time for nothing."""
    with place.lab(replace(small("a"), engine_waits=True), engines=True) as lab:
        node = lab.node("a")
        assert node.services() == []
        node.configure_engine(["--label=mark=yes"])
        assert [s["name"] for s in node.services()] == ["containerd", "docker"]
        node.reboot()
        assert node.docker.info()["Labels"] == ["mark=yes"]
