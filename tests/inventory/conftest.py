"""Fixtures: three machines that the provider did not make, shared by the tests of this folder."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.inventory.machines import Machines, machines
from tests.inventory.owner import Owner, gone


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents and "three" in getattr(item, "fixturenames", ()):
            # Minutes each, and not run often enough yet to be trusted with every change.
            item.add_marker(pytest.mark.soak)


@pytest.fixture(scope="session")
def three() -> Iterator[Machines]:
    """Three machines; a test leaves them as it found them."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to make machines — run sudo ./lab test")
    if not shutil.which("ssh"):
        pytest.skip("needs an ssh client — apt-get install openssh-client")
    with machines() as made:
        yield made


@pytest.fixture
def owner(three: Machines) -> Iterator[Owner]:
    made = Owner(three)
    try:
        yield made
    finally:
        if made.process.poll() is None:
            made.process.kill()
            made.process.wait()
            gone(made.lab)
