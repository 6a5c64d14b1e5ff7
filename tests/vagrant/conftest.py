"""What the tests that boot a VM of our own need."""

from __future__ import annotations

import os

import pytest

from fixtures.providers.vagrant.provider import VagrantProvider


@pytest.fixture(scope="module")
def emulated(pytestconfig: pytest.Config) -> None:
    """Skip, by name, where no VM of our own can be booted."""
    if pytestconfig.getoption("--provider") != "vagrant":
        pytest.skip("boots a VM — use ./lab test --vm")
    if os.geteuid() != 0:
        pytest.skip("needs root, to boot VMs — run sudo ./lab test --vm")
    if not VagrantProvider().stand.embedded:
        pytest.skip("is about VMs of our own — run it where vagrant is not installed")
