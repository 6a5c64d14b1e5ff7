"""`./lab fault`: break the underlay or a node on purpose, hold it, and heal it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any, TypeVar

import click

from overlab.cli.choices import Named, lab_option
from overlab.errors import OverlabError, UsageError

if TYPE_CHECKING:
    from fixtures.lab import Lab
    from fixtures.underlay import Fault

F = TypeVar("F", bound=Callable[..., Any])


@click.group(cls=Named, kind="fault")
def fault() -> None:
    """Break the underlay or a node; Ctrl-C, or the end of --seconds, heals it.

    \b
    Example: sudo ./lab fault loss 10 --seconds 30
    """


def _held(function: F) -> F:
    text = "Heal after so long; without it, at Ctrl-C."
    return lab_option(click.option("--seconds", type=click.FloatRange(min=0), help=text)(function))


def _hold(
    lab: Lab, broken: AbstractContextManager[Fault], seconds: float | None, *, counted: bool = False
) -> None:
    """Keep a fault in place until Ctrl-C, TERM, or `seconds` have passed; then heal it."""
    over = threading.Event()

    def end(number: int, frame: FrameType | None) -> None:
        over.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)  # from here on they heal; a second Ctrl-C does not cut that short
    try:
        with broken as in_place:
            how = "Ctrl-C heals it" if seconds is None else f"heals in {seconds:g} s"
            click.echo(f"{in_place.name}; {how}")
            over.wait(seconds)
            met = f" ({in_place.hits()} packets met it)" if counted else ""
    except (OSError, OverlabError):
        if lab.folder.exists():
            raise
        click.echo(f"{lab.id} is gone, and the fault with it", err=True)
        return
    click.echo(f"healed{met}")


@fault.command()
@click.argument("what", metavar="PROTOCOL[/PORT]")
@_held
def block(what: str, seconds: float | None, lab_id: str | None) -> None:
    """Drop udp or tcp to a port on the wires, or all of it.

    \b
    Example: sudo ./lab fault block udp/12345
    """
    from overlab.cli.finding import the_lab

    protocol, slash, port = what.partition("/")
    numbered = port.isdecimal() and 0 < int(port) < 65536
    if protocol not in ("udp", "tcp") or (slash and not numbered):
        raise UsageError(f"{what!r} is not PROTOCOL[/PORT]", "for example udp/12345, tcp/7946, or udp")
    lab = the_lab(lab_id)
    _hold(lab, lab.underlay.blocked(protocol, int(port) if slash else None), seconds, counted=True)


@fault.command()
@click.argument("nodes", nargs=-1, required=True, metavar="NODE...")
@_held
def partition(nodes: tuple[str, ...], seconds: float | None, lab_id: str | None) -> None:
    """Cut nodes off from all the others, and from each other.

    \b
    Example: sudo ./lab fault partition barge3
    """
    from overlab.cli.finding import the_lab, the_node

    lab = the_lab(lab_id)
    _hold(lab, lab.underlay.partition(*(the_node(lab, name) for name in nodes)), seconds, counted=True)


@fault.command()
@click.argument("nodes", nargs=-1, required=True, metavar="NODE...")
@_held
def nat(nodes: tuple[str, ...], seconds: float | None, lab_id: str | None) -> None:
    """Put nodes together behind one NAT; their own interfaces have other addresses meanwhile.

    \b
    Example: sudo ./lab fault nat node1
    """
    from overlab.cli.finding import the_lab, the_node

    lab = the_lab(lab_id)
    _hold(lab, lab.underlay.behind_nat(*(the_node(lab, name) for name in nodes)), seconds)


@fault.command()
@click.argument("percent", type=click.IntRange(1, 100))
@_held
def loss(percent: int, seconds: float | None, lab_id: str | None) -> None:
    """Lose PERCENT of the frames on the wires, at random.

    \b
    Example: sudo ./lab fault loss 10
    """
    from overlab.cli.finding import the_lab

    lab = the_lab(lab_id)
    _hold(lab, lab.underlay.loss(percent), seconds, counted=True)


@fault.command()
@click.argument("node")
@click.argument("size", type=click.IntRange(68, 65535), metavar="BYTES")
@click.option("--silent", is_flag=True, help="A black hole: larger packets vanish, and nobody is told.")
@_held
def mtu(node: str, size: int, silent: bool, seconds: float | None, lab_id: str | None) -> None:
    """Lower the underlay MTU of a node; its kernel knows, unless --silent.

    \b
    Example: sudo ./lab fault mtu barge2 1300 --silent
    """
    from overlab.cli.finding import the_lab, the_node

    lab = the_lab(lab_id)
    on = the_node(lab, node)
    lowered = lab.underlay.port_mtu if silent else lab.underlay.node_mtu
    _hold(lab, lowered(on, size), seconds, counted=silent)


@fault.command()
@click.argument("mbit", type=click.IntRange(1, 100_000))
@_held
def rate(mbit: int, seconds: float | None, lab_id: str | None) -> None:
    """Shape every node's wire to MBIT Mbit/s in each direction.

    \b
    Example: sudo ./lab fault rate 10
    """
    from overlab.cli.finding import the_lab

    lab = the_lab(lab_id)
    _hold(lab, lab.underlay.rate(mbit), seconds)


@fault.command()
@click.argument("node")
@_held
def pause(node: str, seconds: float | None, lab_id: str | None) -> None:
    """Freeze every process of a node.

    \b
    Example: sudo ./lab fault pause barge2 --seconds 20
    """
    from overlab.cli.finding import the_lab, the_node

    lab = the_lab(lab_id)
    on = the_node(lab, node)
    _hold(lab, _switched(f"{on} is frozen", on.pause, on.resume), seconds)


@fault.command()
@click.argument("node")
@_held
def off(node: str, seconds: float | None, lab_id: str | None) -> None:
    """Cut a node's power; healing boots it again.

    \b
    Example: sudo ./lab fault off barge2
    """
    from overlab.cli.finding import the_lab, the_node

    lab = the_lab(lab_id)
    on = the_node(lab, node)
    _hold(lab, _switched(f"{on} is off", on.power_off, on.power_on), seconds)


@contextmanager
def _switched(name: str, away: Callable[[], None], back: Callable[[], None]) -> Iterator[Fault]:
    from fixtures.underlay import Fault

    away()
    try:
        yield Fault(name, lambda: 0)
    finally:
        back()
