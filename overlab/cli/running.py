"""Running something on this terminal: pytest, a gate, a shell on a node."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

import click

from overlab.errors import FAILED, USAGE
from overlab.paths import CHECKOUT

# pytest's own statuses -> ours; what is not here stays as it is. 2 is a collection that broke.
STATUSES = {2: FAILED, 4: USAGE, 5: USAGE}
NO_TESTS = 5


@contextmanager
def interrupts_are_the_childs() -> Iterator[list[int]]:
    """Leave Ctrl-C to the process on the terminal, and note it. (SIG_IGN would be inherited, this is not.)"""
    noted: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: noted.append(number))
    try:
        yield noted
    finally:
        signal.signal(signal.SIGINT, before)


def shell_status(returncode: int) -> int:
    """Return a status as shells say it: 128 + N for a process that signal N ended."""
    return 128 - returncode if returncode < 0 else returncode


def run_here(command: Sequence[str]) -> int:
    """Run `command` in the checkout, on this terminal; TERM is passed on to it.

    Raises KeyboardInterrupt when Ctrl-C ended it, whatever status it made of that.
    """
    with subprocess.Popen(command, cwd=CHECKOUT) as child:

        def pass_on(number: int, frame: FrameType | None) -> None:
            child.send_signal(number)

        before = signal.signal(signal.SIGTERM, pass_on)
        try:
            with interrupts_are_the_childs() as noted:
                status = shell_status(child.wait())
        finally:
            signal.signal(signal.SIGTERM, before)
    if noted and status != 0:
        raise KeyboardInterrupt
    return status


def run_pytest(arguments: Sequence[str], run: Callable[[Sequence[str]], int] = run_here) -> int:
    """Run pytest in a process of its own; return the exit status of `./lab`."""
    status = run([sys.executable, "-m", "pytest", *arguments])
    if status == NO_TESTS:
        click.echo("lab: no test was selected; see ./lab pytest -- --collect-only -q", err=True)
    return STATUSES.get(status, status)


@click.command(
    "pytest", context_settings={"ignore_unknown_options": True, "help_option_names": ["-h", "--help"]}
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def pytest_(arguments: tuple[str, ...]) -> int:
    """Run pytest in the prepared environment.

    \b
    Example: ./lab pytest -- scenarios/ -k wireguard --keep
    """
    return run_pytest(arguments)
