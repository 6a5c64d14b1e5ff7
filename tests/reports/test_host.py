"""Facts about the machine come from reading, and say 'unknown' rather than guess."""

from __future__ import annotations

import gzip
import os
import subprocess
from pathlib import Path

import pytest

from reports.host import Sources, capabilities, git_revision, host


def tree(root: Path, **texts: str) -> Sources:
    for name, text in texts.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return Sources(root, "6.1.0")


def test_this_machine_is_described() -> None:
    found = host()
    assert found.kernel == os.uname().release
    assert found.cores >= 1
    assert found.cpu
    assert set(capabilities()) == {"netem", "wireguard", "ipvs"}


def test_a_module_is_found_where_the_kernel_names_it(tmp_path: Path) -> None:
    where = tree(tmp_path, proc__modules="wireguard 90112 0 - Live 0x0\n")
    folder = tmp_path / "lib/modules/6.1.0"
    folder.mkdir(parents=True)
    (folder / "modules.builtin").write_text("kernel/net/sched/sch-netem.ko\n")
    (folder / "modules.dep").write_text("kernel/net/netfilter/ipvs/ip_vs.ko.xz: kernel/a.ko\n")
    assert capabilities(where) == {"netem": "builtin", "wireguard": "loaded", "ipvs": "available"}


def test_a_kernel_without_module_lists_tells_by_its_configuration(tmp_path: Path) -> None:
    where = tree(tmp_path, proc__modules="")
    (tmp_path / "proc/config.gz").write_bytes(
        gzip.compress(b"CONFIG_WIREGUARD=y\n# CONFIG_IP_VS is not set\n")
    )
    assert capabilities(where) == {"netem": "absent", "wireguard": "builtin", "ipvs": "absent"}


def test_where_nothing_is_said_nothing_is_known(tmp_path: Path) -> None:
    assert set(capabilities(tree(tmp_path)).values()) == {"unknown"}


def test_virtual_machines_and_containers_are_named(tmp_path: Path) -> None:
    where = tree(
        tmp_path,
        proc__cpuinfo="model name\t: Some CPU\nflags\t: fpu hypervisor sse\n",
        sys__class__dmi__id__product_name="KVM\n",
        run__systemd__container="lxc\n",
    )
    found = host(where)
    assert (found.cpu, found.virt) == ("Some CPU", "virtual machine (KVM), container (lxc)")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    def git(*words: str) -> None:
        who = ("-c", "user.name=n", "-c", "user.email=e@example.org")
        subprocess.run(["git", *who, "-C", str(tmp_path), *words], check=True, capture_output=True)

    git("init")
    (tmp_path / "file").write_text("one")
    git("add", "file")
    git("commit", "-m", "one")
    return tmp_path


def test_the_revision_says_when_the_tree_differs(checkout: Path) -> None:
    clean = git_revision(checkout)
    assert len(clean) == 40
    git_revision.cache_clear()
    (checkout / "file").write_text("two")
    assert git_revision(checkout) == f"{clean}+dirty"


def test_no_checkout_has_no_revision(tmp_path: Path) -> None:
    assert git_revision(tmp_path) == ""
