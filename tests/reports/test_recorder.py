"""The plugin in real sessions of pytest: what is recorded, skipped, failed, invalid, and merged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

pytest_plugins = ["pytester"]

ROOT = Path(__file__).resolve().parents[2]

HEAD = """
import os
import pytest
from overlab.errors import NotReadyError
from overlab.model import Finding, Phase, Verdict
from reports.context import RowContext
from reports.schema import OverlayInfo

def mtu(value=1420, outcome="ok", **more):
    return Finding("mtu", outcome, value, "bytes", 1420, "barge1/serf0", "barge2/serf0", **more)

@pytest.fixture(scope="module")
def row_context():
    return RowContext(scenario="blue", engine="20.10", provider="namespace", variant={"mode": "a"})
"""
PAPER = """
[[value]]
id = "mtu"
what = "MTU"
value = 1420
unit = "bytes"
source = "paper.txt:1"
kind = "exact"
"""


class Inner:
    """An inner project with scenarios, run by a real pytest in a process of its own."""

    def __init__(self, pytester: pytest.Pytester) -> None:
        self.pytester = pytester
        self.path = pytester.path

    def scenario(self, name: str, body: str, head: str = HEAD) -> None:
        folder = self.path / "scenarios" / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"test_{name}.py").write_text(head + body)
        (folder / "paper.toml").write_text(PAPER)

    def run(self, *words: str) -> pytest.RunResult:
        options = ("--import-mode=importlib", "-p", "reports.recorder", "-p", "no:cacheprovider")
        return self.pytester.runpytest_subprocess(*options, *words)

    @property
    def folder(self) -> Path:
        (folder,) = (self.path / "reports" / "runs").iterdir()
        return folder

    def lines(self) -> list[dict[str, Any]]:
        text = (self.folder / "results.jsonl").read_text()
        return [json.loads(line) for line in text.splitlines()]


@pytest.fixture
def inner(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Inner:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    for name in ("PYTEST_ADDOPTS", "PYTEST_XDIST_WORKER", "SUDO_UID", "SUDO_GID"):
        monkeypatch.delenv(name, raising=False)
    pytester.makeini("[pytest]\n")
    return Inner(pytester)


def test_a_finding_is_a_line_a_page_and_a_table(inner: Inner) -> None:
    inner.scenario("blue", """
def test_mtu(record, run_folder):
    pcap = run_folder.evidence / "mtu.pcap"
    pcap.write_bytes(b"")
    f = mtu(evidence={"pcap": pcap, "frags": 0}, duration_ms=3.5)
    assert record(f, paper="mtu") is f
    assert f.ok
""")  # fmt: skip
    done = inner.run()
    done.assert_outcomes(passed=1)
    (line,) = inner.lines()
    assert (line["scenario"], line["variant"], line["engine"]) == ("blue", {"mode": "a"}, "20.10")
    assert (line["value"], line["promised"], line["verdict"], line["class"]) == (1420, 1420, "pass", "ok")
    assert line["paper"]["source"] == "paper.txt:1"
    assert line["evidence"]["files"] == ["evidence/mtu.pcap"]
    assert line["evidence"]["data"] == {"frags": 0, "test": "scenarios/blue/test_blue.py::test_mtu"}
    assert line["run_id"] == inner.folder.name
    assert (inner.path / "reports" / "latest").resolve() == inner.folder
    assert {path.name for path in inner.folder.iterdir()} == {
        "results.jsonl", "index.html", "summary.md", "evidence",
    }  # fmt: skip
    done.stdout.fnmatch_lines(
        [
            "blue  mtu barge1/serf0 → barge2/serf0 = 1420 bytes ?ok? promised 1420 paper 1420",
            "*= overlab =*",
            "blue * ✔ 1420*",
            "1 results: ✔ 1 passed",
            f"page: {inner.folder}/index.html",
        ]
    )


def test_a_line_is_there_before_the_test_ends(inner: Inner) -> None:
    inner.scenario("blue", "\ndef test_mtu(record):\n    record(mtu())\n    os.kill(os.getpid(), 9)\n")
    inner.run()
    (written,) = inner.folder.glob("results.*.jsonl")
    assert json.loads(written.read_text())["probe"] == "mtu"


def test_a_session_without_lines_leaves_no_folder(inner: Inner) -> None:
    inner.pytester.makepyfile(test_unit="def test_x(): pass\ndef test_y(): assert 0\n")
    inner.run().assert_outcomes(passed=1, failed=1)
    assert not (inner.path / "reports").exists()


def test_verdicts_and_the_judgement_by_the_paper(inner: Inner) -> None:
    inner.scenario("blue", """
def test_mutation(record):
    assert record(mtu(None, "blackhole"), phase=Phase.FAULT, verdict=Verdict.PASS).outcome == "blackhole"

def test_paper(record):
    f = record(mtu(1400), paper="mtu")
    assert f.ok, f

def test_not_ok(record):
    f = record(mtu(1300, "frag-needed", reason="hop 2"))
    assert f.ok, f

def test_samples(record):
    record(Finding("rtt", "ok", 0.3, "ms"), samples=[0.3, 0.4], phase=Phase.PERF, block=2, seed=7)

def test_wrong_id(record):
    record(mtu(), paper="mut")
""")  # fmt: skip
    inner.run().assert_outcomes(passed=2, failed=3)
    mutation, paper, not_ok, samples, wrong = inner.lines()
    assert (mutation["phase"], mutation["verdict"], mutation["class"]) == ("fault", "pass", "blackhole")
    assert (paper["verdict"], paper["class"], paper["value"]) == ("fail", "differs-from-paper", 1400)
    assert paper["reason"] == "the paper says 1420 bytes (paper.txt:1)"
    assert (not_ok["verdict"], not_ok["class"], not_ok["reason"]) == ("fail", "frag-needed", "hop 2")
    assert (samples["value"], samples["block"], samples["seed"]) == ([0.3, 0.4], 2, 7)
    assert wrong["class"] == "test-failed"
    assert "there are: mtu" in wrong["reason"]


def test_a_failing_test_without_a_failing_line_writes_one(inner: Inner) -> None:
    inner.scenario("blue", """
def test_plain():
    assert 1 + 1 == 3

@pytest.mark.probe("arp")
@pytest.mark.parametrize("pair", ["a-b", "b-a"])
def test_told(record, pair):
    record(mtu())
    assert False, "two MACs for one address\\nmore"
""")  # fmt: skip
    inner.run().assert_outcomes(failed=3)
    failing = [line for line in inner.lines() if line["verdict"] == "fail"]
    assert [(line["probe"], line["class"]) for line in failing] == [
        ("plain", "test-failed"), ("arp", "test-failed"), ("arp", "test-failed"),
    ]  # fmt: skip
    assert [line["reason"] for line in failing[:2]] == ["assert (1 + 1) == 3", "two MACs for one address"]


def test_a_passing_test_with_a_failing_line_is_warned_of(inner: Inner) -> None:
    inner.scenario("blue", "\ndef test_mtu(record):\n    record(mtu(1, 'timeout'))\n")
    done = inner.run()
    done.assert_outcomes(passed=1, warnings=1)
    done.stdout.fnmatch_lines(["*passed, but recorded a failing line*"])


def test_skips_write_their_row(inner: Inner) -> None:
    inner.scenario("blue", """
@pytest.fixture(scope="module")
def lab():
    pytest.skip("no ip_vs — run it on a VM")

def test_mtu(lab, record): pass
def test_inside(record): pytest.skip("no netem — use a kernel that has it")
@pytest.mark.skip(reason="not now — later")
def test_marked(): pass
@pytest.mark.xfail(reason="known")
def test_known(): assert 0
""")  # fmt: skip
    inner.scenario("green", "\npytest.skip('no .deb — give it', allow_module_level=True)\n")
    done = inner.run("-n", "2", "--dist", "loadfile")
    done.assert_outcomes(skipped=4, xfailed=1)
    found = {(line["scenario"], line["probe"]): line for line in inner.lines()}
    assert len(found) == len(inner.lines()) == 5
    assert {line["verdict"] for line in found.values()} == {"skip"}
    assert found["blue", "mtu"]["reason"] == "no ip_vs — run it on a VM"
    assert found["blue", "mtu"]["engine"] == "20.10"
    assert found["blue", "inside"]["reason"] == "no netem — use a kernel that has it"
    assert found["blue", "marked"]["reason"] == "not now — later"
    assert found["green", "all"]["reason"] == "no .deb — give it"


BROKEN = """
@pytest.fixture(scope="module")
def lab():
    raise NotReadyError("barge2 did not boot in 30 s", "see its log")

def test_first(lab): pass
def test_mtu(lab): pass
def test_arp(lab, record): pass
def test_routing(lab): pass
def test_alone(record): record(mtu())
"""


@pytest.mark.parametrize("words", [(), ("-n", "2", "--dist", "loadfile")])
def test_a_failed_set_up_is_one_failure(inner: Inner, words: tuple[str, ...]) -> None:
    inner.scenario("blue", BROKEN)
    done = inner.run("-rs", *words)
    done.assert_outcomes(errors=1, skipped=3, passed=1)
    cause = "barge2 did not boot in 30 s; see its log"
    lines = inner.lines()
    assert [(line["phase"], line["probe"], line["verdict"], line["class"]) for line in lines] == [
        ("setup", "set-up", "fail", "set-up-failed"),
        ("probe", "mtu", "invalid", "invalid"),
        ("probe", "arp", "invalid", "invalid"),
        ("probe", "routing", "invalid", "invalid"),
        ("probe", "mtu", "pass", "ok"),
    ]
    assert lines[0]["reason"] == cause
    assert {line["reason"] for line in lines[1:4]} == {f"invalid: set-up failed first: {cause}"}
    done.stdout.fnmatch_lines([f"SKIPPED *test_blue.py*: invalid: set-up failed first: {cause}"])


def test_another_error_is_another_failure_and_each_module_has_its_own(inner: Inner) -> None:
    inner.scenario("blue", """
@pytest.fixture
def odd(request): raise OSError(request.node.name)

@pytest.fixture
def failed(): pytest.fail("the switch is gone")

def test_a(odd): pass
def test_b(odd): pass
def test_c(failed): pass
def test_d(failed): pass
""")  # fmt: skip
    inner.scenario("green", BROKEN)
    inner.scenario("red", BROKEN)
    inner.run().assert_outcomes(errors=5, skipped=1 + 3 + 3, passed=2)
    found = [line["reason"] for line in inner.lines() if line["verdict"] == "fail"]
    assert found[:3] == ["OSError: test_a", "OSError: test_b", "the switch is gone"]


def test_a_failed_teardown_is_a_line(inner: Inner) -> None:
    inner.scenario("blue", """
@pytest.fixture
def lab():
    yield
    raise RuntimeError("a veth was left")
def test_mtu(lab, record): record(mtu())
""")  # fmt: skip
    inner.run().assert_outcomes(passed=1, errors=1)
    assert [(line["phase"], line["class"]) for line in inner.lines()] == [
        ("probe", "ok"), ("teardown", "teardown-failed"),
    ]  # fmt: skip


def test_the_row_learns_what_is_known_only_with_the_lab_up(inner: Inner) -> None:
    inner.scenario("blue", """
@pytest.fixture(scope="module")
def lab(describe_row, record_for_module):
    describe_row(overlay=OverlayInfo(name="Blue", version="1.2"))
    record_for_module(mtu(1500), phase=Phase.CONTROL)
def test_mtu(lab, record): record(mtu())
""")  # fmt: skip
    inner.run().assert_outcomes(passed=1)
    assert [(line["phase"], line["overlay"]["version"]) for line in inner.lines()] == [
        ("control", "1.2"), ("probe", "1.2"),
    ]  # fmt: skip


def test_workers_write_files_of_their_own_that_become_one_run(inner: Inner) -> None:
    many = "\n@pytest.mark.parametrize('n', range(6))\ndef test_mtu(record, n): assert record(mtu(n)).ok\n"
    for name in ("blue", "green", "red"):
        inner.scenario(
            name,
            many + f"\n@pytest.fixture(scope='module')\ndef row_context(): return RowContext('{name}')\n",
        )
    done = inner.run("-n", "2")
    done.assert_outcomes(passed=18)
    lines = inner.lines()
    assert sorted((line["scenario"], line["value"]) for line in lines) == [
        (name, n) for name in ("blue", "green", "red") for n in range(6)
    ]
    assert {line["run_id"] for line in lines} == {inner.folder.name}
    assert [line["time"] for line in lines] == sorted(line["time"] for line in lines)
    plain = [line for line in done.outlines if "mtu barge1/serf0" in line]
    assert len(plain) == 18
    assert not list(inner.folder.glob("results.*.jsonl"))


def test_a_worker_that_dies_leaves_its_lines_and_a_failure(inner: Inner) -> None:
    inner.scenario("blue", "\ndef test_mtu(record):\n    record(mtu())\n    os._exit(3)\n")
    done = inner.run("-n", "1")
    assert done.ret == pytest.ExitCode.TESTS_FAILED
    assert [(line["probe"], line["class"]) for line in inner.lines()] == [
        ("mtu", "ok"),
        ("set-up", "worker-crashed"),
    ]


def test_results_go_where_they_are_told(inner: Inner, tmp_path_factory: pytest.TempPathFactory) -> None:
    there = tmp_path_factory.mktemp("kept")
    inner.scenario("blue", "\ndef test_mtu(record): record(mtu())\n")
    inner.run("--results", str(there)).assert_outcomes(passed=1)
    assert not (inner.path / "reports").exists()
    assert (there / "latest" / "index.html").is_file()


def test_two_sessions_of_one_run_share_a_page(inner: Inner) -> None:
    """Symptom: nodes of two kinds are to be compared, and each has a page of its own."""
    inner.scenario("blue", "\ndef test_one(record): record(mtu())\ndef test_two(record): record(mtu())\n")
    run = "--run=20260102T030405Z-a1b2c3"
    for name in ("one", "two"):
        done = inner.run(run, "-k", name)
        done.assert_outcomes(passed=1, deselected=1)
    assert inner.folder.name in run
    told = [line["evidence"]["data"]["test"].rpartition("_")[2] for line in inner.lines()]
    assert told == ["one", "two"]
    done.stdout.fnmatch_lines(["2 results: ✔ 2 passed"])


def test_a_report_that_cannot_be_written_is_said_and_fails(inner: Inner) -> None:
    inner.scenario("blue", """
def test_mtu(record, run_folder):
    record(mtu())
    run_folder.page.mkdir()
""")  # fmt: skip
    done = inner.run()
    assert done.ret == pytest.ExitCode.TESTS_FAILED
    done.stdout.fnmatch_lines(["the report could not be written: *"])
    assert inner.lines()


def test_quiet_is_quiet_and_no_value_is_refused(inner: Inner) -> None:
    inner.scenario("blue", """
def test_mtu(record): record(mtu())
def test_nan(record): record(mtu(float("nan")))
""")  # fmt: skip
    done = inner.run("-q")
    done.assert_outcomes(passed=1, failed=1)
    assert not [line for line in done.outlines if line.startswith("blue  mtu")]
    assert "say what happened in the outcome" in inner.lines()[1]["reason"]
