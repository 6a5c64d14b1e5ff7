"""Fixtures: a place for labs of our own, and labs that many tests share.

A test leaves a shared lab as it found it; one that breaks something for good boots its own.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from fixtures.lab import Lab
from fixtures.node import Node
from fixtures.owning import Labs
from tests.provider.grounds import Ground, ground, small


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents and os.geteuid() != 0:
            item.add_marker(pytest.mark.skip(reason="needs root, to make namespaces"))


@pytest.fixture(scope="session")
def place() -> Iterator[Ground]:
    """Where labs are booted that only these tests see."""
    with ground() as made:
        yield made


@pytest.fixture(scope="session")
def bare(place: Ground) -> Iterator[Lab]:
    """Three nodes without engines: a, b, c."""
    with place.lab(small("a", "b", "c")) as lab:
        yield lab


@pytest.fixture
def node(bare: Lab) -> Node:
    """One node without an engine."""
    return bare.node("a")


@pytest.fixture(scope="session")
def engined(labs: Labs, place: Ground) -> Iterator[Lab]:
    """Two nodes with engines and the common images: a, b; booted as scenarios boot theirs."""
    lab = labs.boot(small("a", "b"))
    yield lab
    labs.end(lab)
