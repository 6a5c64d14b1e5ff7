"""The verbs of `./lab`, and how each of them ends: one line and an exit status, never a traceback.

Modules here import nothing heavy at their top: `./lab --help` reads all of them.
"""

from __future__ import annotations

import os
import sys

import click

from overlab.cli.capture import capture
from overlab.cli.choices import Named
from overlab.cli.clean import clean
from overlab.cli.doctor import doctor
from overlab.cli.fault import fault
from overlab.cli.forward import forward
from overlab.cli.gates import test
from overlab.cli.labs import down, ps, status, up
from overlab.cli.matrix import matrix
from overlab.cli.nodes import exec_, logs, sh
from overlab.cli.options import options
from overlab.cli.report import report
from overlab.cli.running import pytest_
from overlab.cli.vmbox import vm_box
from overlab.errors import FAILED, USAGE, OverlabError

INTERRUPTED = 130  # as shells say it: 128 + SIGINT


@click.group(
    cls=Named,
    kind="verb",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Each verb has --help with an example. Exit status: 0 done, 1 a check failed, 2 bad usage, "
    "3 this machine cannot start.",
)
def cli() -> None:
    """A multi-node laboratory for container overlay networks."""


for verb in (matrix, test, pytest_, up, status, ps, down, sh, exec_, logs, capture, forward, fault):
    cli.add_command(verb)
for verb in (doctor, options, report, vm_box, clean):
    cli.add_command(verb)


def main() -> None:
    """Run one verb and exit with its status."""
    sys.exit(_status_of(sys.argv[1:]))


def _status_of(words: list[str]) -> int:
    from overlab.cli.belongings import give_back

    try:
        found = cli.main(words, prog_name="./lab", standalone_mode=False)
        return found if isinstance(found, int) else 0
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return USAGE
    except click.UsageError as error:
        where = error.ctx.command_path if error.ctx else "./lab"
        return _told(f"{error.format_message()}; see {where} --help", USAGE)
    except (click.Abort, KeyboardInterrupt):
        return _told("interrupted", INTERRUPTED)
    except OverlabError as error:
        return _told(str(error), error.status)
    except BrokenPipeError:
        # Who read our output has gone; what is still buffered would complain at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except Exception as error:
        if os.environ.get("OVERLAB_TRACEBACK"):
            raise
        what = f"unexpected {type(error).__name__}: {error}"
        return _told(f"{what}; OVERLAB_TRACEBACK=1 ./lab {' '.join(words)} shows where", FAILED)
    finally:
        give_back()


def _told(line: str, status: int) -> int:
    click.echo(f"lab: {' '.join(line.split())}", err=True)
    return status
