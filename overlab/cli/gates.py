"""`./lab test`: the gates, then every test, closing with pytest's own summary."""

from __future__ import annotations

import sys

import click

from overlab.cli.running import run_here, run_pytest
from overlab.errors import FAILED

GATES = (
    ("ruff check", ["ruff", "check", "."]),
    ("ruff format", ["ruff", "format", "--check", "."]),
    ("mypy", ["mypy", "."]),
)


@click.command()
@click.option("--vm", is_flag=True, help="Then the scenarios on real VMs too (provider vagrant).")
@click.option("--soak", is_flag=True, help="With the long repetitions: kills, scale.")
def test(vm: bool, soak: bool) -> int:
    """Run the gates (ruff, mypy), then all tests; the last line is pytest's summary.

    A gate that fails ends it, before anything is set up.

    \b
    Example: sudo ./lab test
    """
    from fixtures.providers.catalogue import provider
    from overlab.cli.preparing import announce, choose, set_up

    machines = provider("vagrant") if vm else None
    if machines is not None:
        machines.check()
    for name, command in GATES:
        click.echo(f"gate: {name}", err=True)
        if run_here([sys.executable, "-m", *command]) != 0:
            click.echo(f"lab: gate {name} failed; mend it, then ./lab test (no test was run)", err=True)
            return FAILED
    kind = provider("namespace")
    kind.check()
    chosen = choose((), (), None)
    announce(kind, chosen)
    set_up(kind, chosen)
    marks = [] if soak else ["-m", "not soak"]
    status = run_pytest(["tests", "scenarios", *marks])
    if machines is not None and status == 0:
        # Where a VM shows what a namespaced node cannot: its kernel has more, and loads it.
        telling = [
            o for o in chosen if o.variant(machines.kernel_has) != o.variant(kind.kernel_has)
        ] or chosen
        folders = [f"scenarios/{overlay.topology.name}" for overlay in telling]
        set_up(machines, telling)
        status = run_pytest([*folders, "--provider=vagrant", *marks])
    return status
