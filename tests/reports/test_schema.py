"""A result line says exactly what the schema has, and comes back as it was."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

from reports.schema import PaperKind, PaperValue, Result
from tests.reports.samples import PAPER_MTU, a_night, result

FIELDS = [
    *("schema", "run_id", "git", "time", "host", "capabilities", "provider", "engine", "scenario", "variant"),
    *(
        "overlay",
        "underlay",
        "placement",
        "nodes",
        "phase",
        "probe",
        "src",
        "dst",
        "attempt",
        "block",
        "order",
    ),
    *("seed", "value", "unit", "promised", "paper", "verdict", "class", "reason", "evidence", "duration_ms"),
]


def test_a_line_has_exactly_the_agreed_fields() -> None:
    assert list(json.loads(result().line())) == FIELDS


@pytest.mark.parametrize("value", [1420, 0.5, "1420", "proxy-arp", [1, 2.5, 3], None])
def test_a_value_comes_back_as_it_was(value: Any) -> None:
    back = Result.parse(result(value=value).line())
    assert back.value == value
    assert type(back.value) is type(value)


def test_every_sort_of_line_comes_back_equal() -> None:
    for line in a_night():
        assert Result.parse(line.line()) == line


def test_a_line_is_one_line_whatever_is_in_it() -> None:
    assert "\n" not in result(reason="two\nlines\u2028three").line().replace("\u2028", "")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"colour": "red"}, "colour"),
        ({"verdict": "maybe"}, "verdict"),
        ({"schema": 2}, "schema 2"),
        ({"value": True}, "value"),
        ({"time": "2026-01-02T03:04:05"}, "time"),
        ({"attempt": 0}, "attempt"),
        ({"host": {"kernel": "6", "colour": "red"}}, "host.colour"),
    ],
)
def test_what_the_schema_does_not_know_is_refused(change: dict[str, Any], named: str) -> None:
    data = {**json.loads(result().line()), **change}
    with pytest.raises(ValidationError, match=named.replace(".", r"\.")):
        Result.parse(json.dumps(data))


def test_a_missing_verdict_is_refused() -> None:
    data = json.loads(result().line())
    del data["verdict"]
    with pytest.raises(ValidationError, match="verdict"):
        Result.parse(json.dumps(data))


def test_no_value_is_not_a_number() -> None:
    with pytest.raises(ValidationError):
        result(value=float("nan"))


def test_a_value_that_differs_says_why() -> None:
    with pytest.raises(ValidationError, match="needs a reason"):
        PaperValue.model_validate({**PAPER_MTU.model_dump(), "kind": PaperKind.DIFFERS})
