"""Lines are on the disk at once, none is lost, and a killed writer spoils nothing."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from reports import files
from reports.files import Appender, BadLine, RunFolder, merge, new_run_id, point_latest, read_lines, read_run
from tests.reports.samples import result

ROOT = Path(__file__).resolve().parents[2]


def run_at(folder: Path, name: str = "20260102T030405Z-0a1b2c") -> RunFolder:
    return RunFolder(folder / "runs" / name).create()


def test_run_ids_sort_by_time() -> None:
    early = new_run_id(datetime(2026, 9, 30, 23, 59, 59, tzinfo=UTC))
    late = new_run_id(datetime(2026, 10, 1, tzinfo=UTC))
    assert early < late
    assert files.RUN_ID.fullmatch(early)
    assert new_run_id() != new_run_id()


def test_a_line_is_on_the_disk_before_the_file_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "results.main.jsonl"
    appender = Appender(path)
    appender.append(result().line())
    assert path.read_text() == result().line() + "\n"


def _append_many(path: Path, first: int, count: int) -> None:
    appender = Appender(path)
    for order in range(first, first + count):
        appender.append(result(order, reason="x" * (order % 7000)).line())


def test_concurrent_appenders_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "results.main.jsonl"
    spawn = multiprocessing.get_context("fork")
    writers = [spawn.Process(target=_append_many, args=(path, n * 1000, 150)) for n in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    bad: list[BadLine] = []
    orders = [line.order for line in read_lines(path, bad)]
    assert not bad
    assert sorted(orders) == sorted(n * 1000 + each for n in range(4) for each in range(150))


def test_a_killed_writer_loses_no_line_that_it_wrote(tmp_path: Path) -> None:
    path = tmp_path / "results.main.jsonl"
    script = (
        "import sys; from pathlib import Path; from reports.files import Appender\n"
        "from tests.reports.samples import result\n"
        f"file = Appender(Path({str(path)!r}))\n"
        "for order in range(20): file.append(result(order).line())\n"
        "print('written', flush=True); sys.stdin.read()\n"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, text=True, **pipes) as writer:  # type: ignore[call-overload]
        assert writer.stdout.readline() == "written\n"
        writer.send_signal(signal.SIGKILL)
    assert [line.order for line in read_lines(path)] == list(range(20))


def test_a_torn_last_line_is_reported_and_the_next_writer_starts_afresh(tmp_path: Path) -> None:
    path = tmp_path / "results.main.jsonl"
    whole = result(1).line()
    path.write_text(f"{whole}\n{whole[: len(whole) // 2]}")
    bad: list[BadLine] = []
    assert [line.order for line in read_lines(path, bad)] == [1]
    assert [(each.number, each.torn) for each in bad] == [(2, True)]
    Appender(path).append(result(2).line())
    bad.clear()
    assert [line.order for line in read_lines(path, bad)] == [1, 2]
    assert [(each.number, each.torn) for each in bad] == [(2, False)]


def test_a_character_cut_in_two_is_a_torn_line_too(tmp_path: Path) -> None:
    path = tmp_path / "results.main.jsonl"
    path.write_bytes(result(1).line().encode() + b'\n{"reason": "\xe2\x80')
    bad: list[BadLine] = []
    assert len(list(read_lines(path, bad))) == 1
    assert bad[0].torn


def test_a_bad_line_names_its_place_and_its_field(tmp_path: Path) -> None:
    path = tmp_path / "results.main.jsonl"
    path.write_text(result(1).line().replace('"attempt":1', '"attempt":0') + "\n")
    bad: list[BadLine] = []
    assert not list(read_lines(path, bad))
    assert str(bad[0]).startswith("results.main.jsonl:1: attempt: ")


def test_workers_files_become_one_by_time(tmp_path: Path) -> None:
    run = run_at(tmp_path)
    for worker, orders in (("gw0", (1, 4)), ("gw1", (2, 3))):
        appender = Appender(run.worker_file(worker))
        for order in orders:
            appender.append(result(order).line())
    before = read_run(run)
    assert not merge(run)
    assert [line.order for line in read_lines(run.results)] == [1, 2, 3, 4]
    assert read_run(run) == before
    assert run.sources() == [run.results]


def test_merging_again_after_a_kill_doubles_nothing(tmp_path: Path) -> None:
    run = run_at(tmp_path)
    Appender(run.worker_file("gw0")).append(result(1).line())
    kept = run.worker_file("gw0").read_text()
    merge(run)
    run.worker_file("gw0").write_text(kept)  # as if killed between the merge and the removal
    Appender(run.worker_file("gw1")).append(result(2).line())
    merge(run)
    assert [line.order for line in read_lines(run.results)] == [1, 2]


def test_a_file_with_a_bad_line_is_kept(tmp_path: Path) -> None:
    run = run_at(tmp_path)
    run.worker_file("gw0").write_text(result(1).line() + "\n{torn")
    assert [each.torn for each in merge(run)] == [True]
    assert run.worker_file("gw0").is_file()
    assert len(list(read_lines(run.results))) == 1


def test_latest_points_to_the_newest_run(tmp_path: Path) -> None:
    old, new = run_at(tmp_path, "20260102T030405Z-ffffff"), run_at(tmp_path, "20260102T030406Z-000000")
    assert new.latest == tmp_path / "latest"
    assert point_latest(new)
    assert not point_latest(old)
    assert new.latest.readlink() == Path("runs") / new.id
    assert new.latest.resolve() == new.path


def test_latest_of_a_removed_run_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    (tmp_path / "latest").symlink_to("runs/20990101T000000Z-ffffff")
    run = run_at(tmp_path)
    assert point_latest(run)
    assert run.latest.resolve() == run.path


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away — run the tests as root")
def test_under_sudo_all_belongs_to_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUDO_UID", "12345")
    monkeypatch.setenv("SUDO_GID", "12346")
    run = run_at(tmp_path)
    Appender(run.worker_file("gw0")).append(result(1).line())
    merge(run)
    point_latest(run)
    made = [tmp_path / "runs", run.path, run.evidence, run.results, run.latest]
    assert {(path.lstat().st_uid, path.lstat().st_gid) for path in made} == {(12345, 12346)}
    assert tmp_path.stat().st_uid == 0
