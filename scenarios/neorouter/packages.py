"""NeoRouter's two packages, client and server: given by the user, or fetched from their vendor when asked.

They are installed into images of the lab's nodes, by the nodes' own engines and without a network, as the
paper's Dockerfile does: nothing of them is in this tree.
"""

from __future__ import annotations

import io
import tarfile
import tempfile
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from fixtures.node import Node
from overlab.errors import NotHereError

BASE = "overlab/neorouter"  # what images/neorouter builds; the client's image takes its name over
SERVER = "overlab/neorouter-server"
ARCHIVE = b"!<arch>\n"
VENDOR = "vendor"
VENDOR_FOLDER = "http://download.neorouter.com/Downloads/NRFree/Update_2.3.1.4360/Linux/Ubuntu"
VERSION = "2.3.1.4360"
PATIENCE_S = 20.0
REMEDY = (
    "name a folder with the vendor's nrclient-*.deb and nrserver-*.deb (NeoRouter Free, amd64) by "
    "-O neorouter.debs=DIR, or -O neorouter.debs=vendor where its download site answers"
)


@dataclass(frozen=True, slots=True)
class Packages:
    """The two files."""

    client: Path
    server: Path


def find(given: str) -> Packages:
    """Return the packages in the folder `given`, or the vendor's.

    Raises NotHereError, with the remedy, where one is missing or is no package.
    """
    if not given:
        raise NotHereError("NeoRouter's packages are not given, and may not be passed on", REMEDY)
    folder = _fetched() if given == VENDOR else Path(given)
    return Packages(_only(folder, "nrclient"), _only(folder, "nrserver"))


def _only(folder: Path, name: str) -> Path:
    found = sorted(folder.glob(f"{name}-*.deb")) if folder.is_dir() else []
    if len(found) != 1:
        seen = ", ".join(path.name for path in found) or "none"
        raise NotHereError(f"{folder} has not exactly one {name}-*.deb ({seen})", REMEDY)
    with found[0].open("rb") as file:
        if file.read(len(ARCHIVE)) != ARCHIVE:
            raise NotHereError(f"{found[0]} is no Debian package", REMEDY)
    return found[0]


def _fetched() -> Path:
    """Fetch the paper's version into a folder of its own, which goes with the machine's temporary files."""
    folder = Path(tempfile.mkdtemp(prefix="overlab-neorouter-"))
    for name in ("nrclient", "nrserver"):
        file = f"{name}-{VERSION}-free-ubuntu-amd64.deb"
        try:
            with urllib.request.urlopen(f"{VENDOR_FOLDER}/{file}", timeout=PATIENCE_S) as answer:
                (folder / file).write_bytes(answer.read())
        except (urllib.error.URLError, OSError) as error:
            raise NotHereError(f"the vendor's download site does not answer: {error}", REMEDY) from None
    return folder


def install(node: Node, package: Path, image: str, entry: str) -> None:
    """Build `image` on a node: the package on the base, and `entry` as its first process."""
    lines = [
        f"FROM {BASE}",
        f"COPY {package.name} /",
        f"RUN dpkg -i /{package.name} && rm /{package.name}",
        f"ENTRYPOINT {entry}",
    ]
    context = io.BytesIO()
    with tarfile.open(fileobj=context, mode="w") as tar:
        _add(tar, "Dockerfile", "\n".join(lines).encode())
        _add(tar, package.name, package.read_bytes())
    context.seek(0)
    node.docker.images.build(
        fileobj=context, custom_context=True, tag=image, network_mode="none", rm=True, forcerm=True
    )
    node.transcript.record(node.name, [f"(docker build: {package.name} in {image})"], 0)


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    tar.addfile(info, io.BytesIO(content))
