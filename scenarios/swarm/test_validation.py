"""The paper's validation: requests are balanced, nodes and managers go and come, and every step is timed.

    five replicas of hello behind NGINX, one of them killed under load
    nginx-web on three of five nodes
    a worker leaves, joins again          a worker loses its power, and gets it back
    drain, activate, forced update        three managers: the leader dies, then the quorum
    --force-new-cluster: with the Raft state, and after `swarm leave`

The steps build on each other, in this order. The limits are wide; only what happens is judged, not how soon.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fixtures.lab import Lab
from fixtures.overlay import Overlay
from fixtures.waiting import NotYet, limit, wait_for
from overlab.model import Finding, Phase, Verdict
from reports.recording import Recorder
from scenarios.swarm import cluster, services
from scenarios.swarm.cluster import Balancing
from scenarios.swarm.farm import REPLICAS, WEB, WEB_PORT, Farm, has_managers, refused, step
from scenarios.swarm.overlay import NAMES, NETWORK

pytestmark = pytest.mark.validation

HELLO, LB, EVEN = "hello", "lb", "even"
HELLO_PORT, LB_PORT = 8082, 8090  # the paper has 8080 for two of them
BALANCED = "loadbalancing"
REQUESTS = 300
HEARTBEAT = "1s"  # ours


@pytest.fixture(scope="module")
def farm(lab: Lab, overlay: Overlay) -> Farm:
    """Start nginx-web on all nodes, then on three, as the paper prepares it."""
    manager = lab.node(NAMES[0])
    services.stock(lab, manager)
    network = str(manager.docker.networks.get(NETWORK).id)
    made = Farm(lab, manager, cluster.balancing(manager.kernel_has), network)
    image = services.in_registry(manager, "nginx")
    services.create(manager, WEB, image, balancing=made.balancing, publish=WEB_PORT, replicas=len(NAMES))
    made.spread(lambda on: on == sorted(NAMES), "on all nodes")
    services.scale(manager, WEB, REPLICAS)
    made.spread(lambda on: len(set(on)) == len(on) == REPLICAS, "on three nodes")
    return made


@pytest.fixture(scope="class")
def balancer(farm: Farm) -> Iterator[str]:
    """Five replicas of `hello` behind NGINX, over a network of their own; give the way in."""
    lab, manager, balancing = farm.lab, farm.manager, farm.balancing
    manager.run(["docker", "network", "create", "-d", "overlay", BALANCED])
    joined = f"--network={BALANCED}"
    hello, lb = (services.in_registry(manager, image) for image in ("nginx", "nginx-lb"))
    services.create(
        manager, HELLO, hello, joined, balancing=balancing, publish=HELLO_PORT, replicas=len(NAMES)
    )
    services.create(manager, LB, lb, joined, balancing=balancing, publish=LB_PORT)
    cluster.wait_spread(manager, HELLO, lambda on: on == sorted(NAMES), what="on all nodes")
    (there,) = cluster.wait_spread(manager, LB, lambda on: len(on) == 1, what="on a node")
    url = f"http://{lab.node(there).address}:{LB_PORT}/host"
    services.wait_page(manager, url)
    yield url
    services.remove(lab, manager, LB, HELLO)


class TestBalancing:
    """NGINX spreads requests over replicas; what the kernel does where it has IPVS, the core shows."""

    def test_layer_7(self, farm: Farm, balancer: str, record: Recorder) -> None:
        """NGINX sends requests to all five replicas; each one's share is told."""
        with services.load(farm.manager, balancer) as asked:
            seen = asked.wait(REQUESTS)
        for name, share in services.shares_of(seen, NAMES).items():
            finding = Finding("layer-7-share", "ok" if share else "left-out", round(share, 3), dst=name)
            assert record(finding).ok, finding
        finding = Finding("layer-7-failed", "ok" if not seen.failed else "failed", seen.failed, "requests")
        assert record(finding).ok, seen

    def test_replica_killed(self, farm: Farm, balancer: str, record: Recorder) -> None:
        """A replica dies under load: others serve, another starts and is found; who fails is counted."""
        victim = farm.lab.node(NAMES[1])
        (old,) = services.containers(victim, HELLO)
        with services.load(farm.manager, balancer) as asked:
            before = asked.wait(REQUESTS)
            victim.run(["docker", "kill", old])
            dead = asked.count()
            asked.wait(REQUESTS, beyond=dead.answered)

            def replaced() -> str:
                now = [c for c in services.containers(victim, HELLO) if c != old]
                if not now:
                    raise NotYet("no other container of hello")
                return now[0]

            wait_for(f"another {HELLO} on {victim}", replaced, within=limit("members"))

            def found_again() -> services.Counted:
                now = asked.count()
                if now.shares[victim.name] <= dead.shares[victim.name] + len(NAMES):
                    raise NotYet(
                        f"{now.shares[victim.name] - dead.shares[victim.name]} answers since it died"
                    )
                return now

            after = wait_for("the new replica to be asked", found_again, within=limit("members"))
        evidence = {
            "asked": after.answered + after.failed - before.answered,
            "errors": after.errors,
            "slowest_s": round(after.slowest_s, 3),
        }
        finding = Finding(
            "failed-requests", "ok", after.failed, "requests", dst=victim.name, evidence=evidence
        )
        record(finding)


class TestNodes:
    """Workers go and come."""

    def test_leaves(self, farm: Farm, record: Recorder) -> None:
        """A worker leaves: its replica starts on another node."""
        node = farm.worker_with_replica()
        with step(record, "node-leaves", node.name, "leave-noticed") as seen:
            seen["before"] = cluster.spread(farm.manager, WEB)
            node.run(["docker", "swarm", "leave"])
            seen["after"] = farm.elsewhere(node.name)
        (left,) = [m for m in cluster.members(farm.manager) if m.name == node.name]
        assert left.state == "Down", "the manager goes on waiting for it, as it was not removed"

    def test_joins_again(self, farm: Farm, record: Recorder) -> None:
        """Who left and joins again is a second entry; the first can be removed, a ready one cannot."""
        name = next(m.name for m in cluster.members(farm.manager) if not m.ready)
        on = cluster.spread(farm.manager, WEB)
        with step(record, "joins-again", name) as seen:
            cluster.join(farm.manager, farm.lab.node(name))
            cluster.wait_ready(farm.manager, [name])
            entries = {m.state: m.id for m in cluster.members(farm.manager) if m.name == name}
            seen["entries"] = entries
        assert sorted(entries) == ["Down", "Ready"]
        assert cluster.spread(farm.manager, WEB) == on, "nothing comes back by itself"
        with step(record, "node-rm", name) as seen:
            refused = farm.manager.run(["docker", "node", "rm", entries["Ready"]], check=False)
            assert "is not down" in refused.err
            farm.manager.run(["docker", "node", "rm", entries["Down"]])
            seen["reason"] = f"of the ready one: {refused.err.strip().rpartition('desc = ')[2]}"
        assert [m.id for m in cluster.members(farm.manager) if m.name == name] == [entries["Ready"]]

    def test_loses_power(self, farm: Farm, record: Recorder) -> None:
        """A worker's power is cut: nobody says goodbye, and its replica starts elsewhere all the same."""
        node = farm.worker_with_replica()
        with step(record, "power-loss", node.name) as seen:
            node.power_off()
            farm.off.append(node.name)
            seen["after"] = farm.elsewhere(node.name)
        assert not farm.answers(node.name) or farm.balancing is Balancing.MESH

    def test_returns(self, farm: Farm, record: Recorder) -> None:
        """It has power again: it is ready, one entry, and gets nothing back by itself."""
        name = farm.off.pop()
        on = cluster.spread(farm.manager, WEB)
        with step(record, "return", name):
            farm.lab.node(name).power_on()
            cluster.wait_ready(farm.manager, [name])
        assert len([m for m in cluster.members(farm.manager) if m.name == name]) == 1
        assert cluster.spread(farm.manager, WEB) == on

    def test_drain_and_activate(self, farm: Farm, record: Recorder) -> None:
        """Drained, a node gives its replicas away; active again, it gets none back."""
        node = farm.worker_with_replica()
        update = ["docker", "node", "update"]
        image = services.in_registry(farm.lab.node(NAMES[0]), "nginx")
        with step(record, "drain", node.name) as seen:
            farm.manager.run([*update, "--availability=drain", node.name])
            seen["after"] = farm.elsewhere(node.name)
        # Without ports, so that two of five replicas may be on one node of the four that are left.
        services.create(farm.manager, EVEN, image, balancing=farm.balancing, replicas=len(NAMES))
        crowded = farm.spread(lambda on: len(on) == len(NAMES), "on four nodes", EVEN)
        assert node.name not in crowded
        with step(record, "activate", node.name) as seen:
            farm.manager.run([*update, "--availability=active", node.name])
            cluster.wait_ready(farm.manager, [node.name])
            seen["after"] = cluster.spread(farm.manager, EVEN)
        assert cluster.spread(farm.manager, EVEN) == crowded, "not the thing under test: it moved by itself"

    def test_forced_update(self, farm: Farm, record: Recorder) -> None:
        """A forced update starts all replicas anew, evenly: now the node has its own again."""
        force = ["docker", "service", "update", "--detach", "--force", "--update-parallelism=0", EVEN]
        with step(record, "forced-update", "") as seen:
            seen["before"] = cluster.spread(farm.manager, EVEN)
            farm.manager.run(force)
            seen["after"] = farm.spread(lambda on: on == sorted(NAMES), "on every node", EVEN)
        services.remove(farm.lab, farm.manager, EVEN)


class TestManagers:
    """Managers go, and what can be saved then."""

    def test_leader_dies(self, farm: Farm, record: Recorder) -> None:
        """Of three managers the leader loses its power: another leads, and services can be changed."""
        # The steps before have shown what the default of 5 s does.
        farm.manager.run(["docker", "swarm", "update", f"--dispatcher-heartbeat={HEARTBEAT}"])
        first, others = farm.manager, [farm.lab.node(name) for name in NAMES[1:3]]
        with step(record, "promote", ", ".join(n.name for n in others)):
            first.run(["docker", "node", "promote", *(n.name for n in others)])
            wait_for("three managers", lambda: has_managers(first, 3), within=limit("members"))
        with step(record, "leader-dies", first.name) as seen:
            first.power_off()
            farm.off.append(first.name)

            def led() -> str:
                name = cluster.leader(others[0])
                if name == first.name:
                    raise NotYet(f"{name} leads")
                return name

            name = wait_for("another manager to lead", led, within=2 * limit("members"))
            farm.manager = farm.lab.node(name)
            change = ["docker", "service", "scale", "--detach", f"{WEB}={REPLICAS}"]
            cluster.accepted(farm.manager, change, within=2 * limit("members"))
            seen["reason"] = f"{name} leads"
        with step(record, "leader-replaced", first.name) as seen:
            seen["after"] = farm.elsewhere(first.name)

    def test_quorum_lost(self, farm: Farm, record: Recorder) -> None:
        """Of three managers one is left: what runs goes on and is served; nothing can be managed."""
        managers = {m.name for m in cluster.members(farm.manager) if m.manager}
        (dying,) = managers - {farm.manager.name, *farm.off}
        on = [name for name in cluster.spread(farm.manager, WEB) if name != dying]
        with step(record, "quorum-lost", dying) as seen:
            farm.lab.node(dying).power_off()
            farm.off.append(dying)
            seen["reason"] = wait_for(
                "management to refuse", lambda: refused(farm), within=2 * limit("members")
            )
        silent = [name for name in on if not farm.answers(name)]
        assert on, "not the thing under test: no replica is left"
        finding = Finding("services-without-quorum", "ok" if not silent else "down", len(on), "replicas")
        assert record(finding).ok, f"not served: {silent}"

    def test_force_new_cluster(self, farm: Farm, record: Recorder) -> None:
        """The manager that is left has its Raft state: services, network and containers are kept."""
        node = farm.manager
        running = set(services.containers(node, WEB))
        with step(record, "force-new-cluster", node.name) as seen:
            cluster.init(farm.lab, node, "--force-new-cluster")
            cluster.accepted(node, ["docker", "service", "scale", "--detach", f"{WEB}={REPLICAS - 1}"])
            kept = [s.name for s in node.docker.services.list()]
            seen["services"] = kept
        assert (WEB in kept, node.docker.networks.get(NETWORK).id) == (True, farm.network)
        value = "services kept" if set(services.containers(node, WEB)) <= running else "services restarted"
        finding = Finding("raft-state-kept", "ok", value, dst=node.name)
        assert record(finding, phase=Phase.HEAL, paper="force-new-cluster").ok
        assert value == "services kept"
        entries = cluster.members(node)
        assert [m.name for m in entries if m.manager] == [node.name]
        assert {m.name for m in entries} == set(NAMES), "workers are known still"

    def test_after_leave(self, farm: Farm, record: Recorder) -> None:
        """`swarm leave` deletes the Raft state, so nothing is left to be forced: the paper's question."""
        node = farm.manager
        before = cluster.attributes(node)["ID"]
        with step(record, "force-after-leave", node.name):
            node.run(["docker", "swarm", "leave", "--force"])
            cluster.init(farm.lab, node, "--force-new-cluster")
        left = [s.name for s in node.docker.services.list()]
        value = "a new Swarm without services" if not left else f"services {', '.join(left)}"
        assert cluster.attributes(node)["ID"] != before
        finding = Finding("raft-state-deleted", "state-deleted" if not left else "kept", value, dst=node.name)
        verdict = Verdict.PASS if not left else Verdict.FAIL
        record(finding, phase=Phase.FAULT, paper="force-after-leave", verdict=verdict)
        assert not left
