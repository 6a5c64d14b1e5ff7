"""The pen: turns findings and the fate of tests into result lines of one run."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import Any

from overlab.errors import UsageError
from overlab.model import Finding, Phase, Verdict
from reports import host
from reports.context import RowContext
from reports.evidence import evidence_of
from reports.files import Appender, RunFolder
from reports.paper import Paper
from reports.schema import Evidence, PaperValue, Result, Value

DIFFERS = "differs-from-paper"


class Pen:
    """Writes the lines of one process. The run's folder is made by the first line, not before."""

    def __init__(
        self, run: RunFolder, worker: str, checkout: Path, listener: Callable[[Result], None] | None = None
    ) -> None:
        self.run = run
        self._worker = worker
        self._git = host.git_revision(checkout)
        self._host = host.host()
        self._capabilities = host.capabilities()
        self._file: Appender | None = None
        self._order = 0
        self._listener = listener

    def write(self, context: RowContext, **fields: Any) -> Result:
        """Stamp, write and return one line; `fields` are those of `Result` that are not the row's."""
        self._order += 1
        result = Result(
            run_id=self.run.id,
            git=self._git,
            host=self._host.model_copy(update={"load": host.load()}),
            capabilities=self._capabilities,
            provider=context.provider,
            engine=context.engine,
            scenario=context.scenario,
            variant=context.variant,
            overlay=context.overlay,
            underlay=context.underlay,
            placement={node: tuple(names) for node, names in context.placement.items()},
            nodes=context.nodes,
            order=self._order,
            **fields,
        )
        if self._file is None:
            self._file = Appender(self.run.create().worker_file(self._worker))
        self._file.append(result.line())
        if self._listener is not None:
            self._listener(result)
        return result

    def close(self) -> None:
        """Close the file, if there is one."""
        if self._file is not None:
            self._file.close()
            self._file = None


@dataclass
class Recorder:
    """What the `record` fixture gives a test: call it with a finding."""

    pen: Pen
    paper_file: Path
    context: Callable[[], RowContext]
    test: str = ""
    written: list[Result] = field(default_factory=list)

    def __call__(
        self,
        finding: Finding,
        *,
        phase: Phase = Phase.PROBE,
        paper: str | None = None,
        verdict: Verdict | None = None,
        samples: Sequence[float] | None = None,
        attempt: int = 1,
        block: int | None = None,
        seed: int | None = None,
    ) -> Finding:
        """Write one line at once and return the finding, as it was judged.

        The verdict is pass when the finding is ok, else fail, unless it is given (a mutation test
        expects its class: `verdict=Verdict.PASS`). `paper` is the id of a value of the scenario's
        `paper.toml`: it is put beside the finding, and where its kind is exact and the measured
        value is another, a passed finding fails with the class `differs-from-paper`. `samples` are
        kept in the line in place of the value. UsageError for an unknown id or another unit.
        """
        said, finding, verdict = self._judged(finding, paper, verdict)
        result = self.pen.write(
            self.context(),
            phase=phase,
            probe=finding.probe,
            src=finding.src,
            dst=finding.dst,
            attempt=attempt,
            block=block,
            seed=seed,
            value=_value(finding, samples),
            unit=finding.unit,
            promised=_scalar(finding, finding.promised),
            paper=said,
            verdict=verdict,
            outcome=finding.outcome,
            reason=finding.reason,
            evidence=evidence_of({**finding.evidence, **self._test()}, self.pen.run.path),
            duration_ms=round(finding.duration_ms, 3),
        )
        self.written.append(result)
        return finding

    def fate(
        self,
        verdict: Verdict,
        outcome: str,
        reason: str,
        *,
        probe: str,
        phase: Phase = Phase.PROBE,
        seconds: float = 0,
    ) -> Result:
        """Write the line of a test that ended without a finding of its own."""
        result = self.pen.write(
            self.context(),
            phase=phase,
            probe=probe,
            verdict=verdict,
            outcome=outcome,
            reason=reason,
            evidence=Evidence(data=self._test()),
            duration_ms=round(seconds * 1000, 3),
        )
        self.written.append(result)
        return result

    def _test(self) -> Mapping[str, Any]:
        return {"test": self.test} if self.test else {}

    def _judged(
        self, finding: Finding, paper: str | None, verdict: Verdict | None
    ) -> tuple[PaperValue | None, Finding, Verdict]:
        verdict = verdict or (Verdict.PASS if finding.ok else Verdict.FAIL)
        if paper is None:
            return None, finding, verdict
        judged, said = Paper.read(self.paper_file).judge(paper, finding.value, finding.unit)
        if said.probe and said.probe != finding.probe:
            raise UsageError(
                f"{self.paper_file}: {paper!r} is a value of {said.probe}, not of {finding.probe}"
            )
        if judged is Verdict.FAIL and verdict is Verdict.PASS:
            words = f"the paper says {said.value} {said.unit}".rstrip()
            reason = f"{words} ({said.source})"
            finding = dataclasses.replace(
                finding, outcome=DIFFERS, reason=f"{reason}; {finding.reason}" if finding.reason else reason
            )
            verdict = Verdict.FAIL
        return said, finding, verdict


def _value(finding: Finding, samples: Sequence[float] | None) -> Value:
    if samples is None:
        return _scalar(finding, finding.value)
    for sample in samples:
        _scalar(finding, sample)
    return list(samples)


def _scalar(finding: Finding, value: float | str | None) -> float | int | str | None:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float) and not isfinite(value):
        # JSON has no such number, and a probe that measured none must say so in its class.
        raise ValueError(f"{finding.probe} gave the value {value}: say what happened in the outcome")
    return value
