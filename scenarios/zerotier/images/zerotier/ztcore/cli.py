"""zerotier-cli: `info`, `peers`, `listnetworks`, `join NETWORK`, `leave NETWORK`; -j gives JSON.

Where the node is a network controller also `create NETWORK JSON`, `members NETWORK`, `authorize NETWORK
ADDRESS`, `deauthorize NETWORK ADDRESS`, which zerotier-one has in its HTTP API.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from .control import ask
from .queries import lines


def main() -> None:
    """Ask the node of this container."""
    words = [word for word in sys.argv[1:] if word != "-j"]
    if not words:
        sys.exit((__doc__ or "").strip())
    home = Path(os.environ.get("ZT_HOME", "/var/lib/zerotier-one"))
    try:
        answer = ask(home, *words)
    except (OSError, LookupError) as error:
        sys.exit(f"zerotier-cli: {error}")
    print(json.dumps(answer, indent=1) if "-j" in sys.argv else "\n".join(lines(words[0], answer)))


if __name__ == "__main__":
    main()
