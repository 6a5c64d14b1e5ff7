"""Fixtures of the recorder's tests."""

from __future__ import annotations

import pytest

from overlab.paths import CHECKOUT
from tests.reports.inner import Inner


@pytest.fixture
def inner(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Inner:
    monkeypatch.setenv("PYTHONPATH", str(CHECKOUT))
    for name in ("PYTEST_ADDOPTS", "PYTEST_XDIST_WORKER", "SUDO_UID", "SUDO_GID"):
        monkeypatch.delenv(name, raising=False)
    pytester.makeini("[pytest]\n")
    return Inner(pytester)
