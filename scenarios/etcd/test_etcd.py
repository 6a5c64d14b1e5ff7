"""Docker's overlay on etcd: the contract, and what the paper prints."""

from __future__ import annotations

from scenarios.contract import Contract


class TestContract(Contract):
    """What every overlay must show."""
