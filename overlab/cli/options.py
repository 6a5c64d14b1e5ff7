"""`./lab options`: what can be set with -O."""

from __future__ import annotations

import typing

import click


@click.command()
@click.argument("scenarios", nargs=-1, metavar="[SCENARIO...]")
def options(scenarios: tuple[str, ...]) -> None:
    """List the scenarios' options, with their defaults and what they mean.

    \b
    Example: ./lab options wireguard
    """
    from fixtures.overlay import UnderlayOptions
    from overlab import paths
    from scenarios.catalogue import UNDERLAY, folder_of, load_class

    for name in scenarios or (*paths.scenarios(), UNDERLAY):
        kind = UnderlayOptions if name == UNDERLAY else load_class(folder_of(name)).options_type
        fields = kind.model_fields
        if not fields:
            click.echo(f"{name} has no options")
        for option, field in fields.items():
            click.echo(f"{name}.{option}={field.default}  ({_kind(field.annotation)})")
            if field.description:
                click.echo(f"    {field.description}")


def _kind(annotation: object) -> str:
    """Return a type in people's words: its choices where it has some."""
    if typing.get_origin(annotation) is typing.Literal:
        return " | ".join(str(choice) for choice in typing.get_args(annotation))
    return getattr(annotation, "__name__", str(annotation))
