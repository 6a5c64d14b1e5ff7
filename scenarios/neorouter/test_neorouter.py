"""NeoRouter behind sidecars: the contract, and the paper's commands; skipped without its packages."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator

import pytest

from fixtures.containers import in_network_of
from fixtures.dockercoins import DockerCoins
from fixtures.lab import Lab
from fixtures.sidecars.watch import Watch
from overlab.errors import OverlabError
from overlab.model import Endpoint, Finding, Phase, Secret
from reports.files import RunFolder
from reports.recording import Recorder
from scenarios.families.sidecars.behind_nat import BehindNat
from scenarios.families.sidecars.contract import Ending, Losses, SidecarQuestions, inspect, watching
from scenarios.neorouter.listing import addresses
from scenarios.neorouter.overlay import ADDRESSES, ADMIN, DEVICE, DOMAIN, USER, NeoRouter

UNDOCUMENTED = "the vendor documents no packet format — measure it, then let the overlay promise it"


@pytest.fixture(scope="module", autouse=True)
def watch(lab: Lab, scenario: NeoRouter, run_folder: RunFolder) -> Iterator[Watch]:
    """Autouse: it is there before the overlay."""
    yield from watching(lab, scenario, run_folder)


class Own(SidecarQuestions):
    """What every overlay and every VPN of sidecars must show, but for what nobody promises; the paper."""

    @pytest.mark.skip(reason=UNDOCUMENTED)
    def test_encapsulation(self) -> None:  # type: ignore[override]
        """What is around a packet."""

    @pytest.mark.skip(reason=UNDOCUMENTED)
    def test_encapsulation_can_fail(self) -> None:  # type: ignore[override]
        """Whether that could be seen to be wrong."""

    def test_settings(self, lab: Lab, overlay: NeoRouter, record: Recorder) -> None:
        """The server shows the domain, the range that keeps clear of VirtualBox's, and both users."""
        control = lab.node("control")
        settings = overlay.serve(control, "-showsettings")
        assert record(_holds("domain", settings, DOMAIN), paper="domain").ok, settings
        assert record(_holds("range", settings, str(ADDRESSES.network_address)), paper="range").ok, settings
        users = overlay.serve(control, "-showusers")
        for name in (ADMIN, USER):
            assert record(_holds("user", users, name)).ok, users

    def test_computers(
        self,
        lab: Lab,
        overlay: NeoRouter,
        endpoints: list[Endpoint],
        application: DockerCoins,
        record: Recorder,
    ) -> None:
        """The server lists every member at the address that it has."""
        listed = addresses(overlay.serve(lab.node("control"), "-showcomputers"))
        for endpoint in (*endpoints, *application.services.values()):
            outcome = "ok" if endpoint.address in listed else "not-listed"
            finding = Finding("showcomputers", outcome, str(endpoint.address), dst=str(endpoint))
            assert record(finding).ok, listed

    def test_own_link_addresses(
        self, lab: Lab, endpoints: list[Endpoint], application: DockerCoins, record: Recorder
    ) -> None:
        """No two sidecars have one link address, which the server would give one address of the VPN."""
        seen: dict[str, str] = {}
        for endpoint in (*endpoints, *application.services.values()):
            shown = in_network_of(
                lab.node(endpoint.node), endpoint.container, ["ip", "-j", "link", "show", "eth0"]
            )
            mac = json.loads(shown.out)[0]["address"]
            assert mac not in seen, f"{endpoint} has the link address of {seen[mac]}"
            seen[mac] = str(endpoint)
        assert record(Finding("link-addresses", "ok", len(seen), "addresses")).ok
        network = inspect(lab.node("node2"), "dockercoins_default")["IPAM"]["Config"][0]
        finding = Finding("subnet", "ok", network["Subnet"], dst="node2")
        assert record(finding, paper="node2-subnet").ok, finding

    def test_device(self, lab: Lab, endpoints: list[Endpoint], record: Recorder) -> None:
        """The network is an Ethernet in the sidecar, whose MTU is read."""
        for endpoint in endpoints:
            node = lab.node(endpoint.node)
            shown = in_network_of(node, endpoint.process, ["ip", "-j", "link", "show", DEVICE])
            link = json.loads(shown.out)[0]
            assert "BROADCAST" in link["flags"], link
            assert record(Finding("device-mtu", "ok", link["mtu"], "bytes", dst=str(endpoint))).ok

    def test_wrong_password(
        self, lab: Lab, overlay: NeoRouter, endpoints: list[Endpoint], record: Recorder
    ) -> None:
        """Who has the wrong password is refused, and told so."""
        wrong = Secret("NR_WRONG_PASSWORD", secrets.token_urlsafe(12))
        lab.secret(wrong)
        endpoint = endpoints[0]
        with pytest.raises(OverlabError, match="not let in") as told:
            overlay.sign_in(lab.node(endpoint.node), endpoint.container, wrong)
        record(Finding("wrong-password", "ok", dst=str(endpoint), reason=told.value.what), phase=Phase.FAULT)
        overlay.join(lab.node(endpoint.node), endpoint.container)


class TestContract(Losses, Own):
    """The contract, the sidecars, the paper's commands; then what is lost when something dies."""


class TestNat(BehindNat):
    """Behind NATs of the underlay, where that is asked for."""


class TestEnd(Ending):
    """What holds for the whole run."""


def _holds(what: str, text: str, word: str) -> Finding:
    return Finding(what, "ok" if word in text else "not-shown", word)
