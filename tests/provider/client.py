"""A client in a process of its own, to be killed: boots a lab, says so, and owns it until its input ends.

Run as `python -m tests.provider.client CACHE ORDERS [kept]`, ORDERS being what `Ground.write_orders` wrote.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from fixtures.providers.namespace import labs
from fixtures.providers.namespace.plan import Plan
from fixtures.store.cache import Cache


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> None:
    cache, orders = Cache(Path(sys.argv[1])), Path(sys.argv[2])
    topology = labs.topology_of(json.loads(orders.read_text()))
    say("booting")
    lab = labs.boot(cache, topology, Plan.read(orders.with_suffix(".plan")))
    try:
        if "kept" in sys.argv[3:]:
            lab.detach()
        say(f"up {lab.id}")
        sys.stdin.read()
    finally:
        if "kept" not in sys.argv[3:]:
            lab.down()


if __name__ == "__main__":
    main()
