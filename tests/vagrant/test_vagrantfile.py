"""Vagrant's own word on our Vagrantfile, for every provider block that it has."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from fixtures.providers.vagrant.driver import environment, write_plan
from fixtures.providers.vagrant.layers import ensure, tools_layer
from fixtures.providers.vagrant.plan import Stand, plan
from fixtures.store.cache import Cache
from fixtures.store.progress import Progress
from fixtures.store.rootfs import OWN
from overlab.paths import CHECKOUT
from tests.vagrant.test_plan import TOPOLOGY

# Vagrant in a chroot that ends with the command; $1 a folder, $2 lower layers, $3 and $4 what it is to see.
INSIDE = """
set -e
cd "$1"
mkdir -p root upper work
mount -t overlay overlay -o "lowerdir=$2,upperdir=upper,workdir=work" root
mount -t proc proc root/proc
mount -t tmpfs -o mode=755 tmpfs root/dev
for n in null zero random urandom; do touch root/dev/$n; mount --bind /dev/$n root/dev/$n; done
for place in "$3" "$4"; do mkdir -p "root$place"; mount --bind "$place" "root$place"; done
shift 4
exec chroot root "$@"
"""
OFFLINE = """
Vagrant.configure("2") { |config| config.vm.provider(:libvirt) { |lv| lv.uri = "test:///default" } }
"""
STANDS = [Stand("virtualbox", "barge"), Stand("virtualbox", "debian"), Stand("libvirt", "debian")]


def validate(
    folder: Path, stand: Stand, *, wire: str = "private", where: Path = CHECKOUT
) -> subprocess.CompletedProcess[str]:
    topology = replace(TOPOLOGY, wire=wire)  # type: ignore[arg-type]
    write_plan(folder, plan(topology, "some-12ab34", stand))
    settings = environment(folder, stand) | {
        "VAGRANT_CWD": str(where),
        "VAGRANT_HOME": str(folder / "home"),
        "HOME": str(folder),
        "LANG": "C.UTF-8",
    }
    cache = Cache.open()
    lower = ":".join(str(cache.rootfs / name) for name in tools_layer().stack)
    (folder / "chroot").mkdir(exist_ok=True)
    # What Vagrant asks before it looks at a block: VirtualBox for its version, libvirt for its networks.
    (folder / "VBoxManage").write_text("#!/bin/sh\necho 7.0.14r161095\n")
    (folder / "VBoxManage").chmod(0o755)
    (folder / "home").mkdir(exist_ok=True)
    (folder / "home/Vagrantfile").write_text(OFFLINE)
    command = ["vagrant", "validate"]
    words = [
        "env",
        "-i",
        f"PATH={folder}:/usr/bin:/bin:/usr/sbin:/sbin",
        *(f"{k}={v}" for k, v in settings.items()),
        *command,
    ]
    script = ["sh", "-c", INSIDE, "inside", str(folder / "chroot"), lower, str(folder), str(CHECKOUT), *words]
    return subprocess.run([*OWN, *script], capture_output=True, text=True, check=False)


@pytest.fixture(scope="module", autouse=True)
def tools() -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root, for a chroot with Vagrant — run sudo ./lab test")
    ensure(Cache.open(), tools_layer(), Progress())


@pytest.mark.parametrize("wire", ["private", "bridged"])
@pytest.mark.parametrize("stand", STANDS, ids=str)
def test_every_block_is_valid(stand: Stand, wire: str, tmp_path: Path) -> None:
    """Symptom: the first who has VirtualBox finds a typing error in its block."""
    done = validate(tmp_path, stand, wire=wire)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Vagrantfile validated successfully" in done.stdout


@pytest.mark.parametrize("setting", ["vb.memory", "lv.memory", "config.vm.box"])
def test_validation_can_fail(setting: str, tmp_path: Path) -> None:
    """Not the thing under test: a typing error in a block is seen."""
    text = (CHECKOUT / "Vagrantfile").read_text()
    assert f"{setting} =" in text
    (tmp_path / "Vagrantfile").write_text(text.replace(f"{setting} =", f"{setting}y ="))
    done = validate(tmp_path, STANDS[1 if setting == "vb.memory" else 2], where=tmp_path)
    assert done.returncode != 0, done.stdout
    assert "y" in done.stdout + done.stderr
