"""`./lab matrix`: the scenarios, side by side."""

from __future__ import annotations

import time
from pathlib import Path

import click

from overlab.cli.choices import scenario_options
from overlab.cli.running import run_pytest


@click.command()
@click.argument("scenarios", nargs=-1, metavar="[SCENARIO...]")
@scenario_options
@click.option("--validation", is_flag=True, help="With the long validations of scenarios that have one.")
def matrix(
    scenarios: tuple[str, ...],
    given: tuple[str, ...],
    provider: str,
    inventory: Path | None,
    box: str,
    engine: str | None,
    validation: bool,
) -> int:
    """Set up what is missing, run the scenarios, write the report, print the table.

    Without a SCENARIO, all of them; without --validation, only what makes the table.

    \b
    Example: sudo ./lab matrix wireguard -O wireguard.implementation=userspace
    """
    from overlab.cli.preparing import announce, choose, launch_seconds, machines, set_up

    started = time.monotonic()
    kind = machines(provider, inventory, box)
    chosen = choose(scenarios, given, engine)
    kind.check()
    announce(kind, chosen)
    ledger = set_up(kind, chosen).ledger
    arguments = [f"scenarios/{overlay.topology.name}" for overlay in chosen]
    arguments += ["--costs", *(f"-O{word}" for word in given)]
    arguments += [f"--provider={provider}", *([f"--engine={engine}"] if engine else [])]
    arguments += [f"--box={box}", *([f"--inventory={inventory.absolute()}"] if inventory else [])]
    arguments += [] if validation else ["-m", "not validation"]
    status = run_pytest(arguments)
    fetched = ledger.seconds["download"]
    rest = time.monotonic() - started - fetched
    click.echo(f"time: downloads {launch_seconds() + fetched:.0f} s, the rest {rest:.0f} s", err=True)
    return status
