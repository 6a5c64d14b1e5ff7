"""The cache: never half-built, locked against a second set-up, refused when damaged."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import pytest

from fixtures.store.cache import Cache, building, is_built, locked, remove
from fixtures.waiting import NotYet, limit, wait_for
from overlab.errors import CannotStartError
from overlab.paths import CHECKOUT

BUILD = """
import sys; from pathlib import Path; from fixtures.store.cache import building
with building(Path(sys.argv[1])) as scratch:
    (scratch / "half").write_text("half")
    print("building", flush=True); sys.stdin.read()
"""
LOCK = """
import sys; from pathlib import Path; from fixtures.store.cache import locked
with locked(Path(sys.argv[1])):
    print("locked", flush=True); sys.stdin.read()
"""


@contextmanager
def child(script: str, *words: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run Python that says one line and goes on until its input ends."""
    argv = [sys.executable, "-c", script, *words]
    with subprocess.Popen(argv, cwd=CHECKOUT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout
            assert process.stdout.readline().strip()
            yield process
        finally:
            process.kill()


def test_what_was_killed_in_the_middle_is_not_used(tmp_path: Path) -> None:
    """Symptom: a laptop was switched off during set-up, and its nodes have half a Debian ever after."""
    folder = tmp_path / "rootfs" / "layer-1"
    with child(BUILD, str(folder)) as process:
        process.kill()
        process.wait()
    left = list(folder.parent.iterdir())
    assert left, "not the thing under test: nothing was half-built"
    assert not is_built(folder)
    with building(folder) as scratch:
        assert list(scratch.iterdir()) == [], "nothing of the half-built goes into the next"
        (scratch / "whole").write_text("whole")
    assert is_built(folder)
    assert sorted(p.name for p in folder.iterdir()) == [".complete", "whole"]
    assert list(folder.parent.iterdir()) == [folder]


def test_what_failed_leaves_nothing(tmp_path: Path) -> None:
    """Symptom: a failed download leaves a gigabyte in the cache that nobody looks at again."""
    folder = tmp_path / "rootfs" / "layer-1"

    def failing() -> None:
        with building(folder) as scratch:
            (scratch / "half").write_text("half")
            raise ValueError("no network")

    with pytest.raises(ValueError, match="no network"):
        failing()
    assert list(folder.parent.iterdir()) == []


def test_a_lock_is_waited_for_and_its_holder_named(tmp_path: Path) -> None:
    """Symptom: a second set-up hangs without a word, or builds into the first one's folder."""
    lock = tmp_path / "setup.lock"
    waited: list[str] = []
    got: list[str] = []

    def second() -> None:
        with locked(lock, waited.append):
            got.append("lock")

    def waits() -> None:
        if not waited:
            raise NotYet("no word")

    with child(LOCK, str(lock)) as process:
        thread = Thread(target=second)
        thread.start()
        wait_for("the second to say that it waits", waits, within=limit("command"))
        assert waited == [str(process.pid)]
        assert got == []
        process.kill()
        thread.join(limit("command"))
    assert got == ["lock"], "the kernel drops the lock of a process that was killed"


def test_removing_what_somebody_else_removes(tmp_path: Path) -> None:
    """Symptom: two commands sweep one dead lab, and one of them ends with FileNotFoundError."""
    folder = tmp_path / "lab"
    for i in range(40):
        (folder / f"{i}" / "deep").mkdir(parents=True)
        (folder / f"{i}" / "file").write_text("")
    failed: list[BaseException] = []

    def one() -> None:
        try:
            remove(folder)
        except OSError as error:
            failed.append(error)

    threads = [Thread(target=one) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert not folder.exists()


def test_a_cache_that_cannot_be_written_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Symptom: a traceback of mkdir."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("OVERLAB_CACHE", str(tmp_path / "file"))
    with pytest.raises(CannotStartError, match=r"file cannot be written .*; name another with O"):
        Cache.open()
