"""The WireGuard bridge: the contract, the paper's own facts, and its ingredients taken away."""

from __future__ import annotations

from scenarios.contract import Contract


class TestContract(Contract):
    """What every overlay must show."""
