"""What is asked of an engine that may miss its store: networks made and removed, containers started.

Where a network's last container on a node goes, Docker 20.10 sends the thread that watched the network's
hidden namespace back to work, still in that namespace (libnetwork's `watchMiss`). What the engine does on
that thread from then on sees another network: a store on 127.0.0.1 is refused, or is said to hold no such
network. `ls -l /proc/$(pidof dockerd)/task/*/ns/net` shows such a thread. Seen in one of forty starts on
networks that come and go, on a busy machine. The engine itself does not ask again, and what it had written
by then it leaves in the store, so whoever asks again has to clear that first.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence

from fixtures.command import NodeError
from fixtures.node import Node
from fixtures.waiting import NotYet, limit, wait_for

# What an engine says for a moment: its store is not reached, or does not hold what another engine put there;
# or, in a Swarm, its manager has not answered for 20 s.
MISSED = re.compile(
    r"dial tcp \S+: connect: (?:connection refused|network is unreachable)"
    r"|failed to get network from store"
    r"|attaching to network failed, .*: context deadline exceeded"
)
# What it says after that, where it could not take back what it had begun.
LEFT = re.compile(r"(?:endpoint|network) with name \S+ already exists")
GONE = "No such network"
NETWORK = "--network="


def run_container(node: Node, name: str, *words: str, within: float = 0.0) -> None:
    """Start a container; again where the engine missed its store. `words` are those of `docker run`.

    `within` is how many seconds it may take to be asked again, if not those of an overlay.
    """

    def clear() -> None:
        node.run(["docker", "rm", "-f", name], check=False)
        for word in words:
            if word.startswith(NETWORK):
                _forget(node, word.removeprefix(NETWORK), name)

    _insist(node, f"{name} to start", ["docker", "run", "-d", "--name", name, *words], clear, within)


def remove_container(node: Node, name: str, network: str) -> None:
    """Remove a container, and its endpoint on `network` where the engine missed its store meanwhile."""
    node.run(["docker", "rm", "-f", name])
    if name in _without_container(node, network):
        _forget(node, network, name)


def make_network(node: Node, name: str, *flags: str) -> None:
    """Make an overlay network; again where the engine missed its store."""

    def clear() -> None:
        node.run(["docker", "network", "rm", name], check=False)

    argv = ["docker", "network", "create", "--driver=overlay", *flags, name]
    _insist(node, f"network {name} to be made", argv, clear)


def remove_network(node: Node, name: str) -> None:
    """Remove a network that no container is on.

    An engine may hear a moment late that another's last container on it went, and never, where that other
    missed the store: such an endpoint is put off by its name. It may also miss the store half-way: then the
    network is gone when it is asked again.
    """
    half_way = False

    def removed() -> None:
        nonlocal half_way
        done = node.run(["docker", "network", "rm", name], check=False)
        if done.status == 0 or (half_way and GONE in done.err):
            return
        half_way = half_way or MISSED.search(done.err) is not None
        for left in _without_container(node, name):
            _forget(node, name, left)
        raise NotYet(done.err.strip())

    look = f"./lab exec {node} -- docker network inspect {name}"
    wait_for(f"{name} to be removed", removed, within=limit("overlay"), look=look)


def has_network(node: Node, network: str) -> None:
    """Raise NotYet until the engine of `node` has `network`."""
    names = node.run(["docker", "network", "ls", "--format", "{{.Name}}"], quiet=True).out.split()
    if network not in names:
        raise NotYet(f"networks {', '.join(names)}")


def _insist(
    node: Node, what: str, argv: Sequence[str], clear: Callable[[], None], within: float = 0.0
) -> None:
    """Run `argv` until it is done, or refused for what does not pass; `clear` removes what a miss left."""
    missed = False  # before that, what exists already is somebody else's

    def done() -> None:
        nonlocal missed
        answer = node.run(argv, check=False)
        if answer.status == 0:
            return
        said = answer.err.strip()
        if not (MISSED.search(said) or (missed and LEFT.search(said))):
            raise NodeError(f"{node}: no use to wait for {what}: {said}", "./lab logs NODE docker")
        missed = True
        clear()
        raise NotYet(said)

    wait_for(f"{what} on {node}", done, within=within or limit("overlay"))


def _without_container(node: Node, network: str) -> list[str]:
    """Return the names of the endpoints on `network` that are no container of this engine's."""
    known = node.run(["docker", "network", "inspect", network], check=False, quiet=True)
    if known.status != 0:
        return []
    rows = json.loads(known.out)[0]["Containers"] or {}
    return [row["Name"] for key, row in rows.items() if key.startswith("ep-")]


def _forget(node: Node, network: str, endpoint: str) -> None:
    node.run(["docker", "network", "disconnect", "--force", network, endpoint], check=False)
