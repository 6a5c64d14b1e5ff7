"""What is ours of ZeroTier's scenario, without a lab: sizes, refusals, files, the real program's place."""

from __future__ import annotations

import io
import struct
import tarfile
from pathlib import Path

import pytest

from overlab.errors import NotHereError, UsageError
from scenarios.catalogue import load
from scenarios.zerotier import one
from scenarios.zerotier.images.zerotier.ztcore.planet import Root, planet, remembered
from scenarios.zerotier.images.zerotier.ztcore.state import State
from scenarios.zerotier.images.zerotier.ztcore.wire import permitted
from scenarios.zerotier.overlay import wire_bytes

FOLDER = Path(__file__).parent
IDENTITY = f"0cc3631277:0:{'ab' * 64}"


@pytest.mark.parametrize(
    ("inner", "outer"), [(84, 150), (1394, 1460), (1395, 1505), (2800, 2910)], ids=lambda n: str(n)
)
def test_bytes_on_the_wire(inner: int, outer: int) -> None:
    """Symptom: the second packet's own header, or its IP header, is forgotten."""
    assert wire_bytes(inner, 1500) == outer


@pytest.mark.parametrize(
    ("address", "may"),
    [("192.168.62.10", True), ("172.19.10.2", True), ("10.0.1.2", True), ("104.194.8.134", False),
     ("2001:49f0:d0db:2::2", False)],
)  # fmt: skip
def test_what_may_be_sent_to(address: str, may: bool) -> None:
    """Symptom: the public roots that are built into the core are asked."""
    assert (permitted((address, 9993)) is not None) is may


@pytest.mark.parametrize("content", [None, b""], ids=["none", "empty"])
def test_no_start_without_a_planet(content: bytes | None, tmp_path: Path) -> None:
    """Symptom: a daemon that was given no planet takes the public one."""
    if content is not None:
        (tmp_path / "planet").write_bytes(content)
    with pytest.raises(SystemExit, match="no planet"):
        State(tmp_path)


def test_a_planet_of_its_own() -> None:
    """Symptom: the core takes the file for another kind of world, or finds no root in it."""
    made = planet(0x6F7665726C6162, [Root(IDENTITY, [("192.168.62.10", 9993)])])
    assert struct.unpack_from(">BQ", made) == (1, 0x6F7665726C6162)
    assert made[177] == 1, "one root"
    assert made.endswith(bytes([1, 4, 192, 168, 62, 10]) + struct.pack(">H", 9993))
    name, content = remembered(f"{IDENTITY}:{'cd' * 64}")
    assert name == "0cc3631277.peer"
    assert bytes.fromhex("cd" * 8) not in content, "a secret key is handed over"


def test_planet_stays(tmp_path: Path) -> None:
    """Symptom: an update that somebody signed replaces the lab's planet."""
    (tmp_path / "planet").write_bytes(b"ours")
    state = State(tmp_path)
    state.put(3, 0, b"theirs")
    state.put(5, 0x0CC3631277, b"a peer")
    assert state.get(3, 0) == b"ours"
    assert (tmp_path / "peers.d/0cc3631277.peer").read_bytes() == b"a peer"


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"node": "one"}, "not given"),
        ({"network": "8056c2e21c000001"}, "public planet"),
        ({"node": "one", "one": "/bin/true", "network": "8056c2e21c000001"}, "no way to the public planet"),
    ],
    ids=["no-program", "core-and-public", "no-way-out"],
)
def test_what_cannot_run_here(given: dict[str, str], why: str) -> None:
    """Symptom: a variant that cannot run fails, or passes, in place of a skip that names the remedy."""
    overlay = load(FOLDER, {FOLDER.name: given})
    with pytest.raises(NotHereError, match=why) as told:
        overlay.check_here(outside=False)
    assert told.value.remedy


def test_a_program_and_its_names(tmp_path: Path) -> None:
    """Symptom: the real one has no zerotier-cli beside it, or a text file passes for a program."""
    text = tmp_path / "text"
    text.write_text("#!/bin/sh\n")
    with pytest.raises(UsageError):
        one.check(str(text))
    one.check("/bin/true")
    with tarfile.open(fileobj=io.BytesIO(one._archive(Path("/bin/true").resolve()))) as tar:
        assert sorted(Path(name).name for name in tar.getnames()) == [
            "zerotier-cli", "zerotier-idtool", "zerotier-one",
        ]  # fmt: skip
        assert tar.getmember("usr/bin/zerotier-cli").linkname == "zerotier-one"
