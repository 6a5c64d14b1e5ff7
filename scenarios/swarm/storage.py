"""Another storage driver under one engine, as the paper tries it: btrfs in a file, through a loop device.

Loop devices are few, and the whole machine's. mount(8) sets one up that the kernel lets go with its mount, so
that none is left however the lab ends. A new data folder has no images: the old engine's go over as a tar.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median

from fixtures.command import NodeError
from fixtures.node import Node
from overlab.errors import NotHereError, OverlabError

DEFAULT = "overlay2"
SIZE = "4G"
FILE = (
    "/var/lib/docker/btrfs.img"  # beside the engine's own data: on the node's disk, not on its root overlay
)
DATA = "/var/lib/docker-btrfs"
TAR = "/var/lib/docker/images.tar"
SERVICE = "btrfs"
MOUNT = f"""\
[ -e /dev/loop-control ] || mknod /dev/loop-control c 10 237
for n in 0 1 2 3 4 5 6 7; do [ -e /dev/loop$n ] || mknod /dev/loop$n b 7 $n; done
mkdir -p {DATA}
mount -o loop {FILE} {DATA}
"""
STARTS = 5
WRITTEN_MB = 256


class NoDriverError(NotHereError):
    """This machine cannot give an engine that storage driver."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What an engine's storage driver is, and does: seconds to start a container, MB/s written in one."""

    driver: str
    backing: str
    start_s: float
    write_mb_s: float


def check(node: Node, driver: str) -> None:
    """Raise NoDriverError with the remedy where `driver` cannot be had."""
    if driver == "zfs" and not node.kernel_has("zfs"):
        raise NoDriverError("no zfs in this kernel", "use a machine with the zfs module and zfsutils-linux")
    if driver == "zfs":
        raise NoDriverError(
            "zfs pools are not made here", "its tools are not in Debian's main; see the lab sheet"
        )
    if driver == "btrfs" and "btrfs" not in node.get("/proc/filesystems"):
        raise NoDriverError("no btrfs in this kernel", "modprobe btrfs")


def use(node: Node, driver: str, flags: Sequence[str], images: Sequence[str] = ()) -> None:
    """Start the engine of `node` on `driver`, with `images` (all, if none is named) of its old one.

    Raises NoDriverError where the kernel has no such file system, or no loop device is free.
    """
    check(node, driver)
    named = images or [i.tags[0] for i in node.docker.images.list() if i.tags]
    node.run(["docker", "save", "--output", TAR, *named])
    node.run(["truncate", f"--size={SIZE}", FILE])
    node.run(["mkfs.btrfs", "--quiet", FILE])
    try:
        stop = ["umount", "--lazy", DATA]
        node.service(SERVICE, ["sh", "-ec", MOUNT], oneshot=True, stop=stop, before_engine=True)
    except OverlabError as error:
        node.run(["rm", "-f", FILE, TAR])
        raise NoDriverError(
            f"btrfs was not mounted: {error}", "free a loop device (losetup --list)"
        ) from None
    node.configure_engine([*flags, f"--data-root={DATA}"], driver)
    node.run(["docker", "load", "--quiet", "--input", TAR])
    node.run(["rm", "-f", TAR])


def leave(node: Node, flags: Sequence[str]) -> None:
    """Give the engine its own data back, and the loop device to the machine."""
    node.configure_engine(flags)
    node.stop_service(SERVICE)
    node.run(["rm", "-rf", FILE, DATA], check=False)


@contextmanager
def borrowed(node: Node, driver: str, flags: Sequence[str], images: Sequence[str]) -> Iterator[None]:
    """Let the engine of `node` be on another driver for a while."""
    use(node, driver, flags, images)
    try:
        yield
    finally:
        leave(node, flags)


def measure(node: Node, image: str) -> Measured:
    """Ask the engine for its driver; start some containers, and write into the layer of one."""
    info = node.docker.info()
    run = ["docker", "run", "--rm", "--network=none", image]
    starts = [node.run([*run, "true"]).duration for _ in range(STARTS)]
    told = node.run(
        [*run, "dd", "if=/dev/zero", "of=/written", "bs=1M", f"count={WRITTEN_MB}", "conv=fsync"]
    ).err
    copied = re.search(r"copied, ([\d.e+-]+) s", told)
    if not copied:
        raise NodeError(f"{node}: dd told no time: {told[-200:]}")
    status = dict(info["DriverStatus"] or [])
    backing = str(status.get("Backing Filesystem") or status.get("Btrfs") or status.get("Build Version", ""))
    return Measured(info["Driver"], backing, median(starts), WRITTEN_MB / float(copied[1]))
