"""Adding an overlay is adding one folder: a copy of the tree gets one more, and nothing else changes."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from overlab.paths import CHECKOUT
from reports.files import RunFolder, read_run, runs_in
from reports.schema import Result

FOLDER = Path(__file__).with_name("staticroutes")
LEFT_OUT = shutil.ignore_patterns(".git", ".venv", "runs", "latest", "__pycache__", ".*_cache")


def test_a_folder_is_all_it_takes(tmp_path: Path) -> None:
    """A new overlay needed an edit elsewhere: a row would be missing, or its package, image or option."""
    copy = tmp_path / "tree"
    shutil.copytree(CHECKOUT, copy, ignore=LEFT_OUT)
    shutil.copytree(FOLDER, copy / "scenarios" / FOLDER.name)
    command = [sys.executable, "-m", "pytest", "scenarios/", "-k", FOLDER.name, "-p", "no:cacheprovider"]
    options = ["-O", f"{FOLDER.name}.metric=77", "--results", str(tmp_path / "runs"), "-q"]
    done = subprocess.run(
        [*command, *options], cwd=copy, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    (run,) = runs_in(tmp_path / "runs")
    results = _results(run)
    assert {r.scenario for r in results} == {FOLDER.name}
    assert {(r.provider, r.engine, len(r.nodes)) for r in results} == {("namespace", "20.10", 2)}
    assert {"mtu", "arp", "routing", "reachability"} <= {r.probe for r in results}


def _results(run: RunFolder) -> list[Result]:
    return read_run(run)
