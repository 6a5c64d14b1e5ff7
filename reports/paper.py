"""What the papers say: a scenario's `paper.toml`, and the judgement of a measured value by it."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from overlab.errors import UsageError
from overlab.model import Verdict
from reports.schema import PaperKind, PaperValue, Value


class Paper:
    """The values of one `paper.toml`, by id."""

    def __init__(self, path: Path, values: dict[str, PaperValue]) -> None:
        self.path = path
        self.values = values

    @classmethod
    def read(cls, path: Path) -> Paper:
        """Read a file; UsageError says in one line which file, which entry, and what is wrong."""
        try:
            document = tomllib.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise UsageError(
                f"{path}: there is no such file", "a scenario keeps its paper's values in it"
            ) from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise UsageError(f"{path}: not TOML: {error}") from error
        entries = document.pop("value", [])
        if document:
            raise UsageError(f"{path}: unknown key {min(document)!r}", "all it holds is [[value]] entries")
        if not isinstance(entries, list):
            raise UsageError(f"{path}: 'value' is not a list", "write [[value]] with two brackets")
        values: dict[str, PaperValue] = {}
        for number, entry in enumerate(entries, start=1):
            value = _entry(path, number, entry)
            if value.id in values:
                raise UsageError(f"{path}: {_name(number, entry)}: this id is used twice")
            values[value.id] = value
        return cls(path, values)

    def get(self, id: str) -> PaperValue:  # noqa: A002 (it is the word of the file)
        """Return the value called `id`; UsageError names the ones there are."""
        try:
            return self.values[id]
        except KeyError:
            known = ", ".join(self.values) or "none"
            raise UsageError(f"{self.path}: no [[value]] with id {id!r}", f"there are: {known}") from None

    def judge(self, id: str, measured: Value, unit: str = "") -> tuple[Verdict | None, PaperValue]:  # noqa: A002
        """Return (pass or fail, the paper's value); None instead of a verdict unless its kind is exact.

        `unit` is the measured value's: a comparison of different units is a UsageError.
        """
        value = self.get(id)
        if value.kind is not PaperKind.EXACT:
            return None, value
        if unit and value.unit and unit != value.unit:
            raise UsageError(f"{self.path}: {id!r} is in {value.unit}, what was measured in {unit}")
        return (Verdict.PASS if _equal(measured, value.value) else Verdict.FAIL), value


def _equal(measured: Value, said: float | str) -> bool:
    if isinstance(measured, list):
        return bool(measured) and all(_equal(sample, said) for sample in measured)
    if isinstance(measured, str) or isinstance(said, str):
        return measured is not None and str(measured).strip() == str(said).strip()
    return measured == said


def _name(number: int, entry: object) -> str:
    label = entry.get("id") if isinstance(entry, dict) else None
    return f"[[value]] {number} (id {label!r})" if label else f"[[value]] {number}"


def _entry(path: Path, number: int, entry: Any) -> PaperValue:
    try:
        return PaperValue.model_validate(entry)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        # A union reports its first branch; the field is the first part of the place.
        field = str(first["loc"][0]) if first["loc"] else ""
        told = _told(first["type"], field, first["msg"])
        raise UsageError(f"{path}: {_name(number, entry)}: {told}") from error


def _told(kind: str, field: str, message: str) -> str:
    match kind:
        case "missing":
            return f"{field!r} is missing"
        case "extra_forbidden":
            return f"{field!r} is not a known key"
        case "string_pattern_mismatch" if field == "source":
            return "'source' is not of the form \"file:line\""
    told = message.removeprefix("Value error, ")
    if field == "value":
        told = "is neither a number nor a text"
    return f"{field!r}: {told}" if field else told
