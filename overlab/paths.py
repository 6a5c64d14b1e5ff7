"""Where things lie: the checkout, the cache, the folders of runs."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent


def cache_root() -> Path:
    """Return the one cache folder: `$OVERLAB_CACHE`, else the XDG cache of the calling user.

    Under sudo that is the cache of the user who called sudo, so that both ways share one.
    """
    named = os.environ.get("OVERLAB_CACHE")
    if named:
        return Path(named).absolute()
    xdg = os.environ.get("XDG_CACHE_HOME")
    if xdg:
        return Path(xdg).absolute() / "overlab"
    user = os.environ.get("SUDO_USER")
    home = Path(pwd.getpwnam(user).pw_dir) if user else Path.home()
    return home / ".cache" / "overlab"


def scenarios() -> list[str]:
    """Return the names of the scenarios of this checkout: folders that hold an `overlay.py`."""
    return sorted(p.parent.name for p in (CHECKOUT / "scenarios").glob("*/overlay.py"))
