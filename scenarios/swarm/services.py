"""Services of the Swarm: the registry that their images come from, how they are started and asked."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from fixtures.command import Process
from fixtures.containers import in_network_of
from fixtures.lab import Lab
from fixtures.node import Node
from fixtures.waiting import NotYet, limit, wait_for
from scenarios.swarm.cluster import Balancing

REGISTRY_PORT = 5000
REGISTRY_CONFIG = "/etc/docker/registry/lab.yml"
REGISTRY_YAML = f"""\
version: 0.1
log:
  accesslog:
    disabled: false
storage:
  filesystem:
    rootdirectory: /var/lib/docker-registry
http:
  addr: :{REGISTRY_PORT}
"""
IMAGES = ("nginx", "nginx-lb")

# Reads one page; prints it, or says why not with status 1.
PAGE = """
import sys, urllib.request
try:
    print(urllib.request.urlopen(sys.argv[1], timeout=float(sys.argv[2])).read().decode(), end="")
except OSError as error:
    sys.exit(str(error))
"""

# Asks again and again, each time by a new connection, until its standard input closes; then counts.
LOAD = """
import collections, json, sys, threading, time, urllib.request
url, streams = sys.argv[1], int(sys.argv[2])
shares, errors, slowest = collections.Counter(), collections.Counter(), 0.0
over, lock = threading.Event(), threading.Lock()
def ask():
    global slowest
    while not over.is_set():
        start = time.monotonic()
        try:
            said = urllib.request.urlopen(url, timeout=5).read().decode().split()
            with lock:
                shares[said[0]] += 1
        except Exception as error:
            with lock:
                errors[str(error)] += 1
            over.wait(0.05)
        with lock:
            slowest = max(slowest, time.monotonic() - start)
threads = [threading.Thread(target=ask) for _ in range(streams)]
for thread in threads:
    thread.start()
for line in sys.stdin:
    with lock:
        print(json.dumps({"shares": shares, "errors": errors, "slowest_s": slowest}), flush=True)
over.set()
"""


@dataclass(frozen=True, slots=True)
class Counted:
    """What a load has seen so far: answers by replica, failed requests by error, the slowest in seconds."""

    shares: dict[str, int] = field(default_factory=dict)
    errors: dict[str, int] = field(default_factory=dict)
    slowest_s: float = 0.0

    @property
    def answered(self) -> int:
        """How many requests were answered."""
        return sum(self.shares.values())

    @property
    def failed(self) -> int:
        """How many requests were not."""
        return sum(self.errors.values())


class Load:
    """Requests that go on; `count` tells what became of them so far."""

    def __init__(self, process: Process) -> None:
        self._process = process

    def count(self) -> Counted:
        """Return what was counted up to now."""
        self._process.stdin.write(b"count\n")
        return Counted(**json.loads(self._process.stdout.readline()))

    def wait(self, more: int, *, beyond: int = 0) -> Counted:
        """Wait until `more` requests were answered beyond `beyond`."""

        def enough() -> Counted:
            seen = self.count()
            if seen.answered < beyond + more:
                raise NotYet(f"{seen.answered} answered, {seen.failed} failed: {seen.errors}")
            return seen

        return wait_for(f"{more} answers", enough, within=limit("application"))


@contextmanager
def load(node: Node, url: str, *, streams: int = 2) -> Iterator[Load]:
    """Ask `url` from `node` again and again while the context lasts."""
    process = node.popen(["python3", "-c", LOAD, url, str(streams)])
    try:
        yield Load(process)
    finally:
        process.stop()


def start_registry(node: Node) -> None:
    """Start a registry on `node`; it comes back after a reboot."""
    node.put(REGISTRY_CONFIG, REGISTRY_YAML)
    ready = ["python3", "-c", PAGE, f"http://{node.address}:{REGISTRY_PORT}/v2/", "2"]
    node.service("registry", ["docker-registry", "serve", REGISTRY_CONFIG], ready=ready)


def in_registry(node: Node, image: str) -> str:
    """Return an image's name in the registry on `node`: by address, as an engine reads /etc/hosts late."""
    return f"{node.address}:{REGISTRY_PORT}/{image}"


def push(node: Node, image: str) -> str:
    """Give an image of this node to the registry; return its digest there."""
    name = in_registry(node, image)
    node.run(["docker", "tag", f"overlab/{image}", name])
    node.run(["docker", "push", name])
    return digest(node, name)


def digest(node: Node, name: str) -> str:
    """Return the digest by which `node` knows an image that came from, or went to, a registry."""
    known = [d for image in node.docker.images.list() for d in image.attrs["RepoDigests"] or []]
    return next((d.partition("@")[2] for d in known if d.startswith(f"{name}@")), "")


def stock(lab: Lab, registry: Node) -> dict[str, str]:
    """Start the registry, push the services' images, and take them off all nodes; return the digests."""
    start_registry(registry)
    digests = {image: push(registry, image) for image in IMAGES}

    def forget(node: Node) -> None:
        node.run(["docker", "rmi", *(f"overlab/{image}" for image in IMAGES)])
        if node is registry:
            node.run(["docker", "rmi", *(in_registry(registry, image) for image in IMAGES)])

    lab.each(forget)
    return digests


def pulls(registry: Node) -> dict[str, int]:
    """Return how many blobs each address has fetched from the registry, by its own log."""
    shown = registry.sh(
        "grep -o '^[0-9.]* .*GET /v2/.*/blobs/' /var/log/registry.log || true", quiet=True
    ).out
    found: dict[str, int] = {}
    for line in shown.splitlines():
        address = line.split()[0]
        found[address] = found.get(address, 0) + 1
    return found


def create(
    manager: Node,
    name: str,
    image: str,
    *flags: str,
    balancing: Balancing,
    publish: int | None = None,
    replicas: int = 1,
) -> None:
    """Start a service in the way that the kernel can balance it; its replicas show their node's name."""
    published: list[str] = []
    if balancing is Balancing.DIRECT:
        published.append("--endpoint-mode=dnsrr")
    if publish is not None:
        mode = "mode=host," if balancing is Balancing.DIRECT else ""
        published.append(f"--publish={mode}target=80,published={publish}")
    fixed = ["--detach", "--name", name, f"--replicas={replicas}", "--hostname={{.Node.Hostname}}"]
    manager.run(["docker", "service", "create", *fixed, *published, *flags, image])


def remove(lab: Lab, manager: Node, *names: str) -> None:
    """Remove services, and wait until their containers are gone from every node."""
    manager.run(["docker", "service", "rm", *names])
    wanted = [arg for name in names for arg in ("--filter", f"label=com.docker.swarm.service.name={name}")]

    def gone() -> None:
        left = lab.each(lambda n: n.run(["docker", "ps", "-aq", *wanted[:2]], quiet=True).out.split())
        if any(left.values()):
            raise NotYet(f"containers left on {', '.join(n for n, ids in left.items() if ids)}")

    for start in range(0, len(wanted), 2):
        wanted[:2] = wanted[start : start + 2]
        wait_for(f"the containers of {', '.join(names)} to be gone", gone, within=limit("members"))


def scale(manager: Node, name: str, replicas: int) -> None:
    """Ask for another number of replicas."""
    manager.run(["docker", "service", "scale", "--detach", f"{name}={replicas}"])


def page(node: Node, url: str, *, timeout: float = 2.0, of: tuple[Node, str] | None = None) -> str | None:
    """Return what `url` answers to `node` (or from the network of a container), or None without an answer."""
    command = ["python3", "-c", PAGE, url, f"{timeout:g}"]
    done = in_network_of(*of, command, check=False) if of else node.run(command, check=False)
    return done.out if done.status == 0 else None


def wait_page(node: Node, url: str) -> str:
    """Wait until `url` answers to `node`; return what it says."""

    def answered() -> str:
        said = page(node, url)
        if said is None:
            raise NotYet(f"no answer from {url}")
        return said

    return wait_for(f"a page at {url}", answered, within=limit("application"))


def containers(node: Node, service: str) -> list[str]:
    """Return the ids of the containers of a service that run on `node`."""
    label = f"label=com.docker.swarm.service.name={service}"
    return node.run(["docker", "ps", "-q", "--no-trunc", "--filter", label], quiet=True).out.split()


def inspect(manager: Node, service: str) -> dict[str, Any]:
    """Return what a manager knows of a service."""
    found: list[dict[str, Any]] = json.loads(
        manager.run(["docker", "service", "inspect", service], quiet=True).out
    )
    return found[0]


def task_addresses(node: Node, service: str, network: str) -> list[str]:
    """Return the addresses on `network` of a service's containers on `node`."""
    shape = f'{{{{(index .NetworkSettings.Networks "{network}").IPAddress}}}}'
    ids = containers(node, service)
    return node.run(["docker", "inspect", "-f", shape, *ids], quiet=True).out.split() if ids else []


def shares_of(counted: Counted, replicas: Sequence[str]) -> dict[str, float]:
    """Return each replica's share of the answers, those without any included."""
    return {name: counted.shares.get(name, 0) / max(counted.answered, 1) for name in replicas}
