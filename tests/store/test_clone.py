"""The image store cannot be written through a node, whatever the node does, and siblings stay whole.

One battery over two nodes: writes into every layer, commits, builds, imports, removals, and a prune of all.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from fixtures.lab import Lab
from fixtures.node import Node
from tests.provider.grounds import Ground, ground, small

WORKER = "overlab/worker"  # on top of overlab/debian, with packages of its own
VANDAL = """
echo HACK >>/etc/debian_version; chmod 777 /etc/passwd; chown -R 5:5 /usr/lib/python3; rm -f /etc/fstab
sed -i s/root/hack/ /etc/passwd; dd if=/dev/zero of=/usr/bin/python3.11 bs=1k count=9 conv=notrunc 2>/dev/null
touch /usr /etc; mkdir /made; setfattr -n user.a -v b /etc/hosts 2>/dev/null; rm -rf /usr/share/perl5 /var
cat /etc/debian_version
"""
DOCKERFILE = "FROM overlab/debian\nRUN echo built >/etc/debian_version && rm -rf /usr/share/doc /var/lib\n"
BY_HAND = "for d in /var/lib/docker/overlay2/*/diff; do rm -rf $d/* $d/.[a-z]*; touch $d/new; done"
SOUND = "cat /etc/debian_version; head -1 /etc/passwd; stat -c %a /etc/passwd; python3 -c 'print(6 * 7)'"


def tree(top: Path) -> dict[str, tuple[object, ...]]:
    """Return mode, owner, time, content and attributes of everything below `top`."""
    found: dict[str, tuple[object, ...]] = {}
    for folder, folders, files in os.walk(top):
        for name in (*folders, *files):
            path = Path(folder, name)
            info = path.lstat()
            found[str(path.relative_to(top))] = (*_plain(info), _content(path, info), _attributes(path, info))
    return found


def _plain(info: os.stat_result) -> tuple[object, ...]:
    return info.st_mode, info.st_uid, info.st_gid, info.st_mtime_ns, info.st_nlink


def _content(path: Path, info: os.stat_result) -> str:
    if stat.S_ISLNK(info.st_mode):
        return str(path.readlink())
    return hashlib.blake2b(path.read_bytes()).hexdigest() if stat.S_ISREG(info.st_mode) else ""


def _attributes(path: Path, info: os.stat_result) -> tuple[object, ...]:
    if stat.S_ISLNK(info.st_mode):
        return ()
    return tuple((name, os.getxattr(path, name)) for name in sorted(os.listxattr(path)))


@pytest.fixture(scope="module")
def place() -> Iterator[Ground]:
    if os.geteuid() != 0:
        pytest.skip("needs root, to make namespaces")
    with ground() as made:
        yield made


@pytest.fixture(scope="module")
def lab(place: Ground) -> Iterator[Lab]:
    with place.lab(small("vandal", "sibling"), engines=True) as booted:
        yield booted


def images(node: Node) -> set[str]:
    return {tag for image in node.docker.images.list() for tag in image.tags}


def sound(node: Node) -> str:
    """Return what a fresh container sees of the files that the vandal changed."""
    return node.run(["docker", "run", "--rm", WORKER, "sh", "-c", SOUND]).out


def test_a_node_cannot_write_into_the_store(lab: Lab, place: Ground) -> None:
    """Symptom: one test's `docker build` or prune changes the images of every lab after it."""
    vandal, sibling = lab.node("vandal"), lab.node("sibling")
    store = place.ready.store
    before, healthy, known = tree(store), sound(sibling), images(sibling)
    assert len(before) > 100, "not the thing under test: the store is empty"
    assert f"{WORKER}:latest" in known
    assert "42" in healthy

    wrote = vandal.run(["docker", "run", "--name", "wrecked", WORKER, "sh", "-c", VANDAL]).out
    assert "HACK" in wrote, "not the thing under test: nothing was written"
    assert sound(vandal) == healthy
    vandal.run(["docker", "commit", "wrecked", "changed"])
    assert "HACK" in vandal.run(["docker", "run", "--rm", "changed", "cat", "/etc/debian_version"]).out
    vandal.put("/tmp/build/Dockerfile", DOCKERFILE)
    for kind in ("0", "1"):
        vandal.run(
            ["docker", "build", "--network=none", "-q", "-t", f"built{kind}", "/tmp/build"],
            env={"DOCKER_BUILDKIT": kind},
        )
        assert (
            vandal.run(["docker", "run", "--rm", f"built{kind}", "cat", "/etc/debian_version"]).out
            == "built\n"
        )
    assert int(vandal.sh(f"docker save {WORKER} | wc -c").out) > 10_000_000, "layers can still be read"
    vandal.sh("docker volume create vol && docker run --rm -v vol:/v overlab/debian touch /v/file")
    vandal.sh("docker save overlab/redis | docker load")
    vandal.sh(f"docker tag overlab/rng again; docker rmi -f {WORKER}")
    vandal.sh(BY_HAND, check=False)
    vandal.run(["docker", "rm", "-f", "wrecked"])
    vandal.run(["docker", "rmi", "-f", "changed", "built0", "built1", "again"])
    vandal.run(["docker", "system", "prune", "-af", "--volumes"])
    assert images(vandal) == set(), "not the thing under test: the prune left images"

    assert images(sibling) == known
    assert sound(sibling) == healthy
    after = tree(store)
    changed = [name for name in before.keys() | after.keys() if before.get(name) != after.get(name)]
    assert changed == []


def test_a_node_that_is_made_afterwards_is_whole(lab: Lab, place: Ground) -> None:
    """Symptom: the first lab after a prune has no images."""
    known = images(lab.node("sibling"))
    with place.lab(small("later"), engines=True) as fresh:
        assert images(fresh.node("later")) == known
        assert "42" in sound(fresh.node("later"))


def test_siblings_do_not_share_what_they_write(lab: Lab) -> None:
    """Symptom: the `.db` files are one inode, and the second engine never comes up."""
    sibling = lab.node("sibling")
    sibling.run(["docker", "tag", "overlab/debian", "only-here"])
    assert "only-here:latest" in images(sibling)
    assert "only-here:latest" not in images(lab.node("vandal"))


def test_an_image_that_nothing_stands_upon_can_be_read_out(lab: Lab) -> None:
    """Symptom: `docker push` of an image ends with 'invalid argument', until a container of it has run."""
    saved = lab.node("sibling").sh("docker save overlab/hasher | wc -c")
    assert (int(saved.out) > 10_000_000, saved.err) == (True, "")


def test_an_engine_starts_without_images_that_were_removed(lab: Lab) -> None:
    """Symptom: a node does not boot any more after `docker rmi`: the place of a layer does not exist."""
    node = lab.node("vandal")
    assert images(node) == set(), "not the thing under test: nothing was removed"
    node.reboot()
    assert images(node) == set()
