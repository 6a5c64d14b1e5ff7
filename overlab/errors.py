"""Errors that people see: one line that says what is wrong, one that says the remedy."""

from __future__ import annotations

FAILED = 1
USAGE = 2
CANNOT_START = 3


class OverlabError(Exception):
    """A failure with a remedy. `status` is the exit status of `./lab` (see the README)."""

    status = FAILED

    def __init__(self, what: str, remedy: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.what}; {self.remedy}" if self.remedy else self.what


class UsageError(OverlabError):
    """The words of the call are wrong."""

    status = USAGE


class CannotStartError(OverlabError):
    """This machine, or this provider, cannot start at all."""

    status = CANNOT_START


class NotHereError(OverlabError):
    """What was asked cannot be done on machines of this kind: a test that asks is skipped by name."""

    status = CANNOT_START


class NotReadyError(OverlabError):
    """A wait ended: says what was awaited and what was last seen."""
