"""Every number on the page can be computed again from the JSON lines, by other code than the page's."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from reports.files import Appender, RunFolder
from reports.page import page
from reports.publish import publish
from reports.schema import NodeInfo
from tests.reports.samples import a_night, result

VOID = {"meta", "link", "line", "rect", "br"}


class Parsed(HTMLParser):
    """Collects the elements that carry numbers, links, and whether tags are balanced."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.numbers: list[dict[str, str]] = []
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self._open: list[str] = []
        self._number: dict[str, str] | None = None
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        self.tags.append((tag, found))
        if tag not in VOID:
            self._open.append(tag)
        if "data-stat" in found:
            self._number = {**found, "text": ""}
            self.numbers.append(self._number)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag
        self._number = None

    def handle_data(self, data: str) -> None:
        self.text += data
        if self._number is not None:
            self._number["text"] += data


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    run = RunFolder(tmp_path / "runs" / "20260102T030405Z-0a1b2c").create()
    appender = Appender(run.worker_file("main"))
    for line in a_night():
        appender.append(line.line())
    commands = [
        {"time": "t", "node": "barge1", "argv": ["ip", "route"], "status": 0, "out": "default via <x>\n"},
        {"time": "t", "node": "barge1", "argv": ["wg", "set", "wg0", "private-key", "$WG_KEY_BARGE1", "a b"],
         "status": 1, "out": "", "err": "no such device", "duration_ms": 12.4},
    ]  # fmt: skip
    lines = "".join(json.dumps(command) + "\n" for command in commands) + '{"torn'
    (run.evidence / "transcript-wireguard.jsonl").write_text(lines)
    (run.evidence / "transcript-harness.jsonl").write_text(json.dumps(commands[0]) + "\n")
    publish(run)
    return run


@pytest.fixture
def parsed(run: RunFolder) -> Parsed:
    return Parsed(run.page.read_text())


@pytest.fixture
def lines(run: RunFolder) -> list[dict[str, Any]]:
    return [json.loads(line) for line in run.results.read_text().splitlines()]


def row_of(line: dict[str, Any]) -> str:
    variant = ",".join(f"{name}={line['variant'][name]}" for name in sorted(line["variant"]))
    return "|".join((line["scenario"], variant, line["engine"], line["provider"]))


def flat(lines: list[dict[str, Any]]) -> list[float]:
    return [
        n for line in lines for n in (line["value"] if isinstance(line["value"], list) else [line["value"]])
    ]


def again(how: str, lines: list[dict[str, Any]]) -> str:
    """Compute what a cell of the matrix shows, from JSON alone."""
    if how == "count":
        return f"{sum(line['verdict'] == 'pass' for line in lines)}/{len(lines)}"
    lines = [line for line in lines if line["value"] is not None]
    if how == "text":
        (value,) = {line["value"] for line in lines}
        return str(value)
    numbers = flat(lines)
    match how:
        case "same":
            assert len(set(numbers)) == 1
            return f"{numbers[0]:g}"
        case "median":
            return f"{median(numbers):g}"
        case "range":
            return f"{min(numbers):g}–{max(numbers):g}"
        case "worst":
            return f"{max(lines, key=lambda line: abs(line['value'] - line['promised']))['value']:g}"
    raise AssertionError(how)


def in_cell(line: dict[str, Any], row: str, probe: str, probes: set[str]) -> bool:
    phases = {"set-up": "setup", "control": "control", "teardown": "teardown"}
    if row_of(line) != row:
        return False
    if probe == "faults":
        return line["phase"] in ("fault", "heal")
    if probe in phases:
        return bool(line["phase"] == phases[probe])
    if line["phase"] not in ("probe", "perf"):
        return False
    return line["probe"] not in probes if probe == "other tests" else bool(line["probe"] == probe)


def test_every_number_of_the_matrix_is_that_of_the_lines(parsed: Parsed, lines: list[dict[str, Any]]) -> None:
    probes = {line["probe"] for line in lines if line["class"] not in ("skipped", "invalid", "set-up-failed")}
    seen = set()
    for number in parsed.numbers:
        row, probe, stat = number["data-row"], number["data-probe"], number["data-stat"]
        if row == "*" or stat == "value":
            continue
        assert (row, probe, stat) not in seen
        seen.add((row, probe, stat))
        cell = [line for line in lines if in_cell(line, row, probe, probes)]
        match stat:
            case "measured":
                assert number["data-value"] == number["text"] == again(number["data-how"], cell)
            case "promised":
                promises = {line["promised"] for line in cell if line["promised"] is not None}
                low_high = [f"{each:g}" if not isinstance(each, str) else each for each in
                            (min(promises), max(promises))]  # fmt: skip
                assert number["data-value"] == "–".join(dict.fromkeys(low_high))
            case "paper":
                assert number["data-value"] in {str(line["paper"]["value"]) for line in cell if line["paper"]}
            case "samples":
                counted = [line for line in cell if line["value"] is not None]
                assert number["data-value"] == str(len(flat(counted)))
    rows = {row_of(line) for line in lines}
    assert {row for row, _, stat in seen if stat == "measured"} == rows
    assert len(seen) == 19


def test_every_value_that_a_line_measured_is_on_the_page(parsed: Parsed, lines: list[dict[str, Any]]) -> None:
    shown = {
        (number["data-row"], number["data-probe"], int(number["data-order"])): number["data-value"]
        for number in parsed.numbers
        if number["data-stat"] == "value"
    }
    expected = {
        (row_of(line), line["probe"], line["order"]): line["value"]
        for line in lines
        if line["value"] is not None
    }
    assert shown.keys() == expected.keys()
    for key, value in expected.items():
        assert (shown[key] if isinstance(value, str) else json.loads(shown[key])) == value


def test_the_counts_on_top_are_those_of_the_lines(parsed: Parsed, lines: list[dict[str, Any]]) -> None:
    top = {each["data-stat"]: int(each["text"]) for each in parsed.numbers if each["data-row"] == "*"}
    verdicts = {line["verdict"] for line in lines}
    expected = {verdict: sum(line["verdict"] == verdict for line in lines) for verdict in verdicts}
    assert top == {**expected, "lines": len(lines)}


def test_the_page_fetches_nothing(run: RunFolder, parsed: Parsed) -> None:
    text = run.page.read_text()
    for sign in ("http:", "https:", "//cdn", "@import", "url("):
        assert sign not in text
    assert not [tag for tag, _ in parsed.tags if tag in ("script", "img", "iframe", "object")]
    links = [each["href"] for tag, each in parsed.tags if tag in ("a", "link")]
    anchors = {each["id"] for _, each in parsed.tags if "id" in each}
    for link in links:
        assert (
            link == "data:," or link == "results.jsonl" or link.startswith("evidence/") or link[1:] in anchors
        )
    assert "evidence/mtu%201.pcap" in links


def test_what_probes_say_is_text_not_markup(run: RunFolder, parsed: Parsed) -> None:
    assert "<script" not in run.page.read_text()
    assert "last seen: <script>alert(1)</script>" in parsed.text
    assert "barge3/<b>db</b>" in parsed.text


def test_skipped_rows_have_reason_and_remedy(parsed: Parsed) -> None:
    assert "NeoRouter's packages are not here" in parsed.text
    assert "Remedy: put its two .deb files beside needs.toml" in " ".join(parsed.text.split())


def test_commands_are_a_lab_sheet(parsed: Parsed) -> None:
    text = " ".join(parsed.text.split())
    assert "barge1# ip route" in text
    assert "default via <x>" in text
    assert "barge1# wg set wg0 private-key $WG_KEY_BARGE1 'a b' 12 ms, status 1" in text
    assert "Other commands Commands: harness (1)" in text


def test_verdicts_are_signs_and_words_not_only_colours(parsed: Parsed) -> None:
    for sign, word in (
        ("✔", "passed"),
        ("✘", "failed"),
        ("–", "skipped"),
        ("?", "unresolved"),
        ("!", "invalid"),
    ):
        assert sign in parsed.text
        assert word in parsed.text


def test_the_page_of_an_empty_run_says_so() -> None:
    assert "no scenario was run" in Parsed(page([], [], "the-run")).text


def test_a_row_of_one_line_without_nodes_is_a_page() -> None:
    text = Parsed(page([result(nodes=(), placement={})], [], "the-run", ["results.gw0.jsonl:3: torn"])).text
    assert "results.gw0.jsonl:3: torn" in text


def test_publishing_again_changes_nothing(run: RunFolder) -> None:
    before = (run.page.read_text(), run.results.read_text(), run.summary.read_text())
    publish(run)
    assert (run.page.read_text(), run.results.read_text(), run.summary.read_text()) == before
    assert run.latest.resolve() == run.path


def test_another_kernel_is_named() -> None:
    """Symptom: a row of VMs with their own WireGuard stands under the host's kernel, which has none."""
    same = tuple(NodeInfo(name="barge1", kernel="6.18.0") for _ in range(3))
    other = tuple(NodeInfo(name=name, kernel="6.1.0-cloud") for name in ("barge1", "barge2"))
    lines = [result(1, nodes=same), result(2, provider="vagrant", nodes=other)]
    text = Parsed(page(lines, [], "20260102T030405Z-0a1b2c")).text
    assert text.count("Its nodes run on Linux") == 1
    assert "Its nodes run on Linux 6.1.0-cloud." in text
