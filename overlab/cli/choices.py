"""What several verbs share: options, and how a name that is none is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from overlab.nearest import unknown

F = TypeVar("F", bound=Callable[..., Any])


class Named(click.Group):
    """Commands of one `kind`, in the order in which they were added; an unknown one gets the nearest."""

    def __init__(self, *args: Any, kind: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._kind = kind

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names as they were added."""
        return list(self.commands)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Refuse an unknown name with the nearest one."""
        if args and not args[0].startswith("-") and args[0] not in self.commands:
            what, remedy = unknown(self._kind, args[0], self.commands)
            raise click.UsageError(f"{what}; {remedy}", ctx)
        return super().resolve_command(ctx, args)


def lab_option(function: F) -> F:
    """Add `--lab ID`."""
    text = "The lab, where several are up: its id (./lab status) or its scenario."
    return click.option("--lab", "lab_id", metavar="ID", help=text)(function)


def scenario_options(function: F) -> F:
    """Add `-O`, `--provider`, `--inventory`, `--box` and `--engine`."""
    o_text = "Set a scenario's option; ./lab options lists them. May be repeated."
    engine = click.option("--engine", metavar="LINE", help="Docker Engine line: 20.10 or 26.1.")
    kind = click.option("--provider", default="namespace", show_default=True, metavar="NAME")
    given = click.option("-O", "given", multiple=True, metavar="SCENARIO.OPTION=VALUE", help=o_text)
    text = "Ansible inventory of the machines, for --provider inventory."
    where = click.option("--inventory", metavar="FILE", type=Path, help=text)
    box = click.option(
        "--box", default="debian", metavar="NAME", help="Box of --provider vagrant: debian, barge."
    )
    return given(kind(where(box(engine(function)))))
