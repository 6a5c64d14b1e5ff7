"""`./lab up`, `status`, `ps`, `down`: labs that outlive the command that made them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from overlab.cli.choices import lab_option, scenario_options
from overlab.cli.finding import service_state
from overlab.errors import OverlabError

if TYPE_CHECKING:
    from fixtures.lab import Lab
    from fixtures.node import Node
    from fixtures.overlay import Overlay

FORMAT = "{{.Names}}\t{{.Image}}\t{{.Status}}\t{{.Ports}}"


@click.command()
@click.argument("scenario")
@scenario_options
@click.option("--bare", is_flag=True, help="Only the overlay and the paper's containers, no DockerCoins.")
def up(
    scenario: str,
    given: tuple[str, ...],
    provider: str,
    inventory: Path | None,
    box: str,
    engine: str | None,
    bare: bool,
) -> None:
    """Boot a scenario's lab, bring its overlay and application up, and leave it up.

    Ctrl-C on the way takes down what was up.

    \b
    Example: sudo ./lab up wireguard -O wireguard.implementation=userspace
    """
    from overlab.cli.preparing import announce, choose, machines, set_up

    kind = machines(provider, inventory, box)
    (overlay,) = choose([scenario], given, engine)
    kind.check()
    overlay.check_here(outside=kind.outside)
    announce(kind, [overlay])
    set_up(kind, [overlay])
    lab = kind.boot(overlay.topology, {"scenario": scenario, "options": list(given)})
    try:
        _fill(lab, overlay, bare)
        lab.detach()
    except BaseException:
        click.echo("lab: taking down what was up", err=True)
        lab.down()
        raise
    _next_steps(lab, overlay, bare)


def _fill(lab: Lab, overlay: Overlay, bare: bool) -> None:
    from fixtures.dockercoins import deploy

    click.echo(f"{lab.id}: {len(lab.nodes)} nodes are up", err=True)
    overlay.up(lab)
    overlay.populate(lab)
    lab.tell(overlay="up")
    click.echo("the overlay is up", err=True)
    if not bare:
        deploy(lab, overlay)
        click.echo("DockerCoins is up", err=True)


def _next_steps(lab: Lab, overlay: Overlay, bare: bool) -> None:
    from fixtures.dockercoins import PUBLISHED

    first = next(iter(lab.nodes))
    click.echo(f"\n{lab.id}")
    for node in lab.nodes.values():
        click.echo(f"  {node.name}  {node.address}")
    steps = [
        (f"./lab sh {first}", "a shell on a node"),
        ("./lab ps", "containers and services"),
        (f"./lab capture {first} {overlay.topology.interface}", "what goes over the wire"),
    ]
    if not bare:
        where = f"{overlay.placement['webui']}:{PUBLISHED['webui']}"
        steps.append((f"./lab forward {where}", "DockerCoins' page for your browser"))
    steps += [("./lab fault --help", "break it"), (f"./lab down {lab.id}", "end it")]
    click.echo("\nNext:")
    for command, why in steps:
        click.echo(f"  {command:<34} {why}")


@click.command()
@lab_option
def status(lab_id: str | None) -> None:
    """Show the labs that are up, with their nodes; pytest's own labs too.

    \b
    Example: sudo ./lab status
    """
    from fixtures.providers.namespace import registry
    from fixtures.store.cache import Cache
    from overlab.cli.finding import the_lab

    for each in registry.put_back(Cache.open()):
        click.echo(f"{each}  (its machines could not be put back; see left.txt in its folder)")
    up_now = registry.entries(Cache.open())
    ids = [the_lab(lab_id).id] if lab_id else [entry.id for entry in up_now]
    if not ids:
        click.echo("no lab is up; ./lab up SCENARIO boots one")
    for each in ids:
        try:
            lab = the_lab(each)
            told = lab.status()
        except OverlabError as error:  # others may boot and end theirs while we look
            click.echo(f"{each}  ({error.what})")
            continue
        owner = "kept until ./lab down" if told["kept"] else "owned by the command that booted it"
        click.echo(f"{lab.id}  ({lab.provider}, engine {lab.topology.engine}, {owner})")
        for node in told["nodes"]:
            click.echo(f"  {node['name']:<12} {node['address']:<18} {node['state']:<7} {_services(node)}")
        click.echo(f"  transcript: {lab.transcript.path}")


def _services(node: dict[str, Any]) -> str:
    return ", ".join(f"{row['name']} {service_state(row)}" for row in node["services"])


@click.command()
@lab_option
def ps(lab_id: str | None) -> None:
    """Show the services and containers of every node.

    \b
    Example: sudo ./lab ps
    """
    from concurrent.futures import ThreadPoolExecutor

    from overlab.cli.finding import the_lab

    lab = the_lab(lab_id)
    states = {node["name"]: node for node in lab.status()["nodes"]}
    running = [node for node in lab.nodes.values() if states[node.name]["state"] == "on"]
    with ThreadPoolExecutor(8) as pool:
        containers = dict(zip((n.name for n in running), pool.map(_containers, running), strict=True))
    rows = [("NODE", "NAME", "WHAT", "STATE", "PORTS")]
    for name, node in states.items():
        if name not in containers:
            rows.append((name, "", "", node["state"], ""))
        rows += [(name, row["name"], "(service)", service_state(row), "") for row in node["services"]]
        rows += [(name, *row) for row in containers.get(name, [])]
    widths = [max(len(row[i]) for row in rows) for i in range(5)]
    for row in rows:
        click.echo("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())


def _containers(node: Node) -> list[tuple[str, str, str, str]]:
    shown = node.run(["docker", "ps", "-a", "--format", FORMAT], quiet=True).out
    rows = [line.split("\t") for line in shown.splitlines()]
    return sorted((name, image, state, ports) for name, image, state, ports in rows)


@click.command()
@click.argument("lab", required=False)
@click.option("--all", "every", is_flag=True, help="Every lab that is up.")
def down(lab: str | None, every: bool) -> None:
    """End a lab: the one named (id or scenario), or the only one.

    \b
    Example: sudo ./lab down
    """
    from fixtures.providers.namespace import registry
    from fixtures.store.cache import Cache
    from overlab.cli.finding import the_lab

    ids = [entry.id for entry in registry.entries(Cache.open())] if every else [lab]
    for each in ids:
        found = the_lab(each)
        found.down()
        click.echo(f"{found.id} is down")
    if not ids:
        click.echo("no lab is up")
