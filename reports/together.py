"""Several runs made one: shards of a CI, or what several machines measured."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from reports.files import RunFolder, new_run_id


def gather(runs: Sequence[RunFolder], home: Path) -> RunFolder:
    """Copy the lines and the evidence of `runs` into a new run in `home`, and return that, yet unpublished.

    The runs themselves stay as they are. A line that several of them have counts once.
    """
    together = RunFolder(home / new_run_id()).create()
    for run in runs:
        for number, source in enumerate(run.sources()):
            shutil.copyfile(source, together.worker_file(f"{run.id}-{number}"))
        if run.evidence.is_dir():
            shutil.copytree(run.evidence, together.evidence, dirs_exist_ok=True)
    return together
