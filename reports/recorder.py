"""The pytest plugin that writes results: thin, over `reports.recording`.

Only tests of a scenario (`scenarios/<name>/`), and tests that ask for `record`, leave lines; a
session without lines leaves no run folder.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest

from reports.causes import failed_first, one_line
from reports.context import RowContext
from reports.fate import write_collected, write_fate
from reports.files import RunFolder, new_run_id
from reports.publish import publish
from reports.recording import Recorder
from reports.session import (
    LINES,
    STATE,
    Progress,
    State,
    is_worker,
    module_of,
    new_recorder,
    recorder_of,
    scenario_of,
)
from reports.table import render

NARROWEST = 100


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--results` and `--run`."""
    group = parser.getgroup("overlab")
    group.addoption("--results", metavar="DIR", help="folder that holds the runs (default: reports/runs)")
    group.addoption("--run", metavar="ID", help="add to the run of that id: several sessions, one page")


def pytest_configure(config: pytest.Config) -> None:
    """Choose the run's id; a worker of xdist is told it."""
    config.addinivalue_line("markers", "probe(name): the probe that a test without findings stands for")
    told: dict[str, Any] | None = getattr(config, "workerinput", None)
    if told is None:
        home = Path(config.getoption("results") or config.rootpath / "reports" / "runs").resolve()
        run, worker = RunFolder(home / (config.getoption("run") or new_run_id())), "main"
        config.pluginmanager.register(Progress(config), "overlab-progress")
    else:
        run, worker = RunFolder(Path(told["overlab_run"])), told["workerid"]
    config.stash[STATE] = State(run, worker, config.rootpath)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Give a worker of xdist the run that it writes in."""
    node.workerinput["overlab_run"] = str(node.config.stash[STATE].run.path)


# --- what tests use ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def row_context(request: pytest.FixtureRequest) -> RowContext:
    """Say what the row is about; overridden by scenarios, and must not need the lab."""
    return RowContext(scenario=scenario_of(request.path))


@pytest.fixture(scope="module", autouse=True)
def _row(request: pytest.FixtureRequest) -> None:
    # Autouse, so that the row is known before a lab fails or is skipped: those lines need it too.
    context: RowContext = request.getfixturevalue("row_context")
    request.config.stash[STATE].rows[module_of(request.node)] = context


@pytest.fixture(scope="module")
def describe_row(request: pytest.FixtureRequest) -> Callable[..., None]:
    """Add what is known only with the lab up: `describe_row(overlay=OverlayInfo(...), ...)`."""
    rows, module = request.config.stash[STATE].rows, module_of(request.node)

    def describe(**known: Any) -> None:
        rows[module] = rows[module].described(**known)

    return describe


@pytest.fixture
def record(request: pytest.FixtureRequest) -> Recorder:
    """Write a finding as a result line, at once: `assert record(finding).ok, finding`."""
    return recorder_of(request.node)


@pytest.fixture(scope="module")
def record_for_module(request: pytest.FixtureRequest) -> Recorder:
    """Do the same for fixtures of a whole module, such as the control."""
    return new_recorder(request.config, request.node)


@pytest.fixture(scope="session")
def run_folder(pytestconfig: pytest.Config) -> RunFolder:
    """Return the run's folder, made if it is not there: captures and transcripts go to `.evidence`."""
    return pytestconfig.stash[STATE].run.create()


# --- what becomes of tests --------------------------------------------------------------------


def _is_recorded(item: pytest.Item) -> bool:
    return bool(scenario_of(item.path)) or "record" in getattr(item, "fixturenames", ())


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None]:
    """Let the first error of a module's set-up stand, and turn its repetitions into 'invalid'."""
    try:
        return (yield)
    except (Exception, pytest.fail.Exception) as error:
        if not _is_recorded(item):
            raise
        cause = one_line(error)
        if item.config.stash[STATE].causes.seen_before(module_of(item), cause):
            raise failed_first(cause) from None
        raise


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Write the line of a test that ended without one, and send plain lines along with the report."""
    report = yield
    if _is_recorded(item):
        write_fate(recorder_of(item), item, call, report)
    state = item.config.stash[STATE]
    if state.waiting:
        setattr(report, LINES, list(state.waiting))
        state.waiting.clear()
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Write the row of a scenario that skips, or fails, while it is collected."""
    report = yield
    # Every worker collects everything: one of them speaks for all.
    speaks = collector.config.stash[STATE].worker in {"main", "gw0"}
    if speaks and not report.passed and scenario_of(collector.path):
        write_collected(new_recorder(collector.config, collector), report)
    return report


# --- the end ----------------------------------------------------------------------------------


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Merge the workers' files and write the pages; only the controller does."""
    state = session.config.stash[STATE]
    state.close()
    if is_worker(session.config) or not state.run.path.is_dir():
        return
    try:
        state.published = publish(state.run)
    except Exception as error:  # the tests' own outcome must still be shown
        state.broken = f"the report could not be written: {one_line(error)}"
        session.exitstatus = session.exitstatus or pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the table and the path to the page."""
    state = config.stash[STATE]
    if state.broken:
        terminalreporter.write_line(state.broken, red=True, bold=True)
    if state.published is None or not state.published.results:
        return
    terminalreporter.section("overlab", sep="=")
    width = config.get_terminal_writer().fullwidth if terminalreporter.isatty else NARROWEST
    results, signs = state.published.results, _shows_signs(config)
    text = render(results, width=width, colour=terminalreporter.hasmarkup, signs=signs)
    for line in text.splitlines():
        terminalreporter.write_line(line)
    for bad in state.published.bad:
        terminalreporter.write_line(f"not a result: {bad}")
    terminalreporter.write_line(f"page: {state.published.run.page}")


def _shows_signs(config: pytest.Config) -> bool:
    writer = config.get_terminal_writer()
    encoding = getattr(writer._file, "encoding", None) or "utf-8"
    return encoding.lower().replace("-", "") == "utf8"
