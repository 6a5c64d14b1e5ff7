"""Run a node: `python -m ztcore [-pPORT]`. Its state is in /var/lib/zerotier-one, or where ZT_HOME says.

`python -m ztcore identity` makes the identity of a node there, and prints its public part.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from . import abi
from .control import Control
from .controller import FILE, Controller
from .node import Node
from .planet import new_identity
from .state import State

HOME = Path("/var/lib/zerotier-one")
PORT = 9993


def main() -> None:
    """See the module."""
    home = Path(os.environ.get("ZT_HOME", HOME))
    if sys.argv[1:] == ["identity"]:
        print(new_identity(abi.load(), home))
        return
    port = next((int(word[2:]) for word in sys.argv[1:] if word.startswith("-p")), PORT)
    node = Node(State(home), port)
    if (home / FILE).is_file():
        node.controller = Controller(node)
    node.control = Control(node)
    node.run()


if __name__ == "__main__":
    main()
