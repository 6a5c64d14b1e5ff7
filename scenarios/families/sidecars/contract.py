"""What every VPN of sidecars must show beside the contract. A scenario's test file has

    @pytest.fixture(scope="module", autouse=True)
    def watch(lab: Lab, scenario: SidecarOverlay, run_folder: RunFolder) -> Iterator[Watch]:
        yield from watching(lab, scenario, run_folder)

    class TestContract(SidecarContract): ...     contract, sidecars, losses
    class TestNat(BehindNat): ...                scenarios/families/sidecars/behind_nat.py
    class TestEnd(Ending): ...                   last

`watch` is autouse, so that it is there before the overlay. Where something of the VPN's own is to be asked
before a node reboots, it goes between the two parts: `class Own(SidecarQuestions)`, and
`class TestContract(Losses, Own)`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from fixtures.containers import in_network_of
from fixtures.dockercoins import NEEDS, PUBLISHED, DockerCoins
from fixtures.lab import Lab
from fixtures.node import Node
from fixtures.sidecars import CONTROL, SidecarOverlay, is_stranded, names_in
from fixtures.sidecars.ending import links_of
from fixtures.sidecars.keys import in_files, in_logs
from fixtures.sidecars.watch import Watch
from fixtures.vantages import Vantages
from fixtures.waiting import NotYet, limit, wait_for
from overlab.model import Endpoint, Finding, Phase
from probes import reachability
from probes.dockercoins import ONE_WORKER
from reports.files import RunFolder
from reports.recording import Recorder
from scenarios.contract import Contract

STRANGER = "203.0.113.1"  # of documentation (RFC 5737): in no lab
SECOND_OF_HASHES = int(ONE_WORKER) + 1


def watching(lab: Lab, scenario: SidecarOverlay, run_folder: RunFolder) -> Iterator[Watch]:
    """Watch a whole run for packets to addresses outside the lab."""
    watch = Watch(lab, run_folder.evidence / f"outside-{lab.topology.name}", [scenario.network])
    watch.start()
    try:
        yield watch
    finally:
        watch.stop()


@dataclass(frozen=True, slots=True)
class Books:
    """What Redis knows: the counter, and the coins."""

    hashes: int
    wallet: frozenset[str]

    @classmethod
    def read(cls, lab: Lab, application: DockerCoins) -> Books:
        """Read them where they are; NotYet while Redis does not answer."""
        redis = application["redis"]

        def ask(*words: str) -> str:
            argv = ["docker", "exec", redis.process, "redis-cli", *words]
            done = lab.node(redis.node).run(argv, check=False, quiet=True)
            if done.status != 0 or done.out.startswith(("LOADING", "Could not connect")):
                raise NotYet((done.out + done.err).strip()[-200:])
            return done.out

        return cls(int(ask("get", "hashes") or 0), frozenset(ask("hkeys", "wallet").split()))


def grown(lab: Lab, application: DockerCoins, above: int) -> Books:
    """Wait until the counter is above `above`."""

    def more() -> Books:
        books = Books.read(lab, application)
        if books.hashes <= above:
            raise NotYet(f"the counter is {books.hashes}")
        return books

    return wait_for(f"the counter to be above {above}", more, within=limit("members"))


def inspect(node: Node, container: str) -> dict[str, Any]:
    """Return what the engine says of a container."""
    found: dict[str, Any] = json.loads(node.run(["docker", "inspect", container], quiet=True).out)[0]
    return found


class SidecarQuestions(Contract):
    """The contract, and what the paper's sidecars add to it."""

    def test_given_no_more(
        self, lab: Lab, overlay: SidecarOverlay, application: DockerCoins, record: Recorder
    ) -> None:
        """The Compose files give a sidecar what the paper gives it, and no more; the rest they give nothing.

        The scenario's paper.toml has `capabilities`, `devices`, `rng-port`, `hasher-port` and `webui-port`.
        """
        wanted = overlay.sidecar
        for name, endpoint in application.services.items():
            node = lab.node(endpoint.node)
            sidecar, behind = (inspect(node, container) for container in endpoint.containers)
            given, own = sidecar["HostConfig"], behind["HostConfig"]
            capabilities = sorted(x.removeprefix("CAP_") for x in given["CapAdd"] or ())
            devices = sorted(device["PathOnHost"] for device in given["Devices"] or ())
            for what, words in (("capabilities", capabilities), ("devices", devices)):
                assert record(Finding(what, "ok", ", ".join(words), dst=name), paper=what).ok, (name, words)
            for bound in (given["PortBindings"] or {}).values():
                port = Finding("published-port", "ok", int(bound[0]["HostPort"]), dst=name)
                assert record(port, paper=f"{name}-port").ok, port
            # What `docker run` gives the sidecars outside the Compose files is the same.
            assert (capabilities, devices) == (sorted(wanted.capabilities), sorted(wanted.devices)), name
            assert sidecar["Config"]["Image"] == wanted.image, name
            assert not given["Privileged"], name
            assert len(given["PortBindings"] or {}) == (name in PUBLISHED), name
            for key in ("CapAdd", "Devices", "Privileged", "PortBindings"):
                assert not own[key], (name, key)
            assert own["NetworkMode"] == f"container:{sidecar['Id']}", name

    def test_own_subnets(self, lab: Lab, application: DockerCoins, record: Recorder) -> None:
        """No two nodes have one subnet for their sidecars: they would believe that they are neighbours."""
        subnets = {
            node: inspect(lab.node(node), "dockercoins_default")["IPAM"]["Config"][0]["Subnet"]
            for node in {endpoint.node for endpoint in application.services.values()}
        }
        differ = len(set(subnets.values())) == len(subnets)
        for node, subnet in sorted(subnets.items()):
            assert record(Finding("subnet", "ok" if differ else "shared", subnet, dst=node)).ok, subnets

    def test_names_are_written(self, lab: Lab, application: DockerCoins, record: Recorder) -> None:
        """A service finds in its hosts file what it needs, at the addresses that the VPN gave."""
        for service, needs in NEEDS.items():
            endpoint = application[service]
            found = names_in(lab.node(endpoint.node), endpoint.process)
            for need in needs:
                address, said = str(application[need].address), found.get(need, "nothing")
                outcome = "ok" if said == address else "wrong-name"
                finding = Finding("hosts-file", outcome, said, "", address, src=str(endpoint), dst=need)
                assert record(finding).ok, finding

    def test_spoken_by_the_vpn(
        self, lab: Lab, overlay: SidecarOverlay, application: DockerCoins, record: Recorder
    ) -> None:
        """What the worker is connected with is in the VPN: Docker's own DNS knows some of these names too."""
        worker = application["worker"]
        beside: set[str] = set()
        through: set[str] = set()

        def connected() -> None:
            # a client of the VPN may have TCP connections of its own, with its control plane
            for address in remotes(lab.node(worker.node), worker) - {str(lab.node(CONTROL).address)}:
                (through if address in addresses else beside).add(address)
            if len(through) < len(NEEDS["worker"]):
                raise NotYet(f"connections with {', '.join(sorted(through | beside)) or 'nobody'}")

        addresses = {str(application[need].address) for need in NEEDS["worker"]}
        wait_for("the worker to speak with all three", connected, within=limit("application"))
        finding = Finding(
            "connections", "beside-the-vpn" if beside else "ok", len(through), "addresses", src=str(worker),
            reason=", ".join(sorted(beside)), evidence={"through": sorted(through)},
        )  # fmt: skip
        assert record(finding).ok, finding


class Losses:
    """What is lost when a sidecar dies, or a node reboots."""

    def test_a_sidecar_dies(
        self,
        lab: Lab,
        overlay: SidecarOverlay,
        application: DockerCoins,
        vantages: Vantages,
        record: Recorder,
    ) -> None:
        """Its application runs on, and nobody can reach it; both start again, and nothing is lost."""
        redis = application["redis"]
        node = lab.node(redis.node)
        vantages.drop(vantages.peer(redis))
        assert not is_stranded(node, redis), "not the thing under test"
        before, started = Books.read(lab, application), time.monotonic()
        node.run(["docker", "kill", redis.container])
        _show_stranded(node, redis, "the sidecar is dead", record)
        node.run(["docker", "start", redis.container])
        _show_stranded(node, redis, "the sidecar has started again, alone", record)
        mended = overlay.mend(lab, application, "redis")
        assert not is_stranded(node, mended["redis"])
        after = grown(lab, mended, before.hashes)
        outage = round(time.monotonic() - started, 2)
        lost = len(before.wallet - after.wallet)
        assert record(Finding("coins-lost", "lost" if lost else "ok", lost, "coins"), phase=Phase.HEAL).ok
        assert record(Finding("sidecar-outage", "ok", outage, "s", dst=str(redis)), phase=Phase.HEAL).ok
        find_each_other(mended, vantages, record)

    def test_a_node_reboots(
        self,
        lab: Lab,
        overlay: SidecarOverlay,
        application: DockerCoins,
        endpoints: list[Endpoint],
        vantages: Vantages,
        watch: Watch,
        record: Recorder,
    ) -> None:
        """The sidecars are members again, names are written again; at most a second of hashes is lost."""
        application = overlay.look(lab, application)
        node = lab.node(application["redis"].node)
        vantages.forget(node.name)
        before, started = Books.read(lab, application), time.monotonic()
        node.reboot()
        watch.again(node)
        back = overlay.revive_application(lab, application, node)
        first = wait_for("Redis", partial(Books.read, lab, back), within=limit("application"))
        lost = max(0, before.hashes - first.hashes)
        grown(lab, back, first.hashes)
        outage = round(time.monotonic() - started, 2)
        outcome = "ok" if lost <= SECOND_OF_HASHES else "lost"
        assert record(Finding("hashes-lost", outcome, lost, "hashes"), phase=Phase.HEAL).ok, (before, first)
        assert before.wallet <= first.wallet or lost, "coins are lost, and no hashes"
        assert record(Finding("reboot-outage", "ok", outage, "s", dst=node.name), phase=Phase.HEAL).ok
        find_each_other(back, vantages, record)
        overlay.revive(lab, [e for e in endpoints if e.node == node.name])


class SidecarContract(Losses, SidecarQuestions):
    """All of it."""


def _show_stranded(node: Node, endpoint: Endpoint, when: str, record: Recorder) -> None:
    links = links_of(node, endpoint.process)
    runs = inspect(node, endpoint.process)["State"]["Running"]
    assert runs, f"not the thing under test: {endpoint.process} ended with its sidecar"
    outcome = "ok" if is_stranded(node, endpoint) and links == ["lo"] else "not-stranded"
    finding = Finding("stranded", outcome, ", ".join(links), "interfaces", dst=endpoint.process, reason=when)
    assert record(finding, phase=Phase.FAULT).ok, finding


def remotes(node: Node, endpoint: Endpoint) -> set[str]:
    """Return the addresses that a service has TCP connections with, at this moment."""
    shown = in_network_of(node, endpoint.container, ["ss", "-Htn"], quiet=True).out
    return {line.split()[4].rpartition(":")[0] for line in shown.splitlines() if len(line.split()) > 4}


def find_each_other(application: DockerCoins, vantages: Vantages, record: Recorder) -> None:
    """Hold that the worker finds all that it needs, by name."""
    worker = vantages.peer(application["worker"])
    pairs = [(worker, vantages.peer(application[need])) for need in NEEDS["worker"]]
    for protocol in (reachability.Protocol.NAME, reachability.Protocol.UDP):
        for found in reachability.check(pairs, protocols=[protocol], attempts=5):
            assert record(found, phase=Phase.HEAL).ok, found


class Ending:
    """What holds for the whole run, asked when all else was."""

    def test_no_key_is_readable(
        self, lab: Lab, overlay: SidecarOverlay, run_folder: RunFolder, record: Recorder
    ) -> None:
        """No key is in a result, a transcript, a capture or a log; one that is put there is found."""
        secrets = overlay.secrets()
        assert secrets, "not the thing under test: there are no keys"
        bait = run_folder.evidence / "bait.txt"
        bait.write_text(secrets[-1].reveal())
        try:
            assert in_files(run_folder.path, secrets), "a key in a file was not found"
        finally:
            bait.unlink()
        found = in_files(run_folder.path, secrets) + in_logs(lab, secrets)
        finding = Finding(
            "keys", "readable" if found else "ok", len(secrets), "keys", reason="; ".join(found[:3])
        )
        assert record(finding).ok, finding

    def test_nothing_left_the_lab(
        self, lab: Lab, overlay: SidecarOverlay, endpoints: list[Endpoint], watch: Watch, record: Recorder
    ) -> None:
        """Not one packet of the whole run was for an address outside the lab; a deliberate one is seen."""
        seen = watch.seen()
        finding = Finding("packets-outside", "left-the-lab" if seen else "ok", seen, "packets", 0)
        assert record(finding).ok, finding
        stranger = endpoints[0]
        ping = ["ping", "-c", "1", "-W", "1", STRANGER]
        in_network_of(lab.node(stranger.node), stranger.container, ping, check=False)

        def noticed() -> None:
            if not watch.seen():
                raise NotYet("no packet")

        wait_for(f"the packet to {STRANGER} to be seen", noticed, within=limit("service"))
