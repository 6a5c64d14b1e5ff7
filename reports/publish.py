"""Everything that is made of a run's lines once they are all there."""

from __future__ import annotations

from dataclasses import dataclass

from reports.files import BadLine, RunFolder, merge, point_latest, read_lines, write_whole
from reports.owner import give_tree
from reports.page import page
from reports.schema import Result
from reports.summary import summary
from reports.transcripts import transcripts


@dataclass(frozen=True, slots=True)
class Published:
    """A run with its lines, and the lines that were none."""

    run: RunFolder
    results: list[Result]
    bad: list[BadLine]


def publish(run: RunFolder) -> Published:
    """Merge the run's files, write its page and its summary, and let `latest` point to it.

    May be repeated; a killed run is published by the same call.
    """
    bad = merge(run)
    results = list(read_lines(run.results))
    write_whole(run.page, page(results, transcripts(run.evidence), run.id, [str(line) for line in bad]))
    write_whole(run.summary, summary(results, run.id))
    give_tree(run.path)
    point_latest(run)
    return Published(run, results, bad)
