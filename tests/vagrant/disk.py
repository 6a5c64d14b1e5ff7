"""A disk with trees on it, made without a loop device: what a machine is to have, and cannot fetch."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path

from fixtures.providers.vagrant.box import MKFS
from fixtures.store.rootfs import OWN

# $1 the image, $2 its size, $3 a scratch folder; then pairs: a tree, and where it goes.
MAKE = f"""
set -e
image=$1 size=$2 scratch=$3
shift 3
mount -t tmpfs tmpfs "$scratch"
while [ $# -gt 0 ]; do
    mkdir -p "$scratch/$2"
    mount --bind "$1" "$scratch/$2"
    shift 2
done
truncate -s "$size" "$image"
{MKFS} "$scratch" "$image"
"""


def make_disk(image: Path, size: str, trees: Mapping[str, Path]) -> None:
    """Write an ext4 file system of `size` to `image`; `trees` are folders by their paths on it.

    Attributes are kept, the overlay file system's own among them.
    """
    scratch = image.with_suffix(".tree")
    scratch.mkdir()
    pairs = [str(word) for target, tree in trees.items() for word in (tree, target)]
    argv = [*OWN, "sh", "-c", MAKE, "make", str(image), size, str(scratch), *pairs]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    scratch.rmdir()
    assert done.returncode == 0, done.stderr[-500:]
