"""Wheels whose content goes into an image: only by their hash, and never half-fetched.

The wheels are made here, and found in a folder.
"""

from __future__ import annotations

import hashlib
import os
import zipfile
from pathlib import Path

import pytest

from fixtures.store import images, needs, wheels
from fixtures.store.cache import Cache
from fixtures.store.needs import Wheel
from overlab.errors import CannotStartError
from tests.store.test_keys import write
from tests.store.test_setup import Said

FILE = "word-1.0-cp39-cp39-manylinux2010_x86_64.whl"
METADATA = "Metadata-Version: 2.1\nName: word\nVersion: 1.0\n"
TAG = "Wheel-Version: 1.0\nRoot-Is-Purelib: false\nTag: cp39-cp39-manylinux2010_x86_64\n"
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to make namespaces")


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Wheel:
    """A wheel for another Python than ours, in a folder that pip looks into and nowhere else."""
    folder = tmp_path / "index"
    folder.mkdir()
    with zipfile.ZipFile(folder / FILE, "w") as made:
        made.writestr("word/word.so", b"\x7fELF")
        made.writestr("word-1.0.dist-info/METADATA", METADATA)
        made.writestr("word-1.0.dist-info/WHEEL", TAG)
        made.writestr("word-1.0.dist-info/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    digest = hashlib.sha256((folder / FILE).read_bytes()).hexdigest()
    return Wheel(name="word", version="1.0", python="3.9", platform="manylinux2010_x86_64", sha256=digest)


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


def test_content_is_there(cache: Cache, wheel: Wheel, monkeypatch: pytest.MonkeyPatch) -> None:
    """Symptom: a wheel is fetched at every set-up, or not as it is."""
    folder = wheels.ensure(cache, wheel, Said())
    assert (folder / "word/word.so").read_bytes() == b"\x7fELF"
    monkeypatch.setenv("PIP_FIND_LINKS", "/nowhere")
    assert wheels.ensure(cache, wheel, Said()) == folder, "not taken from the cache"


def test_another_wheel_is_refused(cache: Cache, wheel: Wheel) -> None:
    """Symptom: whatever an index gives under that name runs in the lab's containers."""
    other = wheel.model_copy(update={"sha256": "0" * 64})
    with pytest.raises(CannotStartError, match=r"word 1\.0") as told:
        wheels.ensure(cache, other, Said())
    assert "HASH" in told.value.what.upper()
    assert "index" in told.value.remedy
    assert list(cache.wheels.iterdir()) == [], "something was left"


def test_pins_change_the_store(wheel: Wheel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Symptom: a changed pin goes on with the image that was built of the old wheel."""
    for module in (images, needs):
        monkeypatch.setattr(module, "CHECKOUT", tmp_path)
    names = set()
    for sha256 in ("0" * 64, "1" * 64):
        pins = "".join(f'{k} = "{v}"\n' for k, v in (wheel.model_dump() | {"sha256": sha256}).items())
        write(tmp_path, "image/needs.toml", f"[[wheels]]\n{pins}")
        names.add(str(images._content(("image",))))
    assert len(names) == 2
