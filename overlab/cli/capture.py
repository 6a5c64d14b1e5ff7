"""`./lab capture`: tcpdump on a node, as text on the terminal or as a pcap."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

import click

from overlab.cli.choices import lab_option
from overlab.cli.running import interrupts_are_the_childs, shell_status
from overlab.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fixtures.node import Node

CHUNK = 65536


@click.command()
@click.argument("node")
@click.argument("interface")
@click.argument("expression", nargs=-1, metavar="[FILTER...]")
@click.option("-w", "target", metavar="FILE", help="Write a pcap there; - is standard output.")
@click.option("-c", "count", type=click.IntRange(min=1), metavar="N", help="End after N packets.")
@lab_option
def capture(
    node: str,
    interface: str,
    expression: tuple[str, ...],
    target: str | None,
    count: int | None,
    lab_id: str | None,
) -> int:
    """Watch the packets of a node's interface until Ctrl-C.

    \b
    Example: sudo ./lab capture barge1 eth1 udp port 12345
             sudo ./lab capture barge1 eth1 -w - | wireshark -k -i -
    """
    from overlab.cli.finding import the_lab, the_node

    lab = the_lab(lab_id)
    on = the_node(lab, node)
    _check(on, interface, expression)
    limit = ["-c", str(count)] if count else []
    argv = ["tcpdump", "-n", "-i", interface, *limit]
    heard = on.apart_from_us(" ".join(expression))
    if target is None:
        with interrupts_are_the_childs():
            return shell_status(on.interactive([*argv, "-l", *heard]))
    if target == "-" and sys.stdout.isatty():
        raise UsageError("a pcap is not for a terminal", "pipe it, or name a file with -w FILE")
    with _open(target) as out:
        _pump(on, [*argv, "-U", "-s", "0", "-w", "-", *heard], out)
    return 0


def _check(node: Node, interface: str, expression: tuple[str, ...]) -> None:
    from overlab.nearest import unknown

    links = [str(row["ifname"]) for row in node.state("links")]
    if interface not in (*links, "any"):
        what, remedy = unknown("interface", interface, [*links, "any"])
        raise UsageError(f"{what} on {node}", remedy)
    said = node.run(["tcpdump", "-d", "-i", interface, *expression], check=False, quiet=True)
    if said.status != 0:
        told = said.err.strip().splitlines()[-1:]
        raise UsageError(f"tcpdump refuses {' '.join(expression)!r}: {' '.join(told)}", "see pcap-filter(7)")


@contextmanager
def _open(target: str) -> Iterator[IO[bytes]]:
    from reports.owner import give

    if target == "-":
        yield sys.stdout.buffer
        return
    try:
        with Path(target).open("wb") as file:
            give(Path(target))
            yield file
    except OSError as error:
        raise UsageError(f"{target} cannot be written ({error.strerror})", "name another file") from None


def _pump(node: Node, argv: list[str], out: IO[bytes]) -> None:
    """Copy tcpdump's output as it comes; Ctrl-C is the usual end."""
    process = node.popen(argv)
    try:
        while data := os.read(process.stdout.fileno(), CHUNK):
            out.write(data)
            out.flush()
    except KeyboardInterrupt:
        return
    finally:
        process.stop()
