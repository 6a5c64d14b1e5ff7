"""What lies under the farm: a folder on all nodes, storage drivers, and the identity of cloned machines."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from fixtures.lab import Lab
from fixtures.node import Node
from fixtures.overlay import Overlay
from fixtures.plugin import alone_on_this_machine
from fixtures.waiting import NotYet, limit, wait_for
from overlab.cli.checkup import of_labs
from overlab.model import Finding, Phase, Verdict
from reports.recording import Recorder
from scenarios.swarm import cluster, gluster, identity, services, storage
from scenarios.swarm.overlay import FLAGS, NAMES, STORAGE_NODE, Swarm

pytestmark = pytest.mark.validation

SHARED, SHARED_PORT = "nginx", 8081  # the paper has 8080, which nginx-web has
PAGE = f"{gluster.MOUNT}/nginx/index.html"
TOOLS = "overlab/tools"


@pytest.fixture(scope="module")
def manager(lab: Lab, overlay: Overlay) -> Node:
    """Return the paper's manager."""
    return lab.node(NAMES[0])


@pytest.fixture(scope="class")
def volume(lab: Lab, manager: Node) -> Iterator[None]:
    """Make staging-gfs, and a service on every node that serves it."""
    services.stock(lab, manager)
    gluster.build(lab, NAMES)
    manager.run(["mkdir", "-p", PAGE.rpartition("/")[0]])
    manager.put(PAGE, "made on the manager\n")
    bind = f"--mount=type=bind,source={gluster.MOUNT}/nginx,target=/usr/share/nginx/html"
    how = cluster.balancing(manager.kernel_has)
    image = services.in_registry(manager, "nginx")
    services.create(manager, SHARED, image, bind, balancing=how, publish=SHARED_PORT, replicas=len(NAMES))
    cluster.wait_spread(manager, SHARED, lambda on: on == sorted(NAMES), what="on every node")
    yield
    services.remove(lab, manager, SHARED)


def wait_served(lab: Lab, asker: Node, content: str, names: list[str]) -> float:
    """Wait until the pages of all `names` are `content`; return the seconds that took."""
    started = time.monotonic()

    def served() -> None:
        urls = {name: f"http://{lab.node(name).address}:{SHARED_PORT}/" for name in names}
        shown = {name: services.page(asker, url) for name, url in urls.items()}
        if wrong := {name: page for name, page in shown.items() if page != content}:
            raise NotYet(f"not yet {content!r}: {wrong}")

    wait_for("every page to show the file", served, within=limit("members"))
    return round(time.monotonic() - started, 2)


@pytest.mark.usefixtures("volume")
class TestSharedFolder:
    """GlusterFS: a file that is written on one node is on all, also while a node is off."""

    def test_pool(self, lab: Lab, manager: Node, record: Recorder) -> None:
        """A pool of five, and the folder is mounted on all."""
        pool = gluster.pool(manager)
        outcome = "ok" if set(pool.values()) == {"Connected"} else "disconnected"
        assert record(Finding("gluster-pool", outcome, len(pool), "nodes"), paper="gluster-pool").ok, pool
        info = manager.run(["gluster", "volume", "info", gluster.VOLUME]).out
        bricks = next(
            x.partition(":")[2].strip() for x in info.splitlines() if x.startswith("Number of Bricks")
        )
        assert record(Finding("gluster-bricks", "ok", bricks), paper="gluster-bricks").ok, info
        for node in lab.nodes.values():
            there = gluster.mounted(node)
            outcome = "ok" if there == f"fuse.glusterfs localhost:/{gluster.VOLUME}" else "not-mounted"
            assert record(Finding("gluster-mount", outcome, there, dst=node.name)).ok

    def test_served_by_all(self, lab: Lab, manager: Node, record: Recorder) -> None:
        """Written on a worker without a brick, the file is what the service shows on every node."""
        writer = lab.node(NAMES[-1])
        writer.put(PAGE, f"made on {writer}\n")
        seconds = wait_served(lab, manager, f"made on {writer}\n", list(NAMES))
        assert record(Finding("file-served", "ok", seconds, "s", src=writer.name)).ok

    def test_node_is_off(self, lab: Lab, manager: Node, record: Recorder) -> None:
        """A node with a brick loses its power: the file can be written, and is healed when it returns."""
        dead, writer = lab.node(NAMES[2]), lab.node(NAMES[1])
        left = [name for name in NAMES if name != dead.name]
        dead.power_off()
        try:
            started = time.monotonic()
            writer.put(PAGE, "written meanwhile\n")
            stalled = round(time.monotonic() - started, 2)
            wait_served(lab, manager, "written meanwhile\n", left)
            found = Finding(
                "file-while-off", "ok", stalled, "s", dst=dead.name, reason="the write stood still"
            )
            record(found)
        finally:
            dead.power_on()
        stale = dead.sh(f"cat {gluster.BRICK}/nginx/index.html", quiet=True).out
        started = time.monotonic()
        gluster.wait_healed(manager)

        def same() -> None:
            if (has := dead.get(f"{gluster.BRICK}/nginx/index.html")) != "written meanwhile\n":
                raise NotYet(f"its brick has {has!r}")

        wait_for("the brick that was off to have the file", same, within=limit("members"))
        evidence = {"seconds": round(time.monotonic() - started, 2), "before": stale}
        healed = Finding("heal-entries", "ok", gluster.healed(manager), "entries", 0, evidence=evidence)
        assert record(healed, phase=Phase.HEAL).value == 0
        cluster.wait_ready(manager, [dead.name])
        wait_served(lab, manager, "written meanwhile\n", list(NAMES))


class TestStorageDriver:
    """Another file system under one engine, beside the usual one."""

    @pytest.mark.parametrize("driver", ["overlay2", "btrfs", "zfs"])
    def test_driver(self, driver: str, lab: Lab, scenario: Swarm, manager: Node, record: Recorder) -> None:
        """The engine says that it is on it; a container starts, and writes, in so much time."""
        node = lab.node(STORAGE_NODE)
        storage.check(node, driver)  # what the kernel lacks is skipped by name
        with alone_on_this_machine():  # the loop device too is the whole machine's
            if driver == scenario.storage:
                found = storage.measure(node, TOOLS)
            elif driver == storage.DEFAULT:
                found = storage.measure(lab.node(NAMES[3]), TOOLS)
            else:
                with storage.borrowed(node, driver, FLAGS, [TOOLS]):
                    found = storage.measure(node, TOOLS)
        outcome = "ok" if found.driver == driver else "another-driver"
        told = Finding("storage-driver", outcome, found.driver, promised=driver, reason=found.backing)
        assert record(told).ok, found
        record(Finding("container-start", "ok", round(found.start_s, 3), "s", dst=driver), phase=Phase.PERF)
        written = Finding("layer-write", "ok", round(found.write_mb_s, 1), "MB/s", dst=driver)
        record(written, phase=Phase.PERF)


class TestClones:
    """The paper's trap: machines that were cloned with their machine-id get one address from DHCP."""

    def test_one_id_is_one_address(self, lab: Lab, manager: Node, record: Recorder) -> None:
        """Two link addresses, one machine-id: one lease; found by the doctor, gone with new ids."""
        clones = [lab.node(name) for name in NAMES[3:]]
        assert not _complaints(lab), "not the thing under test: the doctor is not content to begin with"
        identity.serve(manager)
        try:
            identity.clone(clones)
            leases = _leases(clones)
            same = len(set(leases)) == 1
            found = Finding(
                "cloned-identity",
                "one-address" if same else "ok",
                leases[0],
                dst=", ".join(n.name for n in clones),
                reason="one machine-id" if same else f"they got {', '.join(leases)}",
            )
            record(found, phase=Phase.FAULT, verdict=Verdict.PASS if same else Verdict.FAIL)
            assert same, found
            told = _complaints(lab)
            assert any("machine-id" in what and clones[0].name in what for what in told), told
            assert any(leases[0] in what for what in told), told
            for node in clones:
                identity.renew(node)
            leases = _leases(clones)
            outcome = "ok" if len(set(leases)) == len(clones) else "one-address"
            healed = Finding("new-identity", outcome, ", ".join(leases))
            assert record(healed, phase=Phase.HEAL).ok, leases
            assert not _complaints(lab)
        finally:
            identity.remove(lab, manager)


def _leases(clones: list[Node]) -> list[str]:
    """Let one after the other ask: a server knows a client by its id once that has a lease."""
    found = []
    for node in clones:
        identity.ask(node)
        found.append(str(identity.leased(node)))
    return found


def _complaints(lab: Lab) -> list[str]:
    """Return what `./lab doctor` says is wrong with the lab."""
    return [remark.what for remark in of_labs(lab.id) if remark.sign == "bad"]
