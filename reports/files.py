"""Result files: a run's folder, lines that are appended at once, their merge, and `latest`."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pydantic import ValidationError

from reports.owner import give, make_folder
from reports.schema import Result

RUN_ID = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{6}")


def new_run_id(now: datetime | None = None) -> str:
    """Return a name for a run that sorts by time: UTC to the second, and six random hex digits."""
    moment = (now or datetime.now(UTC)).astimezone(UTC)
    return f"{moment:%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"


@dataclass(frozen=True, slots=True)
class RunFolder:
    """Where one run lives: `results.jsonl`, `index.html`, `summary.md`, `evidence/`."""

    path: Path

    @property
    def id(self) -> str:
        """The run's id is its folder's name."""
        return self.path.name

    @property
    def results(self) -> Path:
        """The merged lines."""
        return self.path / "results.jsonl"

    @property
    def evidence(self) -> Path:
        """Captures and transcripts."""
        return self.path / "evidence"

    @property
    def page(self) -> Path:
        """The first page."""
        return self.path / "index.html"

    @property
    def summary(self) -> Path:
        """The Markdown summary."""
        return self.path / "summary.md"

    @property
    def latest(self) -> Path:
        """The link to the newest run: beside a folder called `runs`, else inside the results folder."""
        home = self.path.parent
        return (home.parent if home.name == "runs" else home) / "latest"

    def worker_file(self, worker: str) -> Path:
        """Return the file that one writing process has for itself."""
        return self.path / f"results.{worker}.jsonl"

    def sources(self) -> list[Path]:
        """Return the files that hold this run's lines, merged ones first; some may be missing."""
        workers = sorted(self.path.glob("results.*.jsonl"))
        return [path for path in (self.results, *workers) if path.is_file()]

    def create(self) -> RunFolder:
        """Make the folders if they are not there; return self."""
        make_folder(self.evidence)
        return self


class Appender:
    """Appends whole lines to one file, each with a single write.

    O_APPEND makes the kernel choose the place, so that several processes cannot overwrite each
    other; a process that is killed leaves at most one torn line, and the next writer starts afresh
    on a line of its own.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        make_folder(path.parent)
        self._fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        give(path)

    def append(self, line: str) -> None:
        """Write one line (without its newline) at once. OSError when the disk did not take all of it."""
        if "\n" in line:
            raise ValueError("a result is one line")
        data = f"{line}\n".encode()
        if self._torn():
            data = b"\n" + data
        written = os.write(self._fd, data)
        if written != len(data):
            raise OSError(f"{self.path}: {written} of {len(data)} bytes were written; is the disk full?")

    def _torn(self) -> bool:
        size = os.fstat(self._fd).st_size
        return size > 0 and os.pread(self._fd, 1, size - 1) != b"\n"

    def close(self) -> None:
        """Close the file; lines are on their way to the disk since they were appended."""
        os.close(self._fd)


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line that is no result: its file, its number from 1, why, and whether it is a torn last one."""

    path: Path
    number: int
    why: str
    torn: bool

    def __str__(self) -> str:
        kind = "torn last line, its writer was killed" if self.torn else self.why
        return f"{self.path.name}:{self.number}: {kind}"


def read_lines(path: Path, bad: list[BadLine] | None = None) -> Iterator[Result]:
    """Yield the results of one file in the order written; what is no result goes to `bad`."""
    data = path.read_bytes()
    pieces = data.split(b"\n")
    for number, piece in enumerate(pieces, start=1):
        if not piece.strip():
            continue
        try:
            yield Result.parse(piece.decode())
        except (ValidationError, UnicodeDecodeError) as error:
            if bad is not None:
                bad.append(BadLine(path, number, _why(error), torn=number == len(pieces)))


def _why(error: ValidationError | UnicodeDecodeError) -> str:
    if isinstance(error, UnicodeDecodeError):
        return "not UTF-8"
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    return f"{where}: {first['msg']}" if where else first["msg"]


def read_run(run: RunFolder, bad: list[BadLine] | None = None) -> list[Result]:
    """Return all lines of a run, merged or not yet, by time; a line that is in two files counts once."""
    return _ordered(result for path in run.sources() for result in read_lines(path, bad))


def _ordered(results: Iterable[Result]) -> list[Result]:
    unique = {result.line(): result for result in results}
    return sorted(unique.values(), key=lambda result: (result.time, result.order))


def merge(run: RunFolder) -> list[BadLine]:
    """Merge the workers' files into `results.jsonl` (replaced in one step); return the bad lines.

    May be repeated at any time. A worker's file goes when all its lines are in; one with bad lines
    stays, to be looked at.
    """
    bad: list[BadLine] = []
    sources = run.sources()
    results = read_run(run, bad)
    text = "".join(f"{result.line()}\n" for result in results)
    write_whole(run.results, text)
    spoilt = {entry.path for entry in bad}
    for path in sources:
        if path != run.results and path not in spoilt:
            path.unlink(missing_ok=True)
    return bad


def write_whole(path: Path, text: str) -> None:
    """Write a file so that a reader sees the old one or the new one, never half."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(text, encoding="utf-8")
    give(draft)
    draft.replace(path)


def point_latest(run: RunFolder) -> bool:
    """Let `latest` point to this run, in one step; False when it points to a newer run, and stays."""
    link = run.latest
    if link.is_symlink() and link.exists() and link.resolve().name > run.id:
        return False
    if link.exists() and not link.is_symlink():
        return False
    draft = link.with_name(f".latest.{os.getpid()}")
    draft.unlink(missing_ok=True)
    draft.symlink_to(os.path.relpath(run.path, link.parent))
    give(draft)
    draft.replace(link)
    return True


def runs_in(folder: Path) -> list[RunFolder]:
    """Return the runs kept in a folder, oldest first."""
    if not folder.is_dir():
        return []
    return [RunFolder(path) for path in sorted(folder.iterdir()) if RUN_ID.fullmatch(path.name)]
