"""Finding scenarios: every folder with an `overlay.py` is one, wherever it lies."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType

from pydantic import ValidationError

from fixtures.overlay import Options, Overlay, UnderlayOptions
from overlab.errors import UsageError
from overlab.nearest import unknown
from overlab.paths import CHECKOUT, scenarios

Given = Mapping[str, Mapping[str, str]]
UNDERLAY = "underlay"  # its options are not a scenario's: they go with any


def parse_options(words: Sequence[str]) -> dict[str, dict[str, str]]:
    """Turn `scenario.option=value` words into {scenario: {option: value}}; raises UsageError."""
    given: dict[str, dict[str, str]] = {}
    for word in words:
        name, equals, value = word.partition("=")
        scenario, dot, option = name.partition(".")
        if not (equals and dot and option):
            raise UsageError(f"-O {word!r} is not of the form scenario.option=value", "see ./lab options")
        given.setdefault(scenario, {})[option] = value
    return given


def folder_of(scenario: str) -> Path:
    """Return the folder of a scenario of this checkout; raises UsageError with the nearest name."""
    if scenario not in scenarios():
        raise UsageError(*unknown("scenario", scenario, scenarios()))
    return CHECKOUT / "scenarios" / scenario


def load_class(folder: Path) -> type[Overlay]:
    """Return the overlay class of the scenario in `folder`."""
    module = _module(folder / "overlay.py")
    overlay: type[Overlay] = module.OVERLAY
    return overlay


def load(folder: Path, given: Given) -> Overlay:
    """Return the overlay of the scenario in `folder`, with the options given for it and for the underlay."""
    kind = load_class(folder)
    overlay = kind(_validated(folder.name, kind.options_type, given))
    under = _validated(UNDERLAY, UnderlayOptions, given)
    assert isinstance(under, UnderlayOptions)
    overlay.underlay_options = under
    return overlay


def _validated(name: str, kind: type[Options], given: Given) -> Options:
    options = given.get(name, {})
    for option in options:
        if option not in kind.model_fields:
            raise UsageError(*unknown(f"option of {name}", option, kind.model_fields))
    try:
        return kind.model_validate(options)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        what = f"-O {name}.{first['loc'][0]}={first['input']}: {first['msg']}"
        raise UsageError(what, "see ./lab options") from None


def check_options(given: Given) -> None:
    """Refuse options of scenarios that do not exist, or that they do not have."""
    _validated(UNDERLAY, UnderlayOptions, given)
    for scenario in given:
        if scenario != UNDERLAY:
            load(folder_of(scenario), given)


def _module(path: Path) -> ModuleType:
    inside = path.is_relative_to(CHECKOUT)
    name = (
        ".".join(path.relative_to(CHECKOUT).with_suffix("").parts)
        if inside
        else f"dropped.{path.parent.name}"
    )
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise UsageError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module
