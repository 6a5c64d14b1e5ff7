"""Tailscale sidecars: the contract, what members know of each other, paths and the NATs that decide them."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import ValidationError

from fixtures.containers import in_network_of
from fixtures.dockercoins import DockerCoins
from fixtures.lab import Lab
from fixtures.node import Node
from fixtures.overlay import Overlay
from fixtures.sidecars import CONTROL, NODES, SidecarOverlay
from fixtures.sidecars.watch import Watch
from fixtures.vantages import Vantages
from fixtures.waiting import limit
from overlab.errors import NotHereError, NotReadyError, OverlabError, UsageError
from overlab.model import Endpoint, Finding, Phase, Secret, Verdict
from overlab.paths import CHECKOUT
from probes import outage
from reports.files import RunFolder
from reports.recording import Recorder
from scenarios.families.sidecars.behind_nat import BehindNat
from scenarios.families.sidecars.contract import Ending, Losses, SidecarQuestions, watching
from scenarios.tailscale import members, nat
from scenarios.tailscale.members import Route
from scenarios.tailscale.options import EMBEDDED, Options
from scenarios.tailscale.overlay import CONTROL_PORT, MTU, TailscaleSidecars

TUNNEL = "tailscale0"
CHANCE_S = 4.0  # where there is a direct path, it is found in less than 1 s


@pytest.fixture(scope="module")
def tailnet(overlay: Overlay) -> TailscaleSidecars:
    """The overlay, by its own name."""
    assert isinstance(overlay, TailscaleSidecars)
    return overlay


@pytest.fixture(scope="module", autouse=True)
def watch(lab: Lab, scenario: SidecarOverlay, run_folder: RunFolder) -> Iterator[Watch]:
    """Watch the whole run for what leaves the lab."""
    yield from watching(lab, scenario, run_folder)


class Own(SidecarQuestions):
    """What every overlay of sidecars must show, and what members know of each other."""

    def test_paper(
        self, lab: Lab, tailnet: TailscaleSidecars, application: DockerCoins, record: Recorder
    ) -> None:
        """What the paper prints, read from what runs: where services are, and the version."""
        for node in NODES:
            there = sorted(name for name, e in application.services.items() if e.node == node)
            finding = Finding("services", "ok", ", ".join(there), dst=node)
            assert record(finding, paper=node).ok, finding
        pinned = re.search(r"tailscale\.com v(\S+)", (CHECKOUT / tailnet.folder / "go/go.mod").read_text())
        runs = tailnet.version(lab)["tailscale"]
        assert pinned
        assert runs == pinned.group(1)
        record(Finding("version", "ok", ".".join(runs.split(".")[:2])), paper="version")

    def test_every_member_knows_all(
        self, lab: Lab, endpoints: list[Endpoint], application: DockerCoins, record: Recorder
    ) -> None:
        """`tailscale status` of each lists all others, by the names and addresses that are theirs."""
        everybody = [*endpoints, *application.services.values()]
        truth = {e.address: f"{e.node}-{e.container}" for e in everybody}
        for endpoint in everybody:
            seen = members.status(lab.node(endpoint.node), endpoint.container, quiet=False)
            known = {seen.own.address: seen.own.name} | {a: m.name for a, m in seen.peers.items() if m.online}
            missing = sorted(name for address, name in truth.items() if known.get(address) != name)
            reason = (
                f"{seen.state}, without {', '.join(missing)}" if missing or seen.state != "Running" else ""
            )
            outcome = "incomplete" if reason else "ok"
            finding = Finding("members", outcome, len(known), "members", len(truth))
            assert record(replace(finding, src=str(endpoint), reason=reason)).ok, finding

    def test_tunnel(self, lab: Lab, endpoints: list[Endpoint], record: Recorder) -> None:
        """What is in a sidecar's network: a point-to-point device without link addresses, MTU 1280."""
        for endpoint in endpoints:
            shown = in_network_of(
                lab.node(endpoint.node), endpoint.container, ["ip", "-j", "address", "show", TUNNEL]
            )
            (link,) = json.loads(shown.out)
            assert {"POINTOPOINT", "NOARP"} <= set(link["flags"]), link
            assert str(endpoint.address) in [a["local"] for a in link["addr_info"]]
            outcome = "ok" if link["mtu"] == MTU else "wrong-mtu"
            finding = Finding("tunnel-mtu", outcome, link["mtu"], "bytes", MTU, dst=str(endpoint))
            assert record(finding).ok, finding


class TestContract(Losses, Own):
    """All that, and then sidecars and nodes that go and come back."""


@contextmanager
def behind(lab: Lab, tailnet: TailscaleSidecars, kind: nat.Kind) -> Iterator[list[Endpoint]]:
    """Put both nodes' sidecars behind another kind of NAT, and give a new one on each."""
    nodes = [lab.node(name) for name in NODES]
    started: list[Endpoint] = []
    for node in nodes:
        nat.take_down(node, tailnet.nat)
        nat.set_up(node, kind)
    try:
        started += [tailnet.run(node, f"behind-{kind}", "overlab/tools") for node in nodes]
        yield started
    finally:
        for endpoint in started:
            tailnet.discard(lab.node(endpoint.node), [endpoint])
        for node in nodes:
            nat.take_down(node, kind)
            nat.set_up(node, tailnet.nat)


class TestPath:
    """Direct or by a relay: measured, and decided by the NATs and by what the network lets through."""

    def test_path(
        self, lab: Lab, tailnet: TailscaleSidecars, endpoints: list[Endpoint], record: Recorder
    ) -> None:
        """Both directions take the path that this NAT allows."""
        near, far = endpoints
        tailnet.read_ports(lab, endpoints)
        for src, dst in ((near, far), (far, near)):
            node = lab.node(src.node)
            found = members.path(lab.node(CONTROL), node, src.container, dst.address, tailnet.route)
            assert record(found).ok, found

    @pytest.mark.parametrize("which", [0, 1])
    def test_path_behind_another(
        self,
        which: int,
        lab: Lab,
        tailnet: TailscaleSidecars,
        endpoints: list[Endpoint],
        record: Recorder,
    ) -> None:
        """New members take the path that the other kinds of NAT allow: one rule decides."""
        kind = [kind for kind in nat.PATHS if kind != tailnet.nat][which]
        wanted = nat.PATHS[kind]
        with behind(lab, tailnet, kind) as (near, far):
            node, chance = lab.node(near.node), limit("overlay") if wanted is Route.DIRECT else CHANCE_S
            with suppress(NotReadyError):  # who finds no direct path has looked for one
                members.settled(node, near.container, far.address, Route.DIRECT, within=chance)
            found = members.path(lab.node(CONTROL), node, near.container, far.address, wanted)
            record(replace(found, probe=f"path-{kind}"), phase=Phase.FAULT)
            assert found.ok, found

    def test_udp_is_blocked(
        self,
        lab: Lab,
        tailnet: TailscaleSidecars,
        endpoints: list[Endpoint],
        vantages: Vantages,
        record: Recorder,
    ) -> None:
        """A network without UDP: packets go by the relay after an outage, and directly again afterwards."""
        if tailnet.route is not Route.DIRECT:
            pytest.skip(f"nat={tailnet.nat} has no direct path to lose — use -O tailscale.nat=easy")
        near, far = endpoints
        node = lab.node(near.node)
        members.settled(node, near.container, far.address, Route.DIRECT, within=limit("overlay"))
        hits: list[int] = []

        def block() -> None:
            with lab.underlay.blocked("udp") as fault:
                members.settled(node, near.container, far.address, Route.RELAYED, within=limit("members"))
                hits.append(fault.hits())

        found = outage.during(vantages.peer(near), vantages.peer(far), block)
        assert hits, "invalid: nothing met the block"
        assert hits[0] > 0, "invalid: nothing met the block"
        assert record(found, phase=Phase.FAULT).ok, found
        back = members.settled(node, near.container, far.address, Route.DIRECT, within=limit("members"))
        record(
            Finding("path", "ok", str(back.route), promised=str(Route.DIRECT), dst=str(far)), phase=Phase.HEAL
        )


@contextmanager
def newcomer(lab: Lab, tailnet: TailscaleSidecars, name: str) -> Iterator[tuple[Node, str]]:
    """Start one more sidecar on node1, which is no member yet; give its node and its name."""
    node = lab.node("node1")
    node.run(["docker", "run", "-d", "--name", name, *tailnet.attach(node), tailnet.sidecar.image])
    try:
        yield node, name
    finally:
        node.run(["docker", "rm", "-f", "-v", name])


class TestLogin:
    """Who is let in, and who is not."""

    def test_a_wrong_key(
        self, lab: Lab, tailnet: TailscaleSidecars, endpoints: list[Endpoint], record: Recorder
    ) -> None:
        """A wrong key is refused in the control plane's words, and nobody has heard of its owner."""
        wrong = Secret("WRONG_KEY", f"tskey-auth-wrong-{secrets.token_hex(8)}")
        lab.secret(wrong)
        with newcomer(lab, tailnet, "stranger") as (node, name):
            with pytest.raises(
                OverlabError, match=r"node1/stranger was not let in with \$WRONG_KEY: .*key"
            ) as e:
                tailnet.log_in(node, name, wrong)
            assert members.status(node, name).state == "NeedsLogin"
            known = members.status(node, endpoints[0].container).peers.values()
            assert not [member for member in known if member.name == "node1-stranger"]
            tailnet.join(node, name)
            assert members.status(node, name).state == "Running", "not the thing under test: it was the key"
        assert wrong.reveal() not in str(e.value)
        record(Finding("login", "refused", reason=e.value.what), phase=Phase.FAULT, verdict=Verdict.PASS)

    def test_a_login_server_of_the_users(
        self, lab: Lab, tailnet: TailscaleSidecars, endpoints: list[Endpoint], tmp_path: Path
    ) -> None:
        """Asked for by URL and a file of keys, a control plane is used as it is (here: the lab's own)."""
        if tailnet.control != EMBEDDED:
            pytest.skip("the lab's own control plane plays the user's — use -O tailscale.control=embedded")
        keys = tmp_path / "keys"
        keys.write_text(f"# for everybody\n{tailnet.secrets()[0].reveal()}\n")
        url = f"http://{lab.node(CONTROL).address}:{CONTROL_PORT}"
        theirs = made(control=url, keys=str(keys))
        theirs.check_here(outside=False)
        with newcomer(lab, theirs, "by-url") as (node, name):
            tailnet.trust(node, name)  # a server of the user's has a certificate that everybody knows
            address = theirs.join(node, name)
            assert members.speak(node, name, endpoints[0].address)
            assert members.status(node, endpoints[0].container).peers[address].name == "node1-by-url"


def made(**options: str) -> TailscaleSidecars:
    """Return the overlay with these options."""
    return TailscaleSidecars(Options.model_validate(options))


class TestOptions:
    """What is refused before anything is booted."""

    @pytest.mark.parametrize(
        ("options", "said"),
        [
            ({"control": "headscale"}, "neither embedded, vendor, nor a URL"),
            ({"control": "https://"}, "neither embedded, vendor, nor a URL"),
            ({"control": "vendor"}, "control=vendor needs auth keys; put them into a file"),
            ({"control": "vendor", "keys": "/nowhere"}, "keys=/nowhere: No such file or directory; name a"),
            ({"nat": "none"}, "nat"),
        ],
    )
    def test_bad_options(self, options: dict[str, str], said: str) -> None:
        with pytest.raises((UsageError, ValidationError), match=re.escape(said)):
            made(**options)

    def test_keys_are_given_in_turn(self, tmp_path: Path) -> None:
        """One key for each sidecar, the same again when it joins again; and none is ever shown."""
        (tmp_path / "keys").write_text("one\n\n# two is wrong\nthree\n")
        theirs = made(control="vendor", keys=str(tmp_path / "keys"))
        assert [key.reveal() for key in theirs.secrets()] == ["one", "three"]
        assert str(theirs.secrets()) == "[$TS_AUTHKEY_1, $TS_AUTHKEY_2]"
        given = [theirs.key_for(name).reveal() for name in ("n/a", "n/b", "n/a")]
        assert given == ["one", "three", "one"]

    def test_nodes_without_a_way_out(self, tmp_path: Path) -> None:
        """A control plane outside is refused by name on nodes that reach nothing outside their lab."""
        (tmp_path / "keys").write_text("one\n")
        for control in ("vendor", "https://headscale.example"):
            theirs = made(control=control, keys=str(tmp_path / "keys"))
            with pytest.raises(NotHereError, match=r"reach nothing outside.*control=embedded"):
                theirs.check_here(outside=False)
            theirs.check_here(outside=True)
        made().check_here(outside=False)

    def test_what_is_read_of_a_refusal(self) -> None:
        assert members.refusal("\nbackend error: invalid key: API key does not exist\n") == (
            "invalid key: API key does not exist"
        )
        assert members.refusal("failed to connect to local tailscaled") == ""


class TestNat(BehindNat):
    """What is in front of the nodes decides too."""


class TestEnd(Ending):
    """What holds for the whole run."""
