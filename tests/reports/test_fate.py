"""The plugin in real sessions of pytest: what becomes of tests that fail, skip, or cannot start."""

from __future__ import annotations

import pytest

from tests.reports.inner import Inner

pytest_plugins = ["pytester"]


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
