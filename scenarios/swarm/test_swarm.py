"""Docker Swarm: the contract, and what the paper shows of its farm: members, images, services, spread."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fixtures.lab import Lab
from fixtures.node import Node
from fixtures.overlay import Overlay
from fixtures.waiting import NotYet, limit, wait_for
from overlab.model import Finding, Phase, Verdict
from reports.recording import Recorder
from scenarios.contract import Contract
from scenarios.families.docker.contract import Mutations, Tables
from scenarios.swarm import cluster, services
from scenarios.swarm.cluster import Balancing
from scenarios.swarm.overlay import NAMES, NETWORK

WEB, WEB_PORT, VIRTUAL, ASKER = "nginx-web", 8080, "hello-vip", "asker"
ANSWER_S = {Balancing.MESH: 10.0, Balancing.DIRECT: 1.0}  # how long a virtual address is waited for
MESH = pytest.mark.vm  # where there is IPVS, a port answers on every node, and an address on none
STEPS = {"one": 1, "three": 3, "all": 5, "three-again": 3}


class TestContract(Contract):
    """What every overlay must show."""


@pytest.fixture(scope="module")
def manager(lab: Lab, overlay: Overlay) -> Node:
    """Return the paper's manager."""
    return lab.node(NAMES[0])


@pytest.fixture(scope="module")
def balancing(manager: Node) -> Balancing:
    """Return how services are reached on this kernel."""
    return cluster.balancing(manager.kernel_has)


class TestTables(Tables):
    """What the engines tell each other by gossip is what the kernels send by."""

    network = NETWORK


class TestPaper:
    """One manager and four workers; a page that shows its host, spread over them."""

    @MESH
    def test_members(self, lab: Lab, manager: Node, record: Recorder) -> None:
        """Everybody is ready, at the address of the interface that was named."""
        found = cluster.members(manager, quiet=False)
        assert sorted(m.name for m in found if m.ready) == sorted(NAMES)
        managers = [m.name for m in found if m.manager]
        for what, count in (("managers", len(managers)), ("workers", len(found) - len(managers))):
            assert record(Finding(what, "ok", count, "nodes"), paper=what).ok
        for node in lab.nodes.values():
            told = node.run(["docker", "info", "--format", "{{.Swarm.NodeAddr}}"]).out.strip()
            outcome = "ok" if told == str(node.address) else "another-interface"
            finding = Finding("advertised", outcome, told, promised=str(node.address), dst=node.name)
            assert record(finding).ok, finding

    @pytest.fixture(scope="class")
    @classmethod
    def digests(cls, lab: Lab, manager: Node) -> dict[str, str]:
        """Give the services' images to the registry, and take them off every node."""
        digests = services.stock(lab, manager)
        image = services.in_registry(manager, "nginx")
        had = lab.each(lambda n: [services.digest(n, image), *_named(n, {image, "overlab/nginx"})])
        assert not any(map(any, had.values())), f"not the thing under test: it is there already: {had}"
        return digests

    @pytest.mark.parametrize("step", [pytest.param("one", marks=MESH), "three", "all", "three-again"])
    def test_spread(
        self,
        step: str,
        lab: Lab,
        manager: Node,
        digests: dict[str, str],
        balancing: Balancing,
        record: Recorder,
    ) -> None:
        """nginx-web on so many replicas is on so many nodes, and each page shows the host that it is on."""
        replicas = STEPS[step]
        if step == "one":
            image = services.in_registry(manager, "nginx")
            services.create(manager, WEB, image, balancing=balancing, publish=WEB_PORT)
        services.scale(manager, WEB, replicas)
        on = cluster.wait_spread(manager, WEB, lambda n: len(n) == replicas, what=f"on {replicas} nodes")
        shown = sorted(name for name in wait_hosts(lab, manager, on, balancing) if name)
        outcome = "ok" if len(set(on)) == replicas and shown == on else "crowded"
        evidence = {"tasks": on, "pages": shown}
        finding = Finding("spread", outcome, len(set(on)), "nodes", replicas, evidence=evidence)
        assert record(finding, paper=f"replicas-{replicas}" if replicas > 1 else None).ok, finding

    def test_images_come_from_the_registry(
        self, lab: Lab, manager: Node, digests: dict[str, str], record: Recorder
    ) -> None:
        """No node had the image; now each that had a replica has fetched it, by the registry's own log."""
        image, fetched = services.in_registry(manager, "nginx"), services.pulls(manager)
        for node in lab.nodes.values():
            known, blobs = services.digest(node, image), fetched.get(str(node.address), 0)
            outcome = "ok" if known == digests["nginx"] and blobs else "not-from-the-registry"
            finding = Finding("image", outcome, blobs, "blobs", dst=node.name, evidence={"digest": known})
            assert record(finding).ok, finding

    @MESH
    def test_not_published_elsewhere(
        self, lab: Lab, manager: Node, balancing: Balancing, record: Recorder
    ) -> None:
        """A node without a replica answers through the mesh, and in no other way."""
        idle = sorted(set(NAMES) - set(cluster.spread(manager, WEB)))
        assert idle, "not the thing under test: every node has a replica"
        url = f"http://{lab.node(idle[0]).address}:{WEB_PORT}/host"
        promised = "answers" if balancing is Balancing.MESH else "refuses"

        def as_promised() -> str:  # a replica that was scaled away may still be ending
            answer = "answers" if services.page(manager, url) else "refuses"
            if answer != promised:
                raise NotYet(f"{url} {answer}")
            return answer

        answer = wait_for(f"an idle node that {promised}", as_promised, within=limit("application"))
        assert record(Finding("idle-node", "ok", answer, promised=promised, dst=idle[0])).ok

    @pytest.fixture
    @staticmethod
    def service(lab: Lab, manager: Node, digests: dict[str, str]) -> Iterator[str]:
        """One replica on the lab's network, with a virtual address on every kernel; give its node's name."""
        joined, image = f"--network={NETWORK}", services.in_registry(manager, "nginx")
        services.create(manager, VIRTUAL, image, joined, balancing=Balancing.MESH)
        (at,) = cluster.wait_spread(manager, VIRTUAL, lambda on: len(on) == 1, what="on a node")
        yield at
        services.remove(lab, manager, VIRTUAL)

    @MESH
    def test_virtual_address(
        self,
        lab: Lab,
        manager: Node,
        overlay: Overlay,
        service: str,
        balancing: Balancing,
        record: Recorder,
    ) -> None:
        """A service's virtual address answers by IPVS alone; its task's own address always does."""
        network = manager.docker.networks.get(NETWORK).id
        offered = services.inspect(manager, VIRTUAL)["Endpoint"]["VirtualIPs"]
        virtual = next(v["Addr"].partition("/")[0] for v in offered if v["NetworkID"] == network)
        (own,) = services.task_addresses(lab.node(service), VIRTUAL, NETWORK)
        near = next(node for node in lab.nodes.values() if node.name != service)
        asker = overlay.run(near, ASKER, "overlab/tools")
        try:
            seen = (near, asker.container)
            assert services.page(near, f"http://{own}/host", of=seen), (
                "not the thing under test: its task is dead"
            )
            url, patience = f"http://{virtual}/host", ANSWER_S[balancing]
            answers = services.page(near, url, of=seen, timeout=patience) is not None
        finally:
            overlay.discard(near, [asker])
        outcome = "ok" if answers else "no-ipvs" if not near.kernel_has("ip_vs") else "dead"
        reason = "" if answers else f"{virtual} does not answer, {own} does: the kernel has no ip_vs"
        promised = "ok" if balancing is Balancing.MESH else "no-ipvs"
        finding = Finding("virtual-address", outcome, virtual, dst=VIRTUAL, reason=reason)
        verdict = Verdict.PASS if outcome == promised else Verdict.FAIL
        record(finding, phase=Phase.PROBE if answers else Phase.FAULT, verdict=verdict)
        assert outcome == promised, finding


def _named(node: Node, names: set[str]) -> list[str]:
    return [
        tag
        for image in node.docker.images.list()
        for tag in image.tags
        if tag.partition(":latest")[0] in names
    ]


def wait_hosts(lab: Lab, manager: Node, on: list[str], balancing: Balancing) -> set[str]:
    """Ask the page until every replica has shown its host; return the hosts shown."""
    asked = on if balancing is Balancing.DIRECT else list(lab.nodes) * 2
    shown: set[str] = set()

    def look() -> set[str]:
        for name in asked:
            said = services.page(manager, f"http://{lab.node(name).address}:{WEB_PORT}/host")
            shown.update(said.split()[:1] if said else [])
            if shown >= set(on):
                break
        if missing := set(on) - shown:
            raise NotYet(f"not shown: {', '.join(sorted(missing))}")
        return shown

    return wait_for("each page to show its host", look, within=limit("application"))


class TestMutations(Mutations):
    """Causes by name."""

    network = NETWORK
