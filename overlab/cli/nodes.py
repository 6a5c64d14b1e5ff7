"""`./lab sh`, `exec`, `logs`: a command on a node, or in one of its containers, on this terminal."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from overlab.cli.choices import lab_option
from overlab.cli.running import interrupts_are_the_childs, shell_status
from overlab.errors import UsageError

if TYPE_CHECKING:
    from fixtures.lab import Lab
    from fixtures.node import Node

# Images of a scenario's own may lack bash.
SHELL = ("sh", "-c", "command -v bash >/dev/null && exec bash; exec sh")


def _on_terminal(lab: Lab, node: Node, argv: Sequence[str]) -> int:
    """Run `argv` on `node` with this terminal; the transcript gets the command, not what it printed."""
    with interrupts_are_the_childs():
        status = shell_status(node.interactive(argv))
    lab.transcript.record(node.name, argv, status)
    return status


def _in_container(node: Node, name: str, argv: Sequence[str]) -> list[str]:
    from overlab.cli.finding import the_container

    terminal = ["-t"] if sys.stdin.isatty() and sys.stdout.isatty() else []
    return ["docker", "exec", "-i", *terminal, the_container(node, name), *argv]


@click.command()
@click.argument("node")
@click.argument("service", required=False)
@lab_option
def sh(node: str, service: str | None, lab_id: str | None) -> int:
    """Open a shell on a node, or in a container (SERVICE) of that node.

    \b
    Example: sudo ./lab sh barge1 worker
    """
    from overlab.cli.finding import the_lab, the_node

    lab = the_lab(lab_id)
    on = the_node(lab, node)
    return _on_terminal(lab, on, _in_container(on, service, SHELL) if service else SHELL)


@click.command("exec", context_settings={"allow_interspersed_args": False})
@lab_option
@click.argument("node")
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="[--service S] -- CMD...")
def exec_(node: str, words: tuple[str, ...], lab_id: str | None) -> int:
    """Run a command on a node, or in a container of it; its exit status is ours.

    \b
    Example: sudo ./lab exec barge1 -- ip route
             sudo ./lab exec barge1 --service worker -- ping -c1 hasher
    """
    from overlab.cli.finding import the_lab, the_node

    service, lab_id, argv = _split(words, lab_id)
    lab = the_lab(lab_id)
    on = the_node(lab, node)
    return _on_terminal(lab, on, _in_container(on, service, argv) if service else argv)


def _split(words: Sequence[str], lab_id: str | None) -> tuple[str | None, str | None, list[str]]:
    """Return service, lab and command; options end at the command, whose own are not ours."""
    service, rest = None, list(words)
    while rest and rest[0] in ("--service", "--lab"):
        if len(rest) < 2:
            raise UsageError(f"{rest[0]} names none", "./lab exec NODE --service S -- CMD...")
        if rest[0] == "--service":
            service = rest[1]
        else:
            lab_id = rest[1]
        rest = rest[2:]
    if rest[:1] == ["--"]:
        rest = rest[1:]
    if not rest:
        raise UsageError("no command to run", "./lab exec NODE -- CMD...; ./lab sh NODE is a shell")
    return service, lab_id, rest


@click.command()
@click.argument("node")
@click.argument("service", required=False)
@click.option("-f", "--follow", is_flag=True, help="Go on with what is logged from now on.")
@lab_option
def logs(node: str, service: str | None, follow: bool, lab_id: str | None) -> int:
    """Show a node's engine log, or that of a service or container (SERVICE).

    \b
    Example: sudo ./lab logs barge1 worker --follow
    """
    from overlab.cli.finding import container_names, service_states, the_lab, the_node
    from overlab.nearest import unknown

    lab = the_lab(lab_id)
    on = the_node(lab, node)
    services = service_states(on)
    wanted = service or "docker"
    if wanted in services:
        tail = ["tail", "-n", "+1", *(["-F"] if follow else [])]
        argv = [*tail, services[wanted]["log"]]
    else:
        containers = container_names(on, running=False)
        if wanted not in containers:
            what, remedy = unknown("service or container", wanted, [*services, *containers])
            raise UsageError(f"{what} on {on}", remedy)
        argv = ["docker", "logs", *(["-f"] if follow else []), wanted]
    with interrupts_are_the_childs():
        return shell_status(on.interactive(argv))
