"""What the recorder keeps for one pytest session, and how lines reach the terminal."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from overlab.model import Phase, Verdict
from reports.causes import FirstCauses
from reports.context import RowContext
from reports.files import RunFolder
from reports.progress import plain_line
from reports.publish import Published
from reports.recording import Pen, Recorder
from reports.schema import Result

LINES = "overlab_lines"  # the attribute of a report that carries plain lines from a worker


@dataclass
class State:
    """One process's part of a session; `rows` maps a module to its row."""

    run: RunFolder
    worker: str
    checkout: Path
    causes: FirstCauses = field(default_factory=FirstCauses)
    rows: dict[str, RowContext] = field(default_factory=dict)
    waiting: list[str] = field(default_factory=list)
    published: Published | None = None
    broken: str = ""
    _pen: Pen | None = None

    def pen(self, listener: Callable[[Result], None]) -> Pen:
        """Return the pen; made with the first line, as it reads the machine and the checkout."""
        if self._pen is None:
            self._pen = Pen(self.run, self.worker, self.checkout, listener)
        return self._pen

    def close(self) -> None:
        """Close the file of lines, if one was opened."""
        if self._pen is not None:
            self._pen.close()


STATE = pytest.StashKey[State]()
RECORDER = pytest.StashKey[Recorder]()


def is_worker(config: pytest.Config) -> bool:
    """Return whether this process is a worker of xdist."""
    return hasattr(config, "workerinput")


def scenario_of(path: Path) -> str:
    """Return the scenario that a test file belongs to: the X of `scenarios/X/test_Y.py`, or nothing."""
    return path.parent.name if path.parent.parent.name == "scenarios" else ""


def module_of(node: pytest.Item | pytest.Collector) -> str:
    """Return the id of the module that a test is in."""
    return (node.getparent(pytest.Module) or node).nodeid


def new_recorder(config: pytest.Config, node: pytest.Item | pytest.Collector) -> Recorder:
    """Return a recorder that stamps the row of the node's module, as it is known at each line."""
    state, module = config.stash[STATE], module_of(node)
    fallback = RowContext(scenario=scenario_of(node.path))
    return Recorder(
        pen=state.pen(_listener(config)),
        paper_file=node.path.parent / "paper.toml",
        context=lambda: state.rows.get(module, fallback),
        test=node.nodeid if isinstance(node, pytest.Item) else "",
    )


def recorder_of(item: pytest.Item) -> Recorder:
    """Return the one recorder of a test: it knows what the test wrote."""
    if RECORDER not in item.stash:
        item.stash[RECORDER] = new_recorder(item.config, item)
    return item.stash[RECORDER]


def _listener(config: pytest.Config) -> Callable[[Result], None]:
    if is_worker(config):
        waiting = config.stash[STATE].waiting
        return lambda result: waiting.append(plain_line(result))
    return lambda result: say(config, plain_line(result))


def say(config: pytest.Config, line: str) -> None:
    """Print a plain line, unless pytest's own progress in a terminal is to stay as it is."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    verbosity = config.get_verbosity()
    if reporter is None or verbosity < 0:
        return
    if verbosity == 0 and reporter.isatty:
        return
    writer, capture = config.get_terminal_writer(), config.pluginmanager.get_plugin("capturemanager")
    # While a test runs, its output is caught, and the terminal's with it.
    with capture.global_and_fixture_disabled() if capture else nullcontext():
        if writer.width_of_current_line:
            writer.line()
        writer.line(line)
        writer.flush()


class Progress:
    """Prints workers' lines at the controller, and notes a worker that died."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Print the lines that came with a report; a crashed worker leaves a failing line."""
        for line in getattr(report, LINES, ()):
            say(self._config, line)
        path = Path(report.nodeid.split("::", 1)[0])
        # xdist reports the test whose worker died under a phase that no test has.
        if str(report.when) == "???" and scenario_of(path):
            state = self._config.stash[STATE]
            row = RowContext(scenario=scenario_of(path))
            recorder = Recorder(state.pen(_listener(self._config)), path, lambda: row, report.nodeid)
            cause = "".join(str(report.longrepr).strip().splitlines()[-1:])
            recorder.fate(Verdict.FAIL, "worker-crashed", cause, probe="set-up", phase=Phase.SETUP)
