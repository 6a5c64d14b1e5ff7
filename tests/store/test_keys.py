"""What is asked for (`needs.toml`), and the keys by which what was built for it is found again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from fixtures.store import images, needs, rootfs
from fixtures.store.cache import key_of
from fixtures.store.needs import read_needs
from overlab.errors import UsageError


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("packages = [", "Invalid value"),
        ('pakages = ["a"]', "pakages"),
        ("packages = 3", "packages"),
        ('packages = ["a", 3]', "packages.1"),
    ],
)
def test_a_bad_needs_file_is_told_in_one_line(tmp_path: Path, text: str, said: str) -> None:
    """Symptom: a typing error in needs.toml prints a page of pydantic, and not where."""
    path = write(tmp_path, "needs.toml", text)
    with pytest.raises(UsageError) as caught:
        read_needs(tmp_path)
    line = str(caught.value)
    assert "\n" not in line
    assert str(path) in line
    assert said in line
    assert caught.value.remedy


def test_no_needs_file_needs_nothing(tmp_path: Path) -> None:
    """Symptom: a scenario without packages must have an empty file."""
    assert read_needs(tmp_path) == needs.Needs()


def test_keys_know_their_parts() -> None:
    """Symptom: two different inputs have one key, as they were glued together."""
    assert key_of("ab", "c") != key_of("a", "bc")
    assert key_of(("a", "b")) != key_of("a", "b")
    assert key_of("a", "b") == key_of("a", "b")


def test_a_layer_may_come_from_another_release(tmp_path: Path) -> None:
    """Symptom: a scenario wants an older engine, and gets the layer that has the newer one."""
    write(tmp_path, "needs.toml", '[releases]\nbullseye = ["docker.io"]\n')
    ((suite, packages),) = read_needs(tmp_path).releases.items()
    below = rootfs.node_layer("20.10")
    older, same = rootfs.layer("x", packages, below, suite), rootfs.layer("x", packages, below)
    assert (older.suite, same.suite) == ("bullseye", "bookworm")
    assert older.name != same.name
    assert older.stack[1:] == below.stack


def test_a_layers_name_changes_with_what_is_in_it() -> None:
    """Symptom: a package is added to needs.toml, and the node has not got it."""
    below = rootfs.node_layer("20.10")
    one = rootfs.layer("x", ("tmux", "vim"), below)
    assert rootfs.layer("x", ("vim", "tmux", "vim"), below).name == one.name
    assert rootfs.layer("x", ("vim",), below).name != one.name
    assert rootfs.layer("x", ("tmux", "vim"), rootfs.node_layer("26.1")).name != one.name
    assert one.stack == (one.name, *below.stack)
    with pytest.raises(UsageError, match=r"no engine '19.03'; there are 20.10, 26.1"):
        rootfs.node_layer("19.03")


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with one image, and a tree that goes into it."""
    for module in (images, needs):
        monkeypatch.setattr(module, "CHECKOUT", tmp_path)
    write(tmp_path, "images/one/Dockerfile", "FROM overlab/debian")
    write(tmp_path, "images/one/files/a/page", "text")
    write(tmp_path, "images/one/needs.toml", 'trees = ["tree"]\npython = ["scapy"]')
    write(tmp_path, "tree/agent.py", "pass")
    write(tmp_path, "scenario/image/Dockerfile", "FROM overlab/debian")
    return tmp_path


def _moved(checkout: Path) -> None:
    page = checkout / "images/one/files/a/page"
    write(checkout, "images/one/files/b/page", page.read_text())
    page.unlink()


CHANGES: dict[str, Callable[[Path], object]] = {
    "content": lambda c: write(c, "images/one/Dockerfile", "FROM overlab/debian\nRUN true"),
    "new file": lambda c: write(c, "images/one/more", ""),
    "moved file": _moved,
    "needs": lambda c: write(c, "images/one/needs.toml", 'packages = ["curl"]'),
    "tree": lambda c: write(c, "tree/agent.py", "print()"),
    "new image": lambda c: write(c, "images/two/Dockerfile", "FROM overlab/debian"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_a_stores_name_changes_with_what_is_in_it(checkout: Path, change: Callable[[Path], object]) -> None:
    """Symptom: a Dockerfile or the agent is edited, and the containers are the old ones."""
    before = images.store_for((), "node-x").name, images.store_for(("scenario/image",), "node-x").name
    change(checkout)
    after = images.store_for((), "node-x").name, images.store_for(("scenario/image",), "node-x").name
    assert before[0] != after[0]
    assert before[1] != after[1], "what stands on a store changes with it"


def test_a_stores_name_changes_with_the_python_packages_in_it(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Symptom: scapy is upgraded in the lock file, and the tools image has the old one."""
    before = images.store_for((), "node-x").name
    monkeypatch.setattr(images, "version", lambda package: "99.0")
    assert images.store_for((), "node-x").name != before


def test_a_stores_name_stays_where_nothing_of_it_changes(checkout: Path) -> None:
    """Symptom: running the code once (which writes __pycache__) builds every image again."""
    before = images.store_for((), "node-x")
    write(checkout, "tree/__pycache__/agent.pyc", "")
    write(checkout, "scenario/image/Dockerfile", "FROM overlab/debian\nRUN true")
    assert images.store_for((), "node-x") == before
    assert images.store_for((), "node-y").name != before.name
