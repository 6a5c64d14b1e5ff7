"""From a finding's evidence, which may hold anything, to what a result line may hold."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence, Set
from enum import Enum
from math import isfinite
from pathlib import Path
from typing import Any

from pydantic import JsonValue

from overlab.model import Secret
from reports.schema import Evidence

LONGEST_TEXT = 4000


def evidence_of(found: Mapping[str, Any], run: Path) -> Evidence:
    """Split evidence into files of the run (as paths inside its folder) and small data.

    A Path inside the run's folder is a file of the run, under any key, alone or in a list; a text
    is one when it names a file that exists there.
    """
    files: list[str] = []
    data: dict[str, JsonValue] = {}
    for key, value in found.items():
        paths = _files(value, run)
        if paths:
            files += paths
        else:
            data[str(key)] = jsonable(value)
    return Evidence(files=tuple(dict.fromkeys(files)), data=data)


def _files(value: object, run: Path) -> list[str]:
    if isinstance(value, Path) or (isinstance(value, str) and value.startswith(str(run))):
        path = Path(value)
        return [str(path.relative_to(run))] if path.is_relative_to(run) else []
    if isinstance(value, (list, tuple)) and value:
        found = [_files(each, run) for each in value]
        return [path for each in found for path in each] if all(found) else []
    return []


def jsonable(value: object) -> JsonValue:
    """Return plain JSON data. A Secret is its name, whatever it is wrapped in; long texts are cut."""
    # Secret first: it is a dataclass too, and must not be taken apart as one.
    if isinstance(value, Secret):
        return str(value)
    if value is None or isinstance(value, (bool, int)):
        return int(value) if isinstance(value, Enum) and not isinstance(value, bool) else value
    if isinstance(value, float):
        return value if isfinite(value) else str(value)
    if isinstance(value, Enum):
        return jsonable(value.value)
    if isinstance(value, str):
        return _short(value)
    if isinstance(value, (bytes, bytearray)):
        return _short(value.hex())
    return _composed(value)


def _composed(value: object) -> JsonValue:
    if isinstance(value, Mapping):
        return {str(key): jsonable(each) for key, each in value.items()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {each.name: jsonable(getattr(value, each.name)) for each in dataclasses.fields(value)}
    if isinstance(value, Set):
        return sorted((jsonable(each) for each in value), key=str)
    if isinstance(value, Sequence):
        return [jsonable(each) for each in value]
    return _short(str(value))


def _short(text: str) -> str:
    if len(text) <= LONGEST_TEXT:
        return text
    return f"{text[:LONGEST_TEXT]} … ({len(text) - LONGEST_TEXT} more characters)"
