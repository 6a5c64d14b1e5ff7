"""The lab's own root and network controller, on `control`: what my.zerotier.com and the vendor's planet are.

Both are one node that is no member of any network. `CoreControl` is our daemon over ZeroTier's core,
`OneControl` is zerotier-one, whose controller is asked by its HTTP API.
"""

from __future__ import annotations

import base64
import json
from abc import ABC, abstractmethod
from functools import partial
from ipaddress import IPv4Network
from typing import Any

from fixtures.lab import Lab
from fixtures.node import Node
from fixtures.waiting import NotYet, limit, wait_for
from overlab.model import Secret
from scenarios.zerotier.client import HOME
from scenarios.zerotier.images.zerotier.ztcore.planet import Root, planet, remembered

IMAGE = "overlab/zerotier"
STATE = "/srv/zerotier"  # on `control`: the root's state folder
ROOT = "root"
PORT = 9993
TOKEN = "ZT_CONTROLLER_TOKEN"  # noqa: S105 - its name
PLANET_ID = 0x6F7665726C6162  # tells this planet from any other
RUN = ("docker", "run", f"--volume={STATE}:{HOME}")


class Control(ABC):
    """A root that is the controller of some networks."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self.node: Node = lab.node("control")
        self.secrets: list[Secret] = []
        self.address = ""
        self.planet = b""

    def secret(self, name: str, value: str) -> Secret:
        """Make a key known to the lab, which from then on shows its name."""
        made = Secret(name, value)
        self._lab.secret(made)
        self.secrets.append(made)
        return made

    def start(self) -> None:
        """Make the root's identity and the planet that names it, and start it."""
        made = [*RUN, "--rm", "--network=none", *self._making_identity()]
        self.node.run(made)
        public = self.node.get(f"{STATE}/identity.public").strip()
        self.address = public.partition(":")[0]
        secret = self.node.run(["cat", f"{STATE}/identity.secret"], quiet=True).out.strip()
        self.secret("ZT_IDENTITY_ROOT", secret.rpartition(":")[2])
        self.planet = planet(PLANET_ID, [Root(public, [(str(self.node.address), PORT)])])
        put_bytes(self.node, f"{STATE}/planet", self.planet)
        self._prepare()
        self.node.run([*RUN, "-d", f"--name={ROOT}", "--restart=always", "--network=host", IMAGE])

    def stop(self) -> None:
        """End the root, and remove what it knew."""
        self.node.run(["docker", "rm", "-f", ROOT])
        self.node.run(["rm", "-rf", STATE])

    @abstractmethod
    def _making_identity(self) -> list[str]:
        """Return image and words of `docker run` that make an identity in the state folder."""

    def _prepare(self) -> None:  # noqa: B027 - there need be nothing to prepare
        """Write what the root needs before it starts."""

    @abstractmethod
    def create(self, network: str, name: str, addresses: IPv4Network, mtu: int, *, private: bool) -> None:
        """Make a network; `network` is this controller's address and six more digits."""

    @abstractmethod
    def authorize(self, network: str, member: str) -> None:
        """Admit a node to a private network."""

    def introduce(self, public: str) -> None:  # noqa: B027 - a root may have to find out by itself
        """Let the root know the public identity of a node that is about to come."""


class CoreControl(Control):
    """Our daemon."""

    def __init__(self, lab: Lab) -> None:
        super().__init__(lab)
        self._networks: dict[str, dict[str, Any]] = {}

    def _making_identity(self) -> list[str]:
        return [IMAGE, "identity"]

    def _prepare(self) -> None:
        self.node.put(f"{STATE}/controller.json", "{}")
        self.node.run(["mkdir", "-p", f"{STATE}/peers.d"])

    def create(self, network: str, name: str, addresses: IPv4Network, mtu: int, *, private: bool) -> None:
        """See Control."""
        made = {"name": name, "private": private, "mtu": mtu, "range": str(addresses)}
        self._cli("create", network, json.dumps(made))

    def authorize(self, network: str, member: str) -> None:
        """See Control."""
        self._cli("authorize", network, member)

    def introduce(self, public: str) -> None:
        """See Control: it finds the node in its own cache, as if they had met before."""
        name, content = remembered(public)
        put_bytes(self.node, f"{STATE}/peers.d/{name}", content)

    def _cli(self, *words: str) -> None:
        def ask() -> None:
            done = self.node.run(["docker", "exec", ROOT, "zerotier-cli", *words], check=False)
            if done.status != 0:
                raise NotYet(done.err.strip()[-200:])

        wait_for(f"the controller to {words[0]}", ask, within=limit("service"))


# Method, path, body; the token comes on standard input, so that no list of processes shows it.
ASK_API = """
import sys, urllib.request
method, path, body = sys.argv[1:4]
url = f"http://127.0.0.1:9993/{path}"
token = {"X-ZT1-Auth": sys.stdin.read().strip()}
asked = urllib.request.Request(url, body.encode() or None, token, method=method)
sys.stdout.write(urllib.request.urlopen(asked, timeout=5).read().decode())
"""


class OneControl(Control):
    """zerotier-one: `zerotier-idtool` makes its identity, and its controller has an HTTP API."""

    def _making_identity(self) -> list[str]:
        paths = [f"{HOME}/identity.secret", f"{HOME}/identity.public"]
        return ["--entrypoint=zerotier-idtool", IMAGE, "generate", *paths]

    def create(self, network: str, name: str, addresses: IPv4Network, mtu: int, *, private: bool) -> None:
        """See Control."""
        pool = {"ipRangeStart": str(addresses[1]), "ipRangeEnd": str(addresses[-2])}
        settings: dict[str, Any] = {
            "name": name,
            "private": private,
            "mtu": mtu,
            "v4AssignMode": {"zt": True},
        }
        settings |= {"ipAssignmentPools": [pool], "routes": [{"target": str(addresses), "via": None}]}
        self._ask("POST", f"controller/network/{network}", settings)

    def authorize(self, network: str, member: str) -> None:
        """See Control."""
        self._ask("POST", f"controller/network/{network}/member/{member}", {"authorized": True})

    def _ask(self, method: str, path: str, body: dict[str, Any]) -> None:
        token = self._token()
        argv = ["python3", "-c", ASK_API, method, path, json.dumps(body)]

        def ask() -> None:
            done = self.node.run(argv, input=token, check=False)
            if done.status != 0:
                raise NotYet(done.err.strip()[-200:])

        wait_for(f"the controller to answer {path}", ask, within=limit("service"))

    def _token(self) -> Secret:
        for secret in self.secrets:
            if secret.name == TOKEN:
                return secret
        read = partial(_read, self.node, f"{STATE}/authtoken.secret")
        return self.secret(TOKEN, wait_for("the controller's token", read, within=limit("service")))


def _read(node: Node, path: str) -> str:
    done = node.run(["cat", path], check=False, quiet=True)
    if done.status != 0 or not done.out.strip():
        raise NotYet("it is not there")
    return done.out.strip()


def put_bytes(node: Node, path: str, content: bytes) -> None:
    """Write a file that is no text."""
    script = 'mkdir -p "$(dirname "$1")" && base64 -d >"$1.part" && mv "$1.part" "$1"'
    node.run(["sh", "-c", script, "put", path], input=base64.b64encode(content).decode())
