"""Fixtures: a cache folder of a test's own, and a lab that was brought up from the command line."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.calling import call

SCENARIO = "wireguard"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    if os.geteuid() != 0:
        for item in items:
            if here in item.path.parents:
                item.add_marker(pytest.mark.skip(reason="needs root, to boot labs; run sudo ./lab test"))


@pytest.fixture
def empty_cache(tmp_path: Path) -> dict[str, str]:
    """Name an empty cache folder; labs of others are not seen from it."""
    return {"OVERLAB_CACHE": str(tmp_path / "cache")}


@pytest.fixture(scope="module")
def lab_id() -> Iterator[str]:
    """Bring a lab up, with the application, for all tests of a module."""
    done = call("up", SCENARIO)
    assert done.returncode == 0, done.stderr
    name = done.stdout.split()[0]
    try:
        yield name
    finally:
        call("down", name)
