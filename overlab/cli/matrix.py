"""`./lab matrix`: the scenarios, side by side."""

from __future__ import annotations

import time

import click

from overlab.cli.choices import scenario_options
from overlab.cli.running import run_pytest


@click.command()
@click.argument("scenarios", nargs=-1, metavar="[SCENARIO...]")
@scenario_options
def matrix(scenarios: tuple[str, ...], given: tuple[str, ...], provider: str, engine: str | None) -> int:
    """Set up what is missing, run the scenarios, write the report, print the table.

    Without a SCENARIO, all of them.

    \b
    Example: sudo ./lab matrix wireguard -O wireguard.implementation=userspace
    """
    from fixtures.providers.catalogue import provider as provider_called
    from overlab.cli.preparing import announce, choose, launch_seconds, set_up

    started = time.monotonic()
    kind = provider_called(provider)
    chosen = choose(scenarios, given, engine)
    kind.check()
    announce(chosen)
    ledger = set_up(kind, chosen).ledger
    arguments = [f"scenarios/{overlay.topology.name}" for overlay in chosen]
    arguments += [f"-O{word}" for word in given]
    arguments += [f"--provider={provider}", *([f"--engine={engine}"] if engine else [])]
    status = run_pytest(arguments)
    fetched = ledger.seconds["download"]
    rest = time.monotonic() - started - fetched
    click.echo(f"time: downloads {launch_seconds() + fetched:.0f} s, the rest {rest:.0f} s", err=True)
    return status
