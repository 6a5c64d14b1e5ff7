"""Shards become one run: no line lost, none twice, the evidence beside them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from overlab.paths import CHECKOUT
from reports.files import RunFolder, read_run
from reports.together import gather
from tests.reports.samples import result


def shard(folder: Path, name: str, *orders: int) -> RunFolder:
    run = RunFolder(folder / name).create()
    run.results.write_text("".join(f"{result(order).line()}\n" for order in orders))
    (run.evidence / f"{name}.txt").write_text(name)
    return run


def test_lines_of_all_shards(tmp_path: Path) -> None:
    """Symptom: the table of the night lacks what the second machine measured."""
    one, two = shard(tmp_path / "a", "one", 1, 2), shard(tmp_path / "b", "two", 2, 3)
    together = gather([one, two], tmp_path / "runs")
    assert [line.order for line in read_run(together)] == [1, 2, 3]
    assert sorted(path.name for path in together.evidence.iterdir()) == ["one.txt", "two.txt"]
    assert [line.order for line in read_run(one)] == [1, 2], "the shards are as they were"


def test_by_the_verb(tmp_path: Path) -> None:
    one, two = shard(tmp_path / "a", "one", 1), shard(tmp_path / "b", "two", 2)
    words = ["report", "merge", str(one.path), str(two.path), "--results", str(tmp_path / "runs")]
    done = subprocess.run(
        [sys.executable, "-P", "-m", "overlab", *words], cwd=CHECKOUT, capture_output=True, text=True,
        check=False, env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(CHECKOUT), "LC_ALL": "C.UTF-8"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "2 results" in done.stdout
    (made,) = (path for path in (tmp_path / "runs").iterdir() if path.name != "latest")
    assert (made / "index.html").is_file()
