"""Rows, table and summary are views of the same lines."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from overlab.model import Phase, Secret, Verdict
from reports.complaints import complaints
from reports.evidence import LONGEST_TEXT, evidence_of, jsonable
from reports.progress import number, plain_line
from reports.rows import Cell, columns, particular, rows
from reports.schema import PaperKind, Result
from reports.summary import summary
from reports.table import render
from tests.reports.samples import PAPER_MTU, a_night, result


def cell(*lines: Result) -> Cell:
    (row,) = rows(lines)
    return row.cells[lines[0].probe]


def test_a_row_is_scenario_variant_engine_provider() -> None:
    lines = [
        result(1),
        result(2, engine="26.1"),
        result(3, provider="vagrant"),
        result(4, variant={"data-plane": "userspace"}),
        result(5, scenario="swarm"),
        result(6),
    ]
    found = rows(lines)
    assert len(found) == 5
    assert sorted(len(row.lines) for row in found) == [1, 1, 1, 1, 2]
    assert found[0].key.id == "swarm|data-plane=kernel|20.10|namespace"


def test_equal_samples_are_one_value() -> None:
    found = cell(result(1), result(2), result(3, value=[1420, 1420]))
    assert (found.how, found.measured, found.promised, found.samples) == ("same", "1420", "1420", 4)


def test_the_sample_farthest_from_its_promise_is_shown() -> None:
    found = cell(result(1), result(2, value=1400, verdict=Verdict.FAIL), result(3, value=1419))
    assert (found.how, found.measured, found.promised) == ("worst", "1400", "1420")
    assert found.verdict is Verdict.FAIL


def test_different_promises_that_are_kept_are_a_range() -> None:
    found = cell(result(1, value=156, promised=156), result(2, value=1480, promised=1480))
    assert (found.how, found.measured, found.promised) == ("range", "156–1480", "156–1480")


def test_performance_is_a_median() -> None:
    perf = {"phase": Phase.PERF, "promised": None}
    found = cell(result(1, value=[0.9, 0.97], **perf), result(2, value=0.95, **perf))
    assert (found.how, found.measured, found.samples) == ("median", "0.95", 3)


def test_the_worst_verdict_is_the_cells() -> None:
    order = [Verdict.FAIL, Verdict.INVALID, Verdict.UNRESOLVED, Verdict.PASS, Verdict.SKIP]
    for index, verdict in enumerate(order):
        lines = [result(n, verdict=each) for n, each in enumerate(order[index:], start=1)]
        assert cell(*lines).verdict is verdict


def test_faults_controls_and_set_ups_are_counted_not_measured() -> None:
    found = rows(
        [result(1), result(2, phase=Phase.FAULT, value=9), result(3, phase=Phase.CONTROL, value=1500)]
    )
    cells = found[0].cells
    assert cells["mtu"].measured == "1420"
    assert (cells["faults"].measured, cells["control"].measured) == ("1/1", "1/1")
    assert columns(found) == ["control", "mtu", "faults"]


def test_skipped_tests_stand_under_the_probes_that_other_rows_measured() -> None:
    found = {row.key.scenario: row for row in rows(a_night())}
    assert found["neorouter"].cells["mtu"].verdict is Verdict.SKIP
    assert found["neorouter"].cells["other tests"].measured == "0/1"
    assert found["zerotier"].cells["mtu"].verdict is Verdict.INVALID


def test_the_paper_stands_beside_the_measured_value() -> None:
    found = cell(result(1), result(2, paper=PAPER_MTU))
    assert found.paper_text == "1420"
    context = PAPER_MTU.model_copy(update={"kind": PaperKind.CONTEXT})
    assert cell(result(1, paper=context)).paper_text == "1420 (context)"


def test_complaints_are_gathered_by_reason_the_worst_first() -> None:
    found = complaints(rows(a_night()))
    assert [each.verdict for each in found] == [
        Verdict.FAIL, Verdict.FAIL, Verdict.INVALID, Verdict.UNRESOLVED, Verdict.SKIP, Verdict.SKIP,
    ]  # fmt: skip
    skipped = next(each for each in found if each.row.scenario == "neorouter")
    assert skipped.what == ("mtu", "arp", "routing")
    assert skipped.cause == "NeoRouter's packages are not here"
    assert skipped.remedy == "put its two .deb files beside needs.toml"


def test_a_piped_table_is_plain_and_fits() -> None:
    text = render(a_night(), width=100)
    assert "\x1b" not in text
    assert not set(text) & set("│┃━─┏┓└┘╭╮┼")
    matrix = text.split("✘ swarm")[0]
    assert max(len(line) for line in matrix.splitlines()) <= 100
    for scenario in ("wireguard", "swarm", "neorouter", "zerotier"):
        assert scenario in matrix
    assert "✘ 1400 ≠1450" in text
    assert "✔ 1420" in text
    assert "…" not in matrix


def test_all_columns_are_there_however_narrow_the_terminal() -> None:
    for width in (60, 80, 100, 200):
        text = render(a_night(), width=width)
        for name in columns(rows(a_night())):
            assert name in text


def test_what_one_scenario_asks_stands_apart_from_the_matrix() -> None:
    """Symptom: with ten scenarios the matrix has a hundred columns, and most of its cells are empty."""
    alone = [line for line in a_night() if line.scenario == "wireguard"]
    assert "encapsulation" in columns(rows(alone))  # nothing to compare with: all of it is the matrix
    found = rows(a_night())
    assert "encapsulation" not in columns(found)
    beside = {row.key.scenario: [cell.probe for cell in cells] for row, cells in particular(found)}
    assert "encapsulation" in beside["wireguard"]
    assert set(columns(found)).isdisjoint(name for names in beside.values() for name in names)
    assert "wireguard alone: " in render(a_night())


def test_kinds_of_machines_stand_side_by_side() -> None:
    """Symptom: VMs are measured beside namespaced nodes, and no column holds the figures of both."""
    elsewhere = [result(provider="vagrant"), result(provider="vagrant", probe="ttl", value=62)]
    found = rows([*a_night(), *elsewhere, result(probe="ttl", value=62), result(probe="wg-port", value=1)])
    assert "ttl" in columns(found)
    assert "wg-port" not in columns(found), "it is asked on one kind only"


def test_details_are_one_line_each_with_reason_and_remedy() -> None:
    lines = render(a_night(), width=100).splitlines()
    (found,) = [line for line in lines if line.startswith("✘ swarm")]
    assert "barge2/web → barge3/<b>db</b>" in found
    assert found.endswith("1400 bytes, promised 1450: the underlay is too small — give it 1500 bytes")
    (skipped,) = [line for line in lines if line.startswith("– neorouter")]
    assert "put its two .deb files beside needs.toml" in skipped


def test_markup_in_a_reason_is_text() -> None:
    odd = "[red]not[/red] markup [/nonsense] :boom:"
    assert odd in render([result(1, verdict=Verdict.FAIL, reason=odd)])


def test_a_terminal_without_signs_gets_ascii() -> None:
    text = render(a_night(), signs=False)
    assert text.isascii()
    assert "FAIL 1400" in text


def test_colour_is_for_terminals() -> None:
    assert "\x1b[" in render(a_night(), colour=True)


def test_no_results_are_a_table_of_nothing() -> None:
    assert render([]).strip() == "0 results:"


def test_the_summary_has_the_matrix_and_what_is_not_passed() -> None:
    text = summary(a_night(), "the-run")
    assert "| **wireguard**" in text
    assert "promised 1420" in text
    assert "*Remedy: give it 1500 bytes*" in text
    assert "<script>" not in text
    table = [line for line in text.split("##")[0].splitlines() if line.startswith("|")]
    assert len({line.count("|") for line in table}) == 1


def test_the_plain_line_of_a_finding() -> None:
    assert plain_line(result()) == (
        "wireguard  mtu barge1/serf0 → barge2/serf0 = 1420 bytes [ok] promised 1420"
    )
    failed = result(
        value=[1, 2], verdict=Verdict.FAIL, outcome="timeout", reason="no answer", paper=PAPER_MTU
    )
    assert plain_line(failed).endswith(
        "= 1.5 (median of 2) bytes [timeout] promised 1420 paper 1420 FAIL: no answer"
    )


def test_numbers_are_written_as_people_do() -> None:
    shown = [number(each) for each in (1420, 1420.0, 0.9614, 191.26, 12_000_000, 0.000021, 0, -3.5)]
    assert shown == ["1420", "1420", "0.961", "191.3", "12000000", "0.000021", "0", "-3.5"]


@dataclasses.dataclass
class Wrapped:
    """Something a probe may put in its evidence."""

    key: Secret
    sizes: tuple[int, ...]


def test_evidence_shows_no_secret_however_it_is_wrapped(tmp_path: Path) -> None:
    secret = Secret("WG_KEY_BARGE1", "hidden-value")
    found = evidence_of({"a": secret, "b": [Wrapped(secret, (1, 2))], "c": {"d": {secret}}}, tmp_path)
    assert "hidden-value" not in found.model_dump_json()
    assert found.data["b"] == [{"key": "$WG_KEY_BARGE1", "sizes": [1, 2]}]


def test_files_of_the_run_are_named_by_their_place_in_it(tmp_path: Path) -> None:
    pcap = tmp_path / "evidence" / "a.pcap"
    found = evidence_of(
        {"pcap": pcap, "more": [str(pcap), tmp_path / "b"], "other": Path("/etc/x")}, tmp_path
    )
    assert found.files == ("evidence/a.pcap", "b")
    assert found.data == {"other": "/etc/x"}


def test_evidence_is_small_and_is_json() -> None:
    assert len(str(jsonable("x" * 10 * LONGEST_TEXT))) < LONGEST_TEXT + 60
    assert jsonable({1: float("inf"), 2: b"\x01\x02", 3: Verdict.PASS}) == {
        "1": "inf",
        "2": "0102",
        "3": "pass",
    }
