"""The plugin in real sessions of pytest: what is recorded, judged, merged, and where it goes."""

from __future__ import annotations

import json

import pytest

from tests.reports.inner import Inner

pytest_plugins = ["pytester"]


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
