r"""NeoRouter behind sidecars: members sign in to a server, which gives each an address by its link address.

    node1 192.168.63.11                             node2 192.168.63.12
    +-----------------------------------+           +-----------------------------------+
    | worker-orig   rng-orig redis-orig |           | hasher-orig   webui-orig          |
    |   : network of  :        :        |           |   : network of  :                 |
    | worker        rng      redis      |           | hasher        webui               |
    |   | nrtap  10.10.x.y              |           |   | nrtap  10.10.x.z              |
    |   | eth0   172.19.10.n            |           |   | eth0   172.19.20.n            |
    |   +-- Docker's NAT -- eth1 -------|--+     +--|---+-- Docker's NAT -- eth1        |
    +-----------------------------------+  |     |  +-----------------------------------+
                                 TCP 32976 |     | TCP 32976
                                  control 192.168.63.10: nrserver, the domain, its users

The vendor's packages may not be passed on: this runs where the user gives them, and is skipped elsewhere.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from typing import ClassVar

from pydantic import Field

from fixtures import overlay as base
from fixtures.containers import in_network_of
from fixtures.lab import Lab
from fixtures.node import Node
from fixtures.sidecars import CONTROL, NODES, Sidecar, SidecarOverlay, topology
from fixtures.waiting import NotYet, limit, wait_for
from overlab.errors import OverlabError
from overlab.model import Endpoint, Flow, LinkMode, Naming, Promise, Secret
from scenarios.neorouter import packages
from scenarios.neorouter.listing import was_refused

PORT = 32976
DEVICE = "nrtap"
MTU = 1500  # not documented: an Ethernet's, until one was measured
DOMAIN, ADMIN, USER = "dockercoins", "admin", "sidecar"
# So as not to overlap what VirtualBox gives its guests by NAT, 10.0.2.0/24: the default is 10.0.0.0/8.
ADDRESSES = IPv4Network("10.10.0.0/16")
DATABASE = "/usr/local/ZebraNetworkSystems/NeoRouter"
SERVER = "nrserver"
SERVE = f'["/usr/bin/nrserver", "-run", "--dbroot", "{DATABASE}"]'
CLIENT = '["/usr/bin/nrservice"]'


class Options(base.Options):
    """Options of the NeoRouter scenario."""

    debs: str = Field(
        "",
        description="folder with the vendor's nrclient-*.deb and nrserver-*.deb, or `vendor` to fetch them",
    )


class NeoRouter(SidecarOverlay):
    """The paper's sidecars with NeoRouter."""

    options_type = Options
    folder: ClassVar[str] = "scenarios/neorouter"
    network: ClassVar[IPv4Network] = ADDRESSES
    sidecar: ClassVar[Sidecar] = Sidecar(packages.BASE, ("NET_ADMIN",))
    topology = topology(
        "neorouter", "192.168.63.0/24", folder=folder, images=("scenarios/neorouter/images/neorouter",)
    )
    # A TAP device, hence an Ethernet. What is around a packet the vendor does not say: nothing is promised
    # of it but that it cannot be read.
    promise = Promise(
        link=LinkMode.L2,
        interface_mtu=lambda underlay: MTU,
        path_mtu=lambda underlay: MTU,
        wire_bytes=lambda inner, underlay: inner,
        outer=Flow("udp", None, "NeoRouter, on ports that clients choose"),
        encrypted=True,
        hops=0,
        naming=Naming.HOSTS_FILE,
        control=(Flow("tcp", PORT, "the server"),),
    )

    def __init__(self, options: base.Options) -> None:
        super().__init__(options)
        assert isinstance(options, Options)
        self._debs = options.debs
        self._packages: packages.Packages | None = None
        self._keys = {
            name: Secret(f"NR_{name.upper()}_PASSWORD", secrets.token_urlsafe(12))
            for name in ("domain", ADMIN, USER)
        }

    def check_here(self, *, outside: bool) -> None:
        """See Overlay: the packages have to be given."""
        self._packages = packages.find(self._debs)

    def variant(self, kernel_has: Callable[[str], bool]) -> dict[str, str]:
        """Name whose packages run."""
        if not self._debs:
            return {}
        return {"packages": "the vendor's" if self._debs == packages.VENDOR else "given"}

    def version(self, lab: Lab) -> dict[str, str]:
        """Return the version of the packages, as their files say it."""
        assert self._packages
        files = (self._packages.client, self._packages.server)
        return {file.name.split("-")[0]: file.name.split("-")[1] for file in files}

    def secrets(self) -> Sequence[Secret]:
        """See SidecarOverlay."""
        return list(self._keys.values())

    def start_control(self, lab: Lab) -> None:
        """Install the packages, start the server, and set the domain up as the paper does."""
        for key in self._keys.values():
            lab.secret(key)
        if self._packages is None:
            self._packages = packages.find(self._debs)
        for name in NODES:
            packages.install(lab.node(name), self._packages.client, packages.BASE, CLIENT)
        control = lab.node(CONTROL)
        packages.install(control, self._packages.server, packages.SERVER, SERVE)
        start = ["docker", "run", "-d", f"--name={SERVER}", "--restart=always", "--network=host"]
        control.run([*start, packages.SERVER])
        wait_for("the server to listen", partial(_listens, control), within=limit("service"))
        self.serve(control, "-setdomain", DOMAIN, self._keys["domain"])
        self.serve(control, "-dhcp", str(ADDRESSES.network_address), str(ADDRESSES.netmask))
        self.serve(control, "-adduser", ADMIN, self._keys[ADMIN], "admin")
        self.serve(control, "-adduser", USER, self._keys[USER], "user")

    def serve(self, control: Node, *words: str | Secret) -> str:
        """Give the server an order, and return what it says."""
        return control.run(["docker", "exec", SERVER, "nrserver", *words]).out

    def stop_control(self, lab: Lab) -> None:
        """See SidecarOverlay."""
        lab.node(CONTROL).run(["docker", "rm", "-f", "-v", SERVER])

    def join(self, node: Node, sidecar: str) -> IPv4Address:
        """See SidecarOverlay: sign in to the server, as the paper does."""
        self.sign_in(node, sidecar, self._keys[USER])
        what = f"{sidecar} on {node} to have an address on {DEVICE}"
        return wait_for(what, partial(self._given, node, sidecar), within=limit("members"))

    def sign_in(self, node: Node, sidecar: str, password: Secret) -> None:
        """Run nrclientcmd; raises OverlabError when the server refuses."""
        server = str(self.topology.node(CONTROL).address)
        words: list[str | Secret] = ["nrclientcmd", "-d", server, "-u", USER, "-p", password]
        done = node.run(["docker", "exec", sidecar, *words], check=False)
        if was_refused(done.out + done.err):
            what = f"{sidecar} on {node} was not let in with {password}"
            raise OverlabError(what, "look at `nrserver -showusers`")

    def populate(self, lab: Lab) -> list[Endpoint]:
        """See SidecarOverlay; then promise the MTU that the device was given, which is not documented."""
        endpoints = super().populate(lab)
        first = endpoints[0]
        shown = in_network_of(lab.node(first.node), first.container, ["ip", "-j", "link", "show", DEVICE])
        mtu = int(json.loads(shown.out)[0]["mtu"])
        self.promise = replace(
            self.promise, interface_mtu=lambda underlay: mtu, path_mtu=lambda underlay: mtu
        )
        return endpoints

    def _given(self, node: Node, container: str) -> IPv4Address:
        shown = in_network_of(node, container, ["ip", "-o", "-4", "address"], quiet=True).out
        for line in shown.splitlines():
            words = line.split()
            if words[1] == DEVICE and (found := IPv4Interface(words[3]).ip) in ADDRESSES:
                return found
        raise NotYet(shown.strip() or "no address at all")

    def address(self, node: Node, container: str) -> IPv4Address:
        """See Overlay."""
        return self._given(node, container)


def _listens(node: Node) -> None:
    if f":{PORT} " not in node.run(["ss", "-Htln"], quiet=True).out:
        raise NotYet(f"nobody listens on {PORT}")


OVERLAY = NeoRouter
