"""`./lab test`: the gates, then every test, closing with pytest's own summary."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click

from overlab.cli.running import run_here, run_pytest
from overlab.errors import FAILED

GATES = (
    ("ruff check", ["ruff", "check", "."]),
    ("ruff format", ["ruff", "format", "--check", "."]),
    ("mypy", ["mypy", "."]),
)
TELLING = ("wireguard", "swarm")  # a VM's kernel has WireGuard and IPVS: the tests of the mark `vm`
FOLDERS = tuple(f"scenarios/{name}" for name in TELLING)
OURS = "tests/vagrant"  # namespaced nodes inside a VM


@click.command()
@click.option("--vm", is_flag=True, help="What a VM's kernel tells more of, on namespaced nodes and on VMs.")
@click.option("--soak", is_flag=True, help="With the long repetitions: kills, scale.")
def test(vm: bool, soak: bool) -> int:
    """Run the gates (ruff, mypy), then all tests; the last line is pytest's summary.

    A gate that fails ends it, before anything is set up. With --vm, the tests of the mark `vm` run instead,
    on nodes of both kinds, and one page shows them side by side; and namespaced nodes inside a VM.

    \b
    Example: sudo ./lab test
    """
    for name, command in GATES:
        click.echo(f"gate: {name}", err=True)
        if run_here([sys.executable, "-m", *command]) != 0:
            click.echo(f"lab: gate {name} failed; mend it, then ./lab test (no test was run)", err=True)
            return FAILED
    marks = [] if soak else ["-m", "not soak"]
    if not vm:
        return _run("namespace", (), ["tests", "scenarios", "--costs", *marks])
    from reports.files import new_run_id

    together = f"--run={new_run_id()}"
    here = _run("namespace", TELLING, [*FOLDERS, "-m", "vm", together])
    # One after the other: machines that compute side by side on two processors only wait for each other.
    return here or _run("vagrant", TELLING, [*FOLDERS, OURS, "-m", "vm", together])


def _run(name: str, scenarios: Sequence[str], arguments: Sequence[str]) -> int:
    from fixtures.providers.catalogue import provider
    from overlab.cli.preparing import announce, choose, set_up

    kind = provider(name)
    kind.check()
    chosen = choose(scenarios, (), None)
    announce(kind, chosen)
    set_up(kind, chosen)
    return run_pytest([*arguments, f"--provider={name}"])
