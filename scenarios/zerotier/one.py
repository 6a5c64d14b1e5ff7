"""The real zerotier-one, which the user gives: a program, or an image saved by `docker save`.

It takes the place of our daemon's image on every node, under its name: the Compose files stay as they are.
"""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

from fixtures.node import Node
from overlab.errors import UsageError

IMAGE = "overlab/zerotier"
OTHER_NAMES = ("zerotier-cli", "zerotier-idtool")  # what the program does depends on how it is called
PLACE = "usr/bin"
LOGIN = 0o755


def check(path: str) -> None:
    """Refuse what is neither a program nor a saved image."""
    file = Path(path)
    if not file.is_file() or not (_is_program(file) or tarfile.is_tarfile(file)):
        raise UsageError(
            f"{path!r} is neither a program nor a saved image",
            "name zerotier-one itself, or what `docker save IMAGE -o FILE` wrote",
        )


def install(node: Node, path: str) -> None:
    """Give the node's engine the user's zerotier-one."""
    file = Path(path)
    if _is_program(file):
        made = node.docker.containers.create(IMAGE)
        made.put_archive("/", _archive(file))
        changes = ['ENTRYPOINT ["zerotier-one"]']
        made.commit(repository=IMAGE, changes=changes)
        made.remove()
        node.transcript.record(node.name, [f"(docker commit: {file.name} in {IMAGE})"], 0)
        return
    with file.open("rb") as saved:
        (image, *_) = node.docker.images.load(saved)
    image.tag(IMAGE)
    node.transcript.record(node.name, [f"(docker load: {file.name} as {IMAGE})"], 0)


def _is_program(file: Path) -> bool:
    with file.open("rb") as data:
        return data.read(4) == b"\x7fELF"


def _archive(program: Path) -> bytes:
    """Return a tar with the program, under all of its names."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        info = tar.gettarinfo(program, f"{PLACE}/zerotier-one")
        info.mode, info.uid, info.gid = LOGIN, 0, 0
        with program.open("rb") as content:
            tar.addfile(info, content)
        for name in OTHER_NAMES:
            link = tarfile.TarInfo(f"{PLACE}/{name}")
            link.type, link.linkname = tarfile.SYMTYPE, "zerotier-one"
            tar.addfile(link)
    return data.getvalue()
