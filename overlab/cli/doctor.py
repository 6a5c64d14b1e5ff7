"""`./lab doctor`: what this machine can run and why not the rest; with a lab up, what is wrong with it."""

from __future__ import annotations

import click

from overlab.cli.choices import lab_option
from overlab.errors import CANNOT_START, FAILED

SIGNS = {"ok": "✔", "bad": "✘", "note": "–"}


@click.command()
@click.argument("scenario", required=False)
@lab_option
def doctor(scenario: str | None, lab_id: str | None) -> int:
    """Look at this machine, and at the labs that are up; changes nothing.

    Status 3: no lab can start here. Status 1: a lab that is up is not well.

    \b
    Example: sudo ./lab doctor wireguard
    """
    from overlab.cli.checkup import Remark, of_labs, of_scenarios, of_this_machine

    def show(title: str, remarks: list[Remark]) -> bool:
        click.echo(title)
        for remark in remarks:
            remedy = f"; {remark.remedy}" if remark.remedy else ""
            click.echo(f"  {SIGNS[remark.sign]} {remark.what}{remedy}")
        return all(remark.sign != "bad" for remark in remarks)

    scenarios = of_scenarios(scenario)
    fit = show("This machine", of_this_machine())
    show("Scenarios", scenarios)
    well = show("Labs", of_labs(lab_id))
    if not fit:
        return CANNOT_START
    return 0 if well else FAILED
