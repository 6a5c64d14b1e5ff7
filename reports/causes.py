"""A failed set-up is one failure: who depended on it is invalid, and names the first cause."""

from __future__ import annotations

import pytest

INVALID = "invalid: set-up failed first: "
OUTCOMES = (pytest.fail.Exception, pytest.skip.Exception, pytest.xfail.Exception, pytest.exit.Exception)


def failed_first(cause: str) -> BaseException:
    """Return what to raise in the place of an error that another test has had already."""
    return pytest.skip.Exception(f"{INVALID}{cause}", _use_item_location=True)


def is_failed_first(error: BaseException) -> bool:
    """Return whether an error came from `failed_first`."""
    return isinstance(error, pytest.skip.Exception) and str(error.msg).startswith(INVALID)


def one_line(error: BaseException) -> str:
    """Return an error as one line: its first line that says something; its type where that helps."""
    text = str(getattr(error, "msg", None) or error)
    first = next((line.strip() for line in text.splitlines() if line.strip()), "")
    if not first:
        return type(error).__name__
    plain = isinstance(error, (AssertionError, *OUTCOMES)) or _speaks_for_itself(error)
    return first if plain else f"{type(error).__name__}: {first}"


def _speaks_for_itself(error: BaseException) -> bool:
    # Errors with `what` and `remedy` are written to be read by people as they are.
    return hasattr(error, "what") and hasattr(error, "remedy")


class FirstCauses:
    """Remembers, for each module, the set-up errors that were already reported.

    pytest keeps a failed fixture of a wide scope and raises its error again for each test that
    needs it: "the same way" is therefore the same error, or one with the same words.
    """

    def __init__(self) -> None:
        self._seen: dict[str, list[str]] = {}

    def seen_before(self, module: str, cause: str) -> bool:
        """Return whether a test of this module has failed for this cause; remember that one has now."""
        causes = self._seen.setdefault(module, [])
        if cause in causes:
            return True
        causes.append(cause)
        return False
