"""Under sudo, what is written in the checkout belongs to the user who typed sudo."""

from __future__ import annotations

import os
from pathlib import Path


def sudo_user() -> tuple[int, int] | None:
    """Return (uid, gid) of the user behind sudo, or None when nobody is to be given anything."""
    if os.geteuid() != 0:
        return None
    try:
        return int(os.environ["SUDO_UID"]), int(os.environ["SUDO_GID"])
    except (KeyError, ValueError):
        return None


def give(path: Path) -> None:
    """Give one file, folder or link (the link itself, never its target) to the user."""
    user = sudo_user()
    if user is not None:
        os.lchown(path, *user)


def give_tree(folder: Path) -> None:
    """Give a folder and all that is in it to the user; links are not followed."""
    if sudo_user() is None:
        return
    for place, folders, names in os.walk(folder, followlinks=False):
        give(Path(place))
        for name in (*folders, *names):
            give(Path(place, name))


def make_folder(folder: Path) -> Path:
    """Make a folder with the parents it lacks, each owned by the user; return it."""
    missing = [place for place in (folder, *folder.parents) if not place.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for place in missing:
        give(place)
    return folder
