"""ZeroTier behind sidecars: the contract, what the paper says, its two kinds of network, and the paths."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from ipaddress import IPv4Network

import pytest

from fixtures import dockercoins as application_of
from fixtures.containers import in_network_of
from fixtures.dockercoins import DockerCoins
from fixtures.lab import Lab
from fixtures.sidecars import NODES
from fixtures.sidecars.watch import Watch
from fixtures.vantages import Vantages
from fixtures.waiting import NotYet, limit, wait_for
from overlab.model import Endpoint, Finding, Phase
from probes import reachability
from reports.files import RunFolder
from reports.recording import Recorder
from scenarios.families.sidecars.behind_nat import BehindNat
from scenarios.families.sidecars.contract import Ending, Losses, SidecarQuestions, watching
from scenarios.questions import encapsulation_of
from scenarios.zerotier.client import DIRECT, RELAY, cli, memberships, peers
from scenarios.zerotier.control import IMAGE, PORT
from scenarios.zerotier.overlay import MTU, ZeroTier

PRIVATE = IPv4Network("10.145.0.0/24")
PUBLISHED = PORT + 1
PUBLISHER = "publisher"


@pytest.fixture(scope="module", autouse=True)
def watch(lab: Lab, scenario: ZeroTier, run_folder: RunFolder) -> Iterator[Watch]:
    """Autouse: it is there before the overlay."""
    yield from watching(lab, scenario, run_folder)


class Own(SidecarQuestions):
    """What every overlay must show, and every VPN of sidecars; then what is ZeroTier's own."""

    @pytest.fixture(scope="class")
    @classmethod
    def publishers(cls, lab: Lab, overlay: ZeroTier, endpoints: list[Endpoint]) -> list[Endpoint]:
        """A member on each node whose port is published under its own number: `-p 9994:9994/udp`.

        After the captures of the contract, which would see them; long before they are asked for, as the
        root tells two who speak by it of each other when it knows both, and again after 30 s.
        """
        publish = [f"--publish={PUBLISHED}:{PUBLISHED}/udp"]

        def start(name: str) -> Endpoint:
            node = lab.node(name)
            run = ["docker", "run", "-d", "--name", PUBLISHER, *overlay.attach(node), *publish]
            node.run([*run, overlay.sidecar.image, f"-p{PUBLISHED}"])
            return Endpoint(PUBLISHER, node.name, overlay.join(node, PUBLISHER))

        with ThreadPoolExecutor(len(NODES)) as pool:
            started = list(pool.map(start, NODES))
        wait_for("the publishers' first packet", partial(ping, lab, *started), within=limit("members"))
        return started

    @pytest.fixture(scope="class")
    @classmethod
    def private(cls, lab: Lab, overlay: ZeroTier, endpoints: list[Endpoint]) -> str:
        """A private network: the first endpoint is admitted, both want in; long before it is asked for."""
        network = f"{overlay.main[:10]}000002"
        overlay.control.create(network, "private", PRIVATE, MTU, private=True)
        overlay.control.authorize(network, address_of(lab, endpoints[0]))
        for endpoint in endpoints:
            cli(lab.node(endpoint.node), endpoint.container, "join", network)
        return network

    @pytest.fixture(scope="class")
    @classmethod
    def application(
        cls,
        lab: Lab,
        overlay: ZeroTier,
        endpoints: list[Endpoint],
        publishers: list[Endpoint],
        private: str,
    ) -> Iterator[DockerCoins]:
        """DockerCoins by its Compose files; what needs time to come about has begun by then."""
        deployed = application_of.deploy(lab, overlay)
        yield deployed
        application_of.remove(lab, overlay, deployed)

    def test_version(self, lab: Lab, overlay: ZeroTier, record: Recorder) -> None:
        """The core is of the version that the paper builds."""
        found = overlay.version(lab)["zerotier"]
        assert record(Finding("version", "ok", found), paper="version").ok

    def test_members_of_the_public_network(
        self,
        lab: Lab,
        overlay: ZeroTier,
        endpoints: list[Endpoint],
        application: DockerCoins,
        record: Recorder,
    ) -> None:
        """`listnetworks` of each says OK, and an address that is its own; nobody was asked to let it in."""
        for endpoint in (*endpoints, *application.services.values()):
            found = memberships(lab.node(endpoint.node), endpoint.container)[overlay.main]
            assert record(Finding("network", "ok", found.type, dst=str(endpoint)), paper="network").ok
            assert found.addresses[0].network == overlay.network
            outcome = "ok" if (found.status, found.address) == ("OK", endpoint.address) else "no-member"
            assert record(Finding("listnetworks", outcome, found.status, dst=str(endpoint))).ok, found

    def test_device(self, lab: Lab, overlay: ZeroTier, endpoints: list[Endpoint], record: Recorder) -> None:
        """The network is an Ethernet in the sidecar: broadcast, a link address of its own, MTU 2800."""
        for endpoint in endpoints:
            node = lab.node(endpoint.node)
            said = memberships(node, endpoint.container)[overlay.main]
            shown = in_network_of(node, endpoint.process, ["ip", "-j", "link", "show", said.device])
            link = json.loads(shown.out)[0]
            assert "BROADCAST" in link["flags"], link
            assert link["address"] == said.mac
            finding = Finding("device-mtu", "ok", link["mtu"], "bytes", MTU, dst=str(endpoint))
            assert link["mtu"] == said.mtu == MTU
            assert record(finding).ok

    def test_a_full_frame_is_two_packets(
        self,
        lab: Lab,
        overlay: ZeroTier,
        endpoints: list[Endpoint],
        vantages: Vantages,
        record: Recorder,
    ) -> None:
        """2800 bytes leave as two UDP packets: the core never sends more than 1432 bytes in one."""
        ends = vantages.peers(endpoints)
        found = encapsulation_of(overlay, lab, ends, endpoints, vantages)(None)
        full = [f for f in found if f.evidence.get("size") == MTU]
        assert full, "not the thing under test: no full frame was measured"
        for finding in full:
            pieces = finding.evidence["carriers"]
            outcome = "ok" if finding.ok and len(pieces) == 2 else "wrong-count"
            shown = Finding("packets-a-frame", outcome, len(pieces), "packets", 2, finding.src, finding.dst)
            assert record(shown).ok, pieces

    def test_no_node_without_a_planet(self, lab: Lab, overlay: ZeroTier, record: Recorder) -> None:
        """The daemon does not start where there is only the planet that is built into the core."""
        node = lab.node("control")
        done = node.run(["docker", "run", "--rm", "--network=none", IMAGE], check=False)
        refused = done.status != 0 and "no planet" in done.err
        assert record(Finding("no-planet", "ok" if refused else "started", done.err.strip())).ok, done

    def test_paths(self, lab: Lab, overlay: ZeroTier, application: DockerCoins, record: Recorder) -> None:
        """Behind one bridge members reach each other directly; between nodes the root relays."""
        worker = application["worker"]
        for need, promised in (("rng", DIRECT), ("hasher", RELAY)):
            look = partial(on_path, lab, overlay, (worker, application[need]), promised)
            wait_for(f"the worker's path to {need}", look, within=limit("members"))
            finding = Finding("path", "ok", promised, "", promised, str(worker), str(application[need]))
            assert record(finding).ok, finding

    def test_private_network(
        self, lab: Lab, overlay: ZeroTier, endpoints: list[Endpoint], private: str, record: Recorder
    ) -> None:
        """Of a private network only the authorized are members; the other is refused until it is one."""
        let_in, other = endpoints
        statuses = {let_in: "OK", other: "ACCESS_DENIED"}
        for endpoint, status in statuses.items():
            until(lab, endpoint, private, status)
            found = memberships(lab.node(endpoint.node), endpoint.container)[private]
            refused = status != "OK" and not found.addresses and not found.device
            outcome = "ok" if status == "OK" or refused else "let-in"
            phase = Phase.PROBE if status == "OK" else Phase.FAULT
            assert record(Finding("private", outcome, found.status, dst=str(endpoint)), phase=phase).ok, found
        overlay.control.authorize(private, address_of(lab, other))
        for word in ("leave", "join"):  # a node asks again by itself only after a minute
            cli(lab.node(other.node), other.container, word, private)
        until(lab, other, private, "OK")
        member = memberships(lab.node(other.node), other.container)[private]
        inside = Endpoint(other.container, other.node, member.address)
        wait_for(
            "a packet in the private network", partial(ping, lab, let_in, inside), within=limit("members")
        )
        assert record(Finding("private", "ok", member.status, dst=str(other)), phase=Phase.HEAL).ok
        for endpoint in endpoints:
            cli(lab.node(endpoint.node), endpoint.container, "leave", private)

    def test_direct_between_published_ports(
        self,
        lab: Lab,
        overlay: ZeroTier,
        publishers: list[Endpoint],
        vantages: Vantages,
        record: Recorder,
    ) -> None:
        """The root tells two who speak by it of each other, every 30 s: then they speak directly."""
        src, dst = publishers
        for ends in (publishers, publishers[::-1]):
            look = partial(on_path, lab, overlay, (ends[0], ends[1]), DIRECT)
            wait_for("a direct path between published ports", look, within=2 * limit("members"))
        known = peers(lab.node(src.node), src.container)[address_of(lab, dst)]
        promised = f"{lab.node(dst.node).address}/{PUBLISHED}"
        outcome = "ok" if known.at == promised else "another-address"
        finding = Finding("path", outcome, known.at, "", promised, str(src), str(dst), "published ports")
        assert record(finding).ok, finding
        pair = [(vantages.peer(src), vantages.peer(dst))]
        for found in reachability.check(pair, protocols=[reachability.Protocol.UDP]):
            assert record(found).ok, found

    def test_root_is_cut_off(
        self,
        lab: Lab,
        publishers: list[Endpoint],
        endpoints: list[Endpoint],
        record: Recorder,
    ) -> None:
        """Without the root what is relayed stands still, and what is direct goes on: so they are that."""
        with lab.underlay.partition(lab.node("control")) as fault:
            through = [answers(lab, *publishers), answers(lab, *endpoints)]
            assert fault.hits(), "invalid: nothing met the cut"
        outcome = "ok" if through == [True, False] else "not-what-they-said"
        words = ", ".join("answered" if answered else "silent" for answered in through)
        finding = Finding("root-cut-off", outcome, words, "", "answered, silent", reason="direct, relayed")
        assert record(finding, phase=Phase.FAULT).ok, finding
        wait_for("the root to relay again", partial(ping, lab, *endpoints), within=limit("members"))


class TestContract(Losses, Own):
    """The contract, the sidecars, what is ZeroTier's own; then what is lost when something dies."""


class TestNat(BehindNat):
    """Behind NATs of the underlay, where that is asked for."""


class TestEnd(Ending):
    """What holds for the whole run."""


def ping(lab: Lab, src: Endpoint, dst: Endpoint) -> None:
    """Send one echo; NotYet when it is not answered."""
    argv = ["ping", "-c", "1", "-W", "1", str(dst.address)]
    if in_network_of(lab.node(src.node), src.container, argv, check=False, quiet=True).status != 0:
        raise NotYet(f"{src} has no answer from {dst}")


def answers(lab: Lab, src: Endpoint, dst: Endpoint) -> bool:
    """True when one echo is answered."""
    try:
        ping(lab, src, dst)
    except NotYet:
        return False
    return True


def on_path(lab: Lab, overlay: ZeroTier, ends: tuple[Endpoint, Endpoint], wanted: str) -> None:
    """Raise NotYet until packets take the path that is wanted; only who sends looks for a better one."""
    ping(lab, *ends)
    if (path := overlay.path(lab, *ends)) != wanted:
        raise NotYet(f"{ends[0]} → {ends[1]} is {path}")


def address_of(lab: Lab, endpoint: Endpoint) -> str:
    """Return a member's ZeroTier address: ten hex digits of its identity."""
    return cli(lab.node(endpoint.node), endpoint.container, "info", quiet=True).split()[2]


def until(lab: Lab, endpoint: Endpoint, network: str, status: str) -> None:
    """Wait until a network has a status for a member; a node asks a controller every 5 s."""

    def has() -> None:
        found = memberships(lab.node(endpoint.node), endpoint.container, quiet=True).get(network)
        if found is None or found.status != status:
            raise NotYet(found.status if found else "it has not joined")

    wait_for(f"{network} to be {status} for {endpoint}", has, within=limit("members"))
