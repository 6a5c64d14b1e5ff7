"""`./lab test`: the gates, then every test, closing with pytest's own summary."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import click

from overlab.cli.running import run_here, run_pytest
from overlab.errors import FAILED
from overlab.paths import CHECKOUT

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
        _set_up("namespace", ())
        return _run("namespace", ["tests", "scenarios", "--costs", *marks])
    from reports.files import new_run_id

    together = f"--run={new_run_id()}"
    _set_up("namespace", TELLING)
    with boxes_meanwhile():
        here = _run("namespace", [*FOLDERS, "-m", "vm", together])
    if here:
        return here
    _set_up("vagrant", TELLING)
    # One after the other: machines that compute side by side on two processors only wait for each other.
    return _run("vagrant", [*FOLDERS, OURS, "-m", "vm", together])


@contextmanager
def boxes_meanwhile() -> Iterator[None]:
    """Build in the background what VMs of our own boot from, and wait for it at the end.

    It says nothing, lest two should write on one terminal: what is still missing afterwards is built then, or
    said then.
    """
    from fixtures.providers.vagrant.provider import VagrantProvider

    if not VagrantProvider().stand.embedded:
        yield
        return
    command = [sys.executable, "-m", "overlab", "vm-box", *TELLING]
    with subprocess.Popen(
        command, cwd=CHECKOUT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as child:
        try:
            yield
        except BaseException:
            child.terminate()
            raise
        if child.poll() is None:
            click.echo("waiting for the VMs' boxes", err=True)


def _set_up(name: str, scenarios: Sequence[str]) -> None:
    from fixtures.providers.catalogue import provider
    from overlab.cli.preparing import announce, choose, set_up

    kind = provider(name)
    kind.check()
    chosen = choose(scenarios, (), None)
    announce(kind, chosen)
    set_up(kind, chosen)


def _run(name: str, arguments: Sequence[str]) -> int:
    return run_pytest([*arguments, f"--provider={name}"])
