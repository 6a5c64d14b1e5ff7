"""What a test's end adds to the results: a line for a test that ended without one of its own."""

from __future__ import annotations

import pytest

from overlab.model import Phase, Verdict
from reports.causes import is_failed_first, one_line
from reports.recording import Recorder


def probe_of(item: pytest.Item) -> str:
    """Return what a test asks: its marker `probe(name)`, else its own name without `test_`."""
    marker = item.get_closest_marker("probe")
    if marker is not None and marker.args:
        return str(marker.args[0])
    return str(getattr(item, "originalname", None) or item.name).removeprefix("test_")


def write_fate(
    recorder: Recorder, item: pytest.Item, call: pytest.CallInfo[None], report: pytest.TestReport
) -> None:
    """Write the line that one phase of a test leaves, if it leaves one."""
    failed_lines = any(line.verdict is Verdict.FAIL for line in recorder.written)
    if report.passed:
        if call.when == "call" and failed_lines:
            told = f"{item.nodeid} passed, but recorded a failing line: give its verdict, or assert it"
            item.warn(pytest.PytestWarning(told))
        return
    error, probe = (call.excinfo.value if call.excinfo else None), probe_of(item)
    # A strict xfail that passed has no error, only its report's words.
    reason = one_line(error) if error else str(report.longrepr)
    if error is not None and is_failed_first(error):
        recorder.fate(Verdict.INVALID, "invalid", reason, probe=probe)
    elif hasattr(report, "wasxfail"):
        told = f"expected to fail ({report.wasxfail}): {reason}" if report.wasxfail else reason
        recorder.fate(Verdict.SKIP, "skipped", told, probe=probe)
    elif report.skipped:
        if not any(line.verdict is Verdict.SKIP for line in recorder.written):
            recorder.fate(Verdict.SKIP, "skipped", reason, probe=probe)
    elif call.when == "setup":
        _broken(recorder, "set-up", Phase.SETUP, reason, call.duration)
    elif call.when == "teardown":
        _broken(recorder, "teardown", Phase.TEARDOWN, reason, call.duration)
    elif not failed_lines:
        recorder.fate(Verdict.FAIL, "test-failed", reason, probe=probe, seconds=call.duration)


def _broken(recorder: Recorder, what: str, phase: Phase, reason: str, seconds: float) -> None:
    recorder.fate(Verdict.FAIL, f"{what}-failed", reason, probe=what, phase=phase, seconds=seconds)


def write_collected(recorder: Recorder, report: pytest.CollectReport) -> None:
    """Write the row of a scenario that skipped, or failed, while it was collected."""
    if report.skipped and isinstance(report.longrepr, tuple):
        reason = str(report.longrepr[2]).removeprefix("Skipped: ")
        recorder.fate(Verdict.SKIP, "skipped", reason, probe="all", phase=Phase.SETUP)
    else:
        last = "".join(str(report.longrepr).strip().splitlines()[-1:]).removeprefix("E").strip()
        _broken(recorder, "set-up", Phase.SETUP, f"could not be collected: {last}", 0.0)
