"""Fixtures: networks of namespaces, each gone with its test."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.probes.nets import Net, routed


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    lacking = [tool for tool in ("ip", "unshare", "nsenter") if shutil.which(tool) is None]
    if os.geteuid() != 0 or lacking:
        why = f"needs {', '.join(lacking)}" if lacking else "needs root, to make network namespaces"
        for item in items:
            if here in item.path.parents:
                item.add_marker(pytest.mark.skip(reason=why))


@pytest.fixture
def net() -> Iterator[Net]:
    made = Net()
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def pair(net: Net) -> Net:
    """Two hosts and a router with an MTU of 1400 on the second leg; agents at a, b."""
    routed(net)
    net.start("a", "b")
    return net


@pytest.fixture(scope="module")
def healthy() -> Iterator[Net]:
    """The same as `pair`, shared by the tests of a module that change nothing."""
    made = Net()
    try:
        routed(made)
        made.start("a", "b")
        yield made
    finally:
        made.close()
