"""Under sudo, what we wrote in the checkout (bytecode, caches of the gates) goes back to its user."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from overlab.paths import CHECKOUT

NOT_OURS = {".git", ".venv"}


def give_back() -> None:
    """Give root's files in a checkout of the user behind sudo to that user."""
    from reports.owner import give, sudo_user

    user = sudo_user()
    if user is None or CHECKOUT.stat().st_uid != user[0]:
        return
    for place, folders, names in os.walk(CHECKOUT):
        folders[:] = [name for name in folders if name not in NOT_OURS]
        for path in (Path(place, name) for name in (*folders, *names)):
            with suppress(OSError):  # somebody else's run removed it
                if path.lstat().st_uid == 0:
                    give(path)
