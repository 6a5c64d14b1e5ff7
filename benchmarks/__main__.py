"""Measure what the lab costs, and print the medians beside their limits.

    python -m benchmarks                 every figure, five times
    python -m benchmarks 3 bare -n 9     some, nine times
    python -m benchmarks --json out.json

A figure over its limit does not make the exit status one: the machine may be busy, which its load says.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
from collections import defaultdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.figures import FIGURES, LIMITS, Skipped
from benchmarks.grounds import Ground
from fixtures.plugin import alone_on_this_machine

QUIET = 1.0  # the load below which figures are to be trusted
WIDTH = 120
LARGE = {"50"}  # figures that are taken three times at most


def main() -> None:
    """Take the figures that were asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("figures", nargs="*", metavar="FIGURE", help=f"{', '.join(FIGURES)}; default all")
    parser.add_argument("-n", type=int, default=5, help="how often each is taken")
    parser.add_argument("--json", type=Path, help="write the values there too")
    args = parser.parse_args()
    if unknown := set(args.figures) - set(FIGURES):
        parser.error(f"no figure {', '.join(sorted(unknown))}; there are {', '.join(FIGURES)}")
    console = Console(highlight=False, width=WIDTH)
    ground = Ground.open()
    load = os.getloadavg()[0]
    values: dict[str, list[float]] = defaultdict(list)
    skipped: dict[str, str] = {}
    with alone_on_this_machine():
        for name in args.figures or FIGURES:
            for _ in range(min(args.n, 3) if name in LARGE else args.n):
                figure, produces = FIGURES[name]
                try:
                    for what, value in figure(ground).items():
                        values[what].append(value)
                except Skipped as reason:
                    skipped |= dict.fromkeys(produces, str(reason))
                    break
    console.print(table(values, skipped))
    busy = "" if load < QUIET else ": busy, so read the figures with care"
    console.print(f"load {load:.2f} on {os.cpu_count()} cores before{busy}")
    if args.json:
        args.json.write_text(json.dumps(as_data(values, skipped, load), indent=1) + "\n")


def verdict(name: str, median: float) -> str:
    """Return "ok", "over", or nothing for a figure without a limit."""
    most = LIMITS[name].most
    return "" if most is None else "ok" if median <= most else "over"


def table(values: dict[str, list[float]], skipped: dict[str, str]) -> Table:
    """Return the figures as people read them."""
    shown = Table()
    for column in ("figure", "median", "limit", "range", "runs", "verdict"):
        shown.add_column(column, no_wrap=True)
    for name, limit in LIMITS.items():
        if name in values:
            taken = values[name]
            median = statistics.median(taken)
            most = "" if limit.most is None else f"{limit.most:g} {limit.unit}"
            spread = f"{min(taken):.2f} – {max(taken):.2f}"
            shown.add_row(
                name, f"{median:.2f} {limit.unit}", most, spread, str(len(taken)), verdict(name, median)
            )
        elif name in skipped:
            shown.add_row(name, "", "", "", "0", f"skipped: {skipped[name]}")
    return shown


def as_data(values: dict[str, list[float]], skipped: dict[str, str], load: float) -> dict[str, object]:
    """Return the figures as other programs read them."""
    rows = [
        {
            "name": name,
            "unit": LIMITS[name].unit,
            "median": statistics.median(taken),
            "limit": LIMITS[name].most,
            "verdict": verdict(name, statistics.median(taken)),
            "values": taken,
        }
        for name, taken in values.items()
    ]
    return {"load": load, "cores": os.cpu_count(), "figures": rows, "skipped": skipped}


if __name__ == "__main__":
    main()
