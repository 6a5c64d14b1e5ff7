"""The view that all reports share: results grouped into rows, and a row's lines into cells.

Pure functions: the same lines give the same rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from overlab.model import Phase, Verdict
from reports.progress import number, shown
from reports.schema import PaperKind, PaperValue, Result

# The worst first: a cell is as bad as its worst line. Skipped lines give way to passed ones.
WORST = (Verdict.FAIL, Verdict.INVALID, Verdict.UNRESOLVED, Verdict.PASS, Verdict.SKIP)
SYMBOLS = {
    Verdict.PASS: "✔",
    Verdict.FAIL: "✘",
    Verdict.SKIP: "–",
    Verdict.UNRESOLVED: "?",
    Verdict.INVALID: "!",
}

# Columns that count lines instead of showing a value, and the phases that they count.
COUNTED = {
    "set-up": {Phase.SETUP},
    "control": {Phase.CONTROL},
    "faults": {Phase.FAULT, Phase.HEAL},
    "teardown": {Phase.TEARDOWN},
}
TESTS = "other tests"

# Classes of lines that speak of a test, not of a finding.
TEST_CLASSES = frozenset(
    {"skipped", "invalid", "set-up-failed", "teardown-failed", "test-failed", "worker-crashed"}
)


@dataclass(frozen=True, slots=True, order=True)
class RowKey:
    """What makes a row: scenario × variant × engine × provider."""

    scenario: str
    variant: tuple[tuple[str, str], ...]
    engine: str
    provider: str

    @classmethod
    def of(cls, result: Result) -> RowKey:
        """Return the row that a line belongs to."""
        return cls(result.scenario, tuple(sorted(result.variant.items())), result.engine, result.provider)

    @property
    def id(self) -> str:
        """The key as one word for machines: scenario|a=b,c=d|engine|provider."""
        variant = ",".join(f"{name}={value}" for name, value in self.variant)
        return f"{self.scenario}|{variant}|{self.engine}|{self.provider}"

    @property
    def details(self) -> str:
        """What stands beside the scenario's name, for people."""
        options = [f"{name}={value}" for name, value in self.variant]
        engine = [f"Docker {self.engine}"] if self.engine else []
        return ", ".join([*options, *engine, *([self.provider] if self.provider else [])])

    def __str__(self) -> str:
        return f"{self.scenario or 'no scenario'} ({self.details})" if self.details else self.scenario


@dataclass(frozen=True, slots=True)
class Cell:
    """What a row says of one probe.

    `how` tells what `measured` is: "same" (all samples are), "worst" (the farthest from its
    promise), "range" (each as promised, and the promises differ), "median", "text", "count"
    (passed of all) or "" (nothing was measured).
    """

    probe: str
    verdict: Verdict
    lines: tuple[Result, ...]
    how: str = ""
    measured: str = ""
    promised: str = ""
    unit: str = ""
    samples: int = 0
    paper: PaperValue | None = None

    @property
    def symbol(self) -> str:
        """The verdict as one sign."""
        return SYMBOLS[self.verdict]

    @property
    def worst(self) -> Result:
        """The first line that has the cell's verdict."""
        return next(line for line in self.lines if line.verdict is self.verdict)

    @property
    def reason(self) -> str:
        """Why the cell is what it is."""
        return self.worst.reason

    @property
    def paper_text(self) -> str:
        """The paper's value with its kind, unless it is one to judge by."""
        if self.paper is None:
            return ""
        text = shown(self.paper.value)
        return text if self.paper.kind is PaperKind.EXACT else f"{text} ({self.paper.kind})"


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the matrix: its cells by column, and all its lines."""

    key: RowKey
    cells: dict[str, Cell]
    lines: tuple[Result, ...]

    @property
    def verdict(self) -> Verdict:
        """The worst verdict of all its lines."""
        return worst(self.lines)

    @property
    def about(self) -> Result:
        """The line that knows most of the row: its last, as versions are known only with the lab up."""
        return self.lines[-1]

    @property
    def kernels(self) -> list[str]:
        """The kernels that its nodes run on, where they are not the host's."""
        return sorted({node.kernel for node in self.about.nodes} - {"", self.about.host.kernel})

    @property
    def was_skipped(self) -> bool:
        """True when nothing of it was run."""
        return all(line.verdict is Verdict.SKIP for line in self.lines)

    def count(self, verdict: Verdict) -> int:
        """Return how many lines have a verdict."""
        return sum(line.verdict is verdict for line in self.lines)


def worst(lines: Iterable[Result]) -> Verdict:
    """Return the worst verdict of some lines."""
    found = {line.verdict for line in lines}
    return next(verdict for verdict in WORST if verdict in found)


def rows(results: Iterable[Result]) -> list[Row]:
    """Group lines into rows, in the order of their keys."""
    every = list(results)
    # Of all rows together: a skipped row's tests then stand under the probes that others measured.
    asked = {line.probe for line in every if _is_measured(line)}
    grouped: dict[RowKey, list[Result]] = {}
    for result in every:
        grouped.setdefault(RowKey.of(result), []).append(result)
    return [Row(key, _cells(grouped[key], asked), tuple(grouped[key])) for key in sorted(grouped)]


def columns(found: Sequence[Row]) -> list[str]:
    """Return the columns of the matrix: set-up, control, probes in the order first met, faults, tests.

    What only one of several scenarios asks, on one kind of machine, compares nothing: it stands in that
    scenario's own part.
    """
    askers: dict[str, set[tuple[str, str]]] = {}
    for row in found:
        for name in row.cells:
            askers.setdefault(name, set()).add((row.key.scenario, row.key.provider))
    several = len({row.key.scenario for row in found if not row.was_skipped}) > 1
    counted = [*COUNTED, TESTS]
    probes = [n for n in askers if n not in counted and (len(askers[n]) > 1 or not several)]
    return [name for name in [*counted[:2], *probes, *counted[2:]] if name in askers]


def particular(found: Sequence[Row]) -> list[tuple[Row, list[Cell]]]:
    """Return the rows that have cells beside the matrix's columns, with these cells."""
    shared = set(columns(found))
    beside = [(row, [cell for name, cell in row.cells.items() if name not in shared]) for row in found]
    return [(row, cells) for row, cells in beside if cells]


def _cells(lines: Sequence[Result], asked: set[str]) -> dict[str, Cell]:
    grouped: dict[str, list[Result]] = {}
    for line in lines:
        grouped.setdefault(_column(line, asked), []).append(line)
    counted = {*COUNTED, TESTS}
    return {
        name: _counted(name, group) if name in counted else _measured(name, group)
        for name, group in grouped.items()
    }


def _is_measured(line: Result) -> bool:
    return line.phase in {Phase.PROBE, Phase.PERF} and line.outcome not in TEST_CLASSES


def _column(line: Result, asked: set[str]) -> str:
    for name, phases in COUNTED.items():
        if line.phase in phases:
            return name
    return line.probe if line.probe in asked else TESTS


def _counted(name: str, lines: Sequence[Result]) -> Cell:
    passed = sum(line.verdict is Verdict.PASS for line in lines)
    return Cell(name, worst(lines), tuple(lines), "count", f"{passed}/{len(lines)}", samples=len(lines))


def _measured(name: str, lines: Sequence[Result]) -> Cell:
    paper = next((line.paper for line in lines if line.paper is not None), None)
    verdict, kept = worst(lines), tuple(lines)
    units = Counter(line.unit for line in lines if line.value is not None)
    if not units:
        promised = _one({shown(line.promised) for line in lines if line.promised is not None})
        return Cell(name, verdict, kept, promised=promised, paper=paper)
    unit = units.most_common(1)[0][0]
    valued = [line for line in lines if line.value is not None and line.unit == unit]
    numbers = [sample for line in valued for sample in samples(line)]
    how, measured, promised = _texts(valued) if not numbers else _figures(valued, numbers)
    return Cell(name, verdict, kept, how, measured, promised, unit, len(numbers) or len(valued), paper)


def samples(line: Result) -> list[float]:
    """Return the numbers that a line measured."""
    match line.value:
        case list() as many:
            return [float(each) for each in many]
        case int() | float() as one:
            return [float(one)]
    return []


def _texts(lines: Sequence[Result]) -> tuple[str, str, str]:
    bad = worst(lines)
    values = {str(line.value) for line in lines if line.verdict is bad}
    return "text", _one(values), _one({shown(line.promised) for line in lines if line.promised is not None})


def _figures(lines: Sequence[Result], numbers: Sequence[float]) -> tuple[str, str, str]:
    promises = [float(line.promised) for line in lines if isinstance(line.promised, (int, float))]
    low_high = _range(promises)
    if min(numbers) == max(numbers):
        return "same", number(numbers[0]), low_high
    if any(line.phase is Phase.PERF for line in lines) or len(promises) < len(lines):
        return "median", number(median(numbers)), low_high
    gap, value, promise = max(
        (abs(sample - said), sample, said)
        for line, said in zip(lines, promises, strict=True)
        for sample in samples(line)
    )
    if gap:
        return "worst", number(value), number(promise)
    return "range", _range(numbers), low_high


def _range(numbers: Sequence[float]) -> str:
    if not numbers:
        return ""
    low, high = number(min(numbers)), number(max(numbers))
    return low if low == high else f"{low}–{high}"


def _one(values: set[str]) -> str:
    few = sorted(values)
    return ", ".join(few) if len(few) <= 2 else f"{few[0]} and {len(few) - 1} others"
