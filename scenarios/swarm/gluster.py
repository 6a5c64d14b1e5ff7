"""GlusterFS under the Swarm: one folder that is on every node, kept three times.

A pool of all nodes; the volume's three bricks are on the first three. `force`, because the bricks lie on the
nodes' root file systems.
"""

from __future__ import annotations

from collections.abc import Sequence

from fixtures.lab import Lab
from fixtures.node import Node
from fixtures.waiting import NotYet, limit, wait_for

VOLUME = "staging-gfs"
BRICK = "/gluster/shared_volume"
MOUNT = "/mnt"
REPLICAS = 3
PING_TIMEOUT = 3  # seconds; GlusterFS's own 42 is how long every write would stand still after a power loss
FOLDERS = (BRICK, "/var/log/glusterfs", "/run/gluster")


def build(lab: Lab, names: Sequence[str]) -> None:
    """Make the pool and the volume on `names`, the first of which asks the others; mount it on all."""
    first = lab.node(names[0])
    lab.each(_start)
    for name in names[1:]:
        first.run(["gluster", "peer", "probe", name])
    wait_for("the pool to be connected", lambda: _connected(first, len(names)), within=limit("members"))
    bricks = [f"{name}:{BRICK}" for name in names[:REPLICAS]]
    create = ["gluster", "volume", "create", VOLUME, "replica", str(REPLICAS), *bricks, "force"]
    first.run(["gluster", "--mode=script", *create[1:]])
    first.run(["gluster", "volume", "set", VOLUME, "network.ping-timeout", str(PING_TIMEOUT)])
    first.run(["gluster", "volume", "start", VOLUME])
    lab.each(lambda node: _mount(node, names[1] if node is first else names[0]))


def _start(node: Node) -> None:
    node.run(["mkdir", "-p", *FOLDERS])
    argv = ["glusterd", "--no-daemon", "--log-level", "WARNING"]
    node.service("glusterd", argv, ready=["test", "-S", "/var/run/glusterd.socket"])

    def answers() -> None:
        told = node.run(["gluster", "--timeout=5", "pool", "list"], check=False, quiet=True)
        if told.status != 0:
            raise NotYet((told.err or told.out).strip()[-200:])

    wait_for(f"glusterd on {node} to answer", answers, within=limit("members"))


def pool(node: Node) -> dict[str, str]:
    """Return the state of every member of the pool, by name; the asked one is `localhost`."""
    rows = [line.split() for line in node.run(["gluster", "pool", "list"], quiet=True).out.splitlines()[1:]]
    return {row[1]: row[2] for row in rows}


def _connected(node: Node, count: int) -> None:
    seen = pool(node)
    if [*seen.values()] != ["Connected"] * count:
        raise NotYet(str(seen))


def _mount(node: Node, backup: str) -> None:
    """Mount the volume now and at every boot, from the node itself, else from another.

    The paper names localhost as the backup of localhost, which helps nobody: ours is another node.
    """
    line = f"localhost:/{VOLUME} {MOUNT} glusterfs defaults,_netdev,backupvolfile-server={backup} 0 0"
    node.put("/etc/fstab", f"{line}\n")
    node.service("mnt", ["mount", MOUNT], oneshot=True, stop=["umount", "--lazy", MOUNT])


def mounted(node: Node) -> str:
    """Return the type of what is mounted, or nothing."""
    shown = node.run(["findmnt", "--noheadings", "--output=FSTYPE,SOURCE", MOUNT], check=False, quiet=True)
    return shown.out.strip()


def healed(node: Node) -> int:
    """Return how many entries wait to be healed; raises NotYet while a brick does not say."""
    shown = node.run(["gluster", "volume", "heal", VOLUME, "info"], check=False, quiet=True)
    counts = [
        line.partition(":")[2].strip() for line in shown.out.splitlines() if "Number of entries:" in line
    ]
    if shown.status != 0 or len(counts) != REPLICAS or not all(c.isdecimal() for c in counts):
        raise NotYet(f"heal info told {counts or (shown.out + shown.err).strip()[-200:]}")
    return sum(map(int, counts))


def wait_healed(node: Node) -> None:
    """Ask for the healing of what differs, and wait until nothing does."""

    def nothing_left() -> None:
        node.run(["gluster", "volume", "heal", VOLUME], check=False, quiet=True)
        if left := healed(node):
            raise NotYet(f"{left} entries wait to be healed")

    wait_for(f"{VOLUME} to be healed", nothing_left, within=limit("members"))
