"""Only exact values of a paper are judged, and a wrong file is told in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from overlab.errors import UsageError
from overlab.model import Verdict
from reports.paper import Paper
from reports.schema import Value

GOOD = """
[[value]]
id = "mtu"
what = "MTU of wg0"
value = 1420
unit = "bytes"
source = "wireguard.txt:88"
kind = "exact"
probe = "mtu"

[[value]]
id = "gateway"
what = "the bridge's address"
value = "172.20.1.0"
source = "wireguard.txt:51"
kind = "differs"
reason = "the lab numbers its nodes otherwise"

[[value]]
id = "rtt"
what = "ping"
value = 0.41
unit = "ms"
source = "wireguard.txt:93"
kind = "context"
"""


def paper(folder: Path, text: str = GOOD) -> Paper:
    path = folder / "paper.toml"
    path.write_text(text)
    return Paper.read(path)


@pytest.mark.parametrize(
    ("measured", "verdict"),
    [
        (1420, Verdict.PASS),
        (1420.0, Verdict.PASS),
        ("1420", Verdict.PASS),
        ([1420, 1420], Verdict.PASS),
        (1419, Verdict.FAIL),
        ([1420, 1419], Verdict.FAIL),
        ([], Verdict.FAIL),
        (None, Verdict.FAIL),
    ],
)
def test_an_exact_value_is_judged(tmp_path: Path, measured: Value, verdict: Verdict) -> None:
    judged, said = paper(tmp_path).judge("mtu", measured, "bytes")
    assert judged is verdict
    assert (said.value, said.source) == (1420, "wireguard.txt:88")


@pytest.mark.parametrize("name", ["gateway", "rtt"])
def test_other_values_are_shown_and_not_judged(tmp_path: Path, name: str) -> None:
    judged, said = paper(tmp_path).judge(name, "something else")
    assert judged is None
    assert said.id == name


def test_units_are_not_mixed(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="'mtu' is in bytes, what was measured in bits"):
        paper(tmp_path).judge("mtu", 11360, "bits")


def test_an_unknown_id_names_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="'mut'; there are: mtu, gateway, rtt"):
        paper(tmp_path).get("mut")


ENTRY = '[[value]]\nid="a"\nwhat="w"\nvalue=1\nsource="f:1"\nkind="exact"\n'


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[[value]\n", "paper.toml: not TOML"),
        ("title = 'x'\n", "unknown key 'title'"),
        ("value = 3\n", r"write \[\[value\]\] with two brackets"),
        (ENTRY + ENTRY, r"\[\[value\]\] 2 \(id 'a'\): this id is used twice"),
        (ENTRY.replace('id="a"\n', ""), r"\[\[value\]\] 1: 'id' is missing"),
        (ENTRY + 'note="n"\n', r"\(id 'a'\): 'note' is not a known key"),
        (ENTRY.replace("f:1", "page 3"), "\\(id 'a'\\): 'source' is not of the form \"file:line\""),
        (ENTRY.replace("exact", "differs"), r"\(id 'a'\): kind 'differs' needs a reason"),
        (ENTRY.replace("exact", "roughly"), r"\(id 'a'\): 'kind': Input should be 'exact', 'differs' or"),
        (ENTRY.replace("=1\n", "=[1]\n"), r"\(id 'a'\): 'value': is neither a number nor a text"),
    ],
)
def test_a_wrong_file_is_told_in_one_line(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(UsageError, match=told) as caught:
        paper(tmp_path, text)
    assert str(tmp_path / "paper.toml") in str(caught.value)
    assert "\n" not in caught.value.what.replace("(at line", "")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no such file"):
        Paper.read(tmp_path / "paper.toml")
