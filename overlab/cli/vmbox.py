"""`./lab vm-box`: the Debian box, for VMs where nothing can be downloaded."""

from __future__ import annotations

import click


@click.command("vm-box")
@click.argument("scenarios", nargs=-1, metavar="[SCENARIO...]")
def vm_box(scenarios: tuple[str, ...]) -> None:
    """Build the box that the scenarios' VMs boot from, out of Debian packages and our own images.

    Without a SCENARIO, one for each; what is built already is only named. A run builds it when it needs it.

    \b
    Example: sudo ./lab vm-box wireguard
    """
    from fixtures import setup
    from fixtures.providers.ssh.archive import archives_of
    from fixtures.providers.vagrant.box import ensure_box
    from fixtures.store.cache import Cache
    from fixtures.store.progress import Progress
    from overlab.cli.preparing import choose, machines

    machines("namespace", None, "debian").check()
    cache, progress = Cache.open(), Progress()
    for overlay in choose(scenarios, (), None):
        topology = overlay.topology
        archives = archives_of(cache, topology, setup.prepare(cache, topology, progress), progress)
        folder = ensure_box(cache, archives, topology, progress)
        click.echo(f"{topology.name}: {folder / 'lab.box'}")
