r"""Tailscale sidecars: every service of DockerCoins behind a container that is a member of one tailnet.

    control 192.168.61.10      node1 192.168.61.11              node2 192.168.61.12
    +------------------+       +---------------------------+    +---------------------------+
    | coordination TCP |       | worker-orig      rng redis|    | hasher-orig         webui |
    |   server    8080 |       |   | its network namespace |    |   | its network namespace |
    | DERP relay   443 |       | worker  100.64.0.n   ...  |    | hasher 100.64.0.n    ...  |
    | STUN        3478 |       |   | tailscale0, MTU 1280  |    |   | tailscale0, MTU 1280  |
    +--------|---------+       |   | eth0 172.19.10.n      |    |   | eth0 172.19.20.n      |
             |                 | Docker's bridge, and NAT  |    | Docker's bridge, and NAT  |
             |                 +---|-----------------------+    +---|-----------------------+
            eth1 ---------------- eth1 --- UDP, WireGuard, when ---- eth1
                                        both NATs let it through; else by DERP

A member registers with the coordination server, learns the keys and addresses of the others, and asks STUN
how its own port looks from outside. What follows is decided by the NAT in front of it. Both sides send at
once, to open their own NAT for the other. On a plain node Docker's NAT spoils that: what comes before this
side has sent is delivered to the node itself, to a port where nobody listens; the kernel's connection table
keeps that as a conversation of its own, and the sidecar's packets, which need the same addresses and ports,
get another source port. A node whose firewall drops what nobody asked for has no such conversation: so the
stricter node gives the direct path.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network
from itertools import cycle
from threading import Lock
from typing import ClassVar
from urllib.parse import urlsplit

from fixtures import overlay as base
from fixtures.lab import Lab
from fixtures.node import Node
from fixtures.sidecars import CONTROL, NODES, Sidecar, SidecarOverlay, topology
from fixtures.waiting import limit
from overlab.errors import NotHereError, OverlabError
from overlab.model import Endpoint, Flow, LinkMode, Naming, Promise, Secret
from scenarios.tailscale import members
from scenarios.tailscale import nat as nats
from scenarios.tailscale.members import Route
from scenarios.tailscale.options import EMBEDDED, VENDOR, Options, keys_of

CONTROL_PORT, DERP_PORT, STUN_PORT = 8080, 443, 3478
SERVICE = "tailscale-control"
FOLDER = f"/etc/{SERVICE}"
AUTHORITY = "/etc/ssl/certs/overlab-lab.pem"  # beside the system's own: Go reads every file there
MTU = 1280
LOGINS = 3


def wire_bytes(inner: int, underlay_mtu: int) -> int:
    """Return the bytes of the outer IP packet of a direct path: WireGuard's, padded to 16 within the MTU.

    60 = IPv4 20 + UDP 8 + WireGuard data header 16 + Poly1305 tag 16.
    """
    return min((inner + 15) // 16 * 16, MTU) + 60


def relayed_bytes(inner: int, underlay_mtu: int) -> int:
    """Return the bytes of the outer IP packet that brings one packet to the DERP relay.

    143 = IPv4 20 + TCP with timestamps 32 + TLS 1.3 record 22 + DERP frame 5 and the peer's key 32
    + WireGuard data header 16 + tag 16.
    """
    return min((inner + 15) // 16 * 16, MTU) + 143


class TailscaleSidecars(SidecarOverlay):
    """The paper's application behind members of a tailnet."""

    options_type = Options
    folder: ClassVar[str] = "scenarios/tailscale"
    sidecar: ClassVar[Sidecar] = Sidecar("overlab/tailscale", ("NET_ADMIN", "SYS_MODULE"))
    network: ClassVar[IPv4Network] = IPv4Network("100.64.0.0/10")
    topology = topology(
        "tailscale",
        "192.168.61.0/24",
        folder=folder,
        images=("scenarios/tailscale/images/tailscale",),
    )
    promise = Promise(
        link=LinkMode.L3_ONLY,
        interface_mtu=lambda underlay: MTU,
        path_mtu=lambda underlay: MTU,
        wire_bytes=wire_bytes,
        outer=Flow("udp", None, "WireGuard, on ports that the clients and the NATs choose"),
        encrypted=True,
        hops=0,
        naming=Naming.HOSTS_FILE,
        control=(
            Flow("tcp", CONTROL_PORT, "coordination server"),
            Flow("tcp", DERP_PORT, "DERP relay"),
            Flow("udp", STUN_PORT, "STUN"),
        ),
    )

    def __init__(self, options: base.Options) -> None:
        super().__init__(options)
        assert isinstance(options, Options)
        self.control, self.nat = options.control, options.nat
        self._keys = keys_of(options)
        self._turn = cycle(self._keys)
        self._given: dict[str, Secret] = {}
        self._lock = Lock()
        if self.route is Route.RELAYED:
            self.promise = replace(
                self.promise,
                outer=Flow("tcp", DERP_PORT, "DERP relay"),
                relay=self.topology.node(CONTROL).address,
                wire_bytes=relayed_bytes,
            )

    @property
    def route(self) -> Route:
        """The path that two members on different nodes take through this NAT."""
        return nats.PATHS[self.nat]

    def check_here(self, *, outside: bool) -> None:
        """Refuse a control plane outside the lab on nodes that reach nothing outside."""
        if self.control == EMBEDDED or outside or self._inside():
            return
        raise NotHereError(
            f"these nodes reach nothing outside their lab, so not control={self.control}",
            "use machines with a way there (--inventory), or -O tailscale.control=embedded",
        )

    def _inside(self) -> bool:
        """True for a login server at an address of the lab's own network."""
        try:
            address = IPv4Address(urlsplit(self.control).hostname or "")
        except ValueError:
            return False
        return address in self.topology.network

    def variant(self, kernel_has: Callable[[str], bool]) -> dict[str, str]:
        """Name the control plane, and the NAT."""
        return {"control": self.control, "nat": self.nat}

    def version(self, lab: Lab) -> dict[str, str]:
        """Return what the members run."""
        shown = lab.node("node1").run(["docker", "run", "--rm", self.sidecar.image, "--version"], quiet=True)
        version = shown.out.split()[0].partition("-")[0]
        embedded = {"Tailscale's test control server": version} if self.control == EMBEDDED else {}
        return {"tailscale": version} | embedded

    def secrets(self) -> Sequence[Secret]:
        """See SidecarOverlay."""
        return self._keys

    def start_control(self, lab: Lab) -> None:
        """Start the control plane where it is ours, and make the NATs what they are to be."""
        for key in self._keys:
            lab.secret(key)
        authority = self._start_embedded(lab.node(CONTROL)) if self.control == EMBEDDED else None

        def prepare(node: Node) -> None:
            if node.name in NODES:
                nats.set_up(node, self.nat)
                if authority:
                    node.put(AUTHORITY, authority)

        lab.each(prepare)

    def _start_embedded(self, node: Node) -> str:
        """Start our own control plane, and return the certificate of its CA."""
        node.put(f"{FOLDER}/key", self._keys[0], mode="0600")
        argv = [SERVICE, "-address", str(node.address), "-folder", FOLDER]
        node.service(SERVICE, argv, ready=["bash", "-c", f"echo >/dev/tcp/{node.address}/{CONTROL_PORT}"])
        return node.get(f"{FOLDER}/ca.pem")

    def stop_control(self, lab: Lab) -> None:
        """See SidecarOverlay."""
        for name in NODES:
            nats.take_down(lab.node(name), self.nat)
        if self.control == EMBEDDED:
            lab.node(CONTROL).stop_service(SERVICE)
            lab.node(CONTROL).run(["rm", "-rf", FOLDER])
            for name in NODES:
                lab.node(name).run(["rm", "-f", AUTHORITY])

    def join(self, node: Node, sidecar: str) -> IPv4Address:
        """See SidecarOverlay: `tailscale up`, as the paper does it."""
        if self.control == EMBEDDED:
            self.trust(node, sidecar)
        key = self.key_for(f"{node}/{sidecar}")
        # Who was a member tries by itself when it starts; the test control server wants the key every
        # time, and `up` may be told of that refusal in place of its own.
        for left in range(LOGINS - 1, -1, -1):
            try:
                self.log_in(node, sidecar, key)
                break
            except OverlabError:
                if not left:
                    raise
        return members.wait_running(node, sidecar)

    def trust(self, node: Node, sidecar: str) -> None:
        """Let a sidecar believe in the lab's CA, before it first looks at a certificate."""
        node.run(["docker", "cp", AUTHORITY, f"{sidecar}:{AUTHORITY}"])

    def log_in(self, node: Node, sidecar: str, key: Secret) -> None:
        """Run `tailscale up` with `key`. Raises OverlabError with the control plane's words for a refusal."""
        up = ["tailscale", "up", f"--hostname={node}-{sidecar}", "--accept-dns=false", "--timeout=20s"]
        if self.control != VENDOR:
            up.append(f"--login-server={self._login_server()}")
        done = node.run(["docker", "exec", sidecar, *up, "--auth-key", key], check=False)
        if done.status != 0:
            why = members.refusal(done.err) or done.err.strip()
            raise OverlabError(
                f"{node}/{sidecar} was not let in with {key}: {why}", f"docker logs {sidecar} tells more"
            )

    def _login_server(self) -> str:
        if self.control == EMBEDDED:
            return f"http://{self.topology.node(CONTROL).address}:{CONTROL_PORT}"
        return self.control

    def key_for(self, member: str) -> Secret:
        """Return the key of one sidecar ("node/container"): the same one whenever it joins."""
        with self._lock:
            if member not in self._given:
                self._given[member] = next(self._turn)
            return self._given[member]

    def address(self, node: Node, container: str) -> IPv4Address:
        """See Overlay."""
        return members.wait_running(node, container)

    def path(self, lab: Lab, src: Endpoint, dst: Endpoint) -> str:
        """See SidecarOverlay: as `tailscale status` tells it, after some packets."""
        node = lab.node(src.node)
        found = members.path(lab.node(CONTROL), node, src.container, dst.address, self.route)
        return str(found.value)

    def populate(self, lab: Lab) -> list[Endpoint]:
        """See SidecarOverlay; then let them find their path, and read the ports that were chosen."""
        endpoints = super().populate(lab)
        self.read_ports(lab, endpoints)
        return endpoints

    def read_ports(self, lab: Lab, endpoints: Sequence[Endpoint]) -> None:
        """Wait for the path that the NAT allows, both ways; let the promise name a direct one's port."""
        near, far = endpoints[0], endpoints[-1]
        members.settled(lab.node(far.node), far.container, near.address, self.route, within=limit("overlay"))
        seen = members.settled(
            lab.node(near.node), near.container, far.address, self.route, within=limit("overlay")
        )
        if self.route is Route.DIRECT:
            port = int(seen.outer.rpartition(":")[2])
            self.promise = replace(
                self.promise, outer=Flow("udp", port, "WireGuard, by the port that was read")
            )


OVERLAY = TailscaleSidecars
