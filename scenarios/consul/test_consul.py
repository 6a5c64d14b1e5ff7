"""Docker's overlay on Consul: the contract, the store and its page, the recorders, net-tools, a reboot."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from itertools import permutations
from pathlib import Path

import pytest

from fixtures.lab import Lab
from fixtures.node import Node
from fixtures.overlay import Overlay, container_address
from fixtures.vantages import Vantages
from fixtures.waiting import NotYet, limit, wait_for
from overlab.model import Endpoint, Finding, Phase
from overlab.paths import CHECKOUT
from probes import reachability
from probes.common import ordered_pairs
from reports.files import RunFolder
from reports.recording import Recorder
from scenarios.consul import proxies
from scenarios.consul.overlay import HTTP, NETWORK, SHARED, leader
from scenarios.consul.recorders import app_solicit, asked_first, first_packet, recording, shown
from scenarios.contract import Contract
from scenarios.families.docker import hidden, libnetwork
from scenarios.families.docker.base import StoreOverlay, network_again
from scenarios.families.docker.contract import Mutations, Store, Tables, own_network
from scenarios.families.docker.engine import remove_container, run_container
from scenarios.questions import SHORT_S

IMAGE = "net-tools"
CONTEXT = Path(__file__).with_name("net-tools")
TAR = f"{SHARED}/{IMAGE}.tar"
BUILD = f". /opt/proxy_local.sh && docker build --build-arg http_proxy -t {IMAGE} /opt/{IMAGE}"
ASKED_FIRST_MS = 800  # with app_solicit at 1 the wire is asked one retransmission (1 s) later


class TestContract(Contract):
    """What every overlay must show."""

    counted_s = SHORT_S


class TestPaper:
    """What the paper prints of its two nodes."""

    def test_nodes(self, lab: Lab, record: Recorder) -> None:
        """Two nodes at the paper's addresses."""
        for name, node in lab.nodes.items():
            held = next(row for row in node.state("addresses") if row["ifname"] == node.interface)
            finding = Finding("node-address", "ok", held["addr_info"][0]["local"], src=name)
            assert record(finding, paper=name).ok, finding


class TestTables(Tables):
    """The hidden namespaces tell the truth."""

    network = NETWORK


class TestStore(Store):
    """So does the store, and it can be looked into."""

    def test_page_of_the_store(self, lab: Lab, endpoints: list[Endpoint], record: Recorder) -> None:
        """A browser on this machine gets Consul's page, and what it shows, through `./lab forward`."""
        node = next(iter(lab.nodes.values()))
        with door(lab, f"{node}:{HTTP}") as url:
            html = _get(f"{url}/ui/")
            keys = json.loads(_get(f"{url}/v1/kv/{libnetwork.ROOT}/network?keys"))
        network = hidden.identity(node, NETWORK)
        assert any(key.endswith(f"{network}/") for key in keys), keys
        title = html.partition("<title>")[2].partition("</title>")[0].strip()
        finding = Finding("store-page", "ok" if "Consul" in title else "not-its-page", title, dst=str(node))
        assert record(finding).ok, finding


class TestRecorders:
    """What the kernel of node1 tells while a container starts and sends its first packet."""

    def test_first_packet(
        self,
        lab: Lab,
        endpoints: list[Endpoint],
        vantages: Vantages,
        record: Recorder,
        run_folder: RunFolder,
    ) -> None:
        """A VXLAN device is made and goes, links and routes come; the first packet waits for a neighbour."""
        src, dst = endpoints
        node = lab.node(src.node)
        vantages.drop(vantages.peer(src))
        node.run(["docker", "stop", src.container])  # the only one there: its network's namespace goes too
        with recording(node) as recorders:
            knob = int(node.run(["sysctl", "-n", app_solicit(node)]).out)
            assert record(Finding("app-solicit", "ok", knob, src=node.name), paper="app-solicit").ok
            assert record(Finding("interface", "ok", node.interface, src=node.name), paper="interface").ok
            node.run(["docker", "start", src.container])
            first = first_packet(node, src.container, lab.node(dst.node), dst, recorders)
            waited = asked_first(recorders.timeline(), str(lab.node(dst.node).address))
            lines = shown(recorders.timeline())
        texts = [line.partition(" ms  ")[2] for line in lines]
        wanted = {
            "a VXLAN device is made on the node": ("link", ": vx-"),
            "and moved into the hidden namespace": ("link", "Deleted", ": vx-"),
            "the container's end of its link gets its MAC": ("link", "02:42:0a:00:00:02"),
            "the gateway bridge gets a port": ("link", "master docker_gwbridge"),
            "a route comes with it": ("route", "proto kernel"),
            "user space is asked for the other node": ("neigh", f"miss {lab.node(dst.node).address}"),
            "and the wire answers": ("neigh", f"{lab.node(dst.node).address} dev", "REACHABLE"),
        }
        missing = [what for what, parts in wanted.items() if not any(_has(t, parts) for t in texts)]
        path = run_folder.create().evidence / f"timeline-{lab.topology.name}.txt"
        path.write_text("\n".join(lines) + "\n")
        evidence = {"file": path, "first packet": f"{first:.0f} ms", "timeline": [x[:160] for x in lines]}
        outcome, reason = ("missing", f"not told: {', '.join(missing)}") if missing else ("ok", "")
        finding = Finding(
            "timeline", outcome, len(lines), "events", src=str(src), reason=reason, evidence=evidence
        )
        assert record(finding).ok, finding
        assert waited > ASKED_FIRST_MS, f"the wire was asked after {waited:.0f} ms: user space had no time"

    def test_without_app_solicit(self, lab: Lab, endpoints: list[Endpoint], record: Recorder) -> None:
        """The same first packet, and user space is not asked: the knob makes the difference."""
        src, dst = endpoints
        node, other = lab.node(src.node), lab.node(dst.node)
        with recording(node, asking=False) as recorders:
            first = first_packet(node, src.container, other, dst, recorders)
            told = [
                e.text for e in recorders.timeline() if e.kind == "neigh" and str(other.address) in e.text
            ]
        assert any("REACHABLE" in text for text in told), "invalid: nobody was looked for"
        asked = [text for text in told if text.startswith("miss")]
        finding = Finding("first-packet", "asked" if asked else "ok", round(first, 1), "ms", src=str(src))
        assert record(finding).ok, told


class TestNetTools:
    """The paper's image: built behind a proxy, saved, loaded, reached."""

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def outside(cls, lab: Lab, endpoints: list[Endpoint]) -> Iterator[Node]:
        """A package mirror that only a parent proxy reaches."""
        node = lab.nodes["node2"]
        proxies.start_outside(node)
        yield node
        proxies.stop_outside(node)

    def test_only_way_is_the_proxy(self, lab: Lab, record: Recorder) -> None:
        """Local addresses are fetched directly, all others by the parent; without a proxy there is no way."""
        node, parent = lab.node("node1"), lab.node("node2")
        mirror, local = f"http://{proxies.MIRROR}/Release", f"http://{parent.address}:{HTTP}/v1/status/leader"
        direct = node.run(["curl", "-sS", "-m", "3", mirror], check=False)
        assert direct.status != 0, "not the thing under test: the mirror is reached without a proxy"
        for url in (mirror, local):
            node.run(["curl", "-sSf", "-m", "5", "-x", proxies.url(node), url])
        by_parent = proxies.requests(parent, "parent")
        went = {"remote": mirror in by_parent, "local": local in by_parent}
        outcome = "ok" if went == {"remote": True, "local": False} else "wrong-way"
        finding = Finding(
            "proxy", outcome, "local direct, remote by the parent", src=node.name, evidence=went
        )
        assert record(finding).ok, by_parent

    def test_build_save_load_reach(
        self, lab: Lab, overlay: Overlay, endpoints: list[Endpoint], record: Recorder
    ) -> None:
        """Built on node1, handed over in the shared folder, and each node's page is seen from the other."""
        builder = lab.node("node1")
        builder.put(f"/opt/{IMAGE}/Dockerfile", (CONTEXT / "Dockerfile").read_text())
        builder.put(f"/opt/{IMAGE}/sources.list", f"deb [trusted=yes] http://{proxies.MIRROR}/ ./\n")
        built = builder.sh(BUILD)
        facts = json.loads(builder.run(["docker", "image", "inspect", IMAGE], quiet=True).out)[0]["Config"]
        command = facts["Cmd"][-1].rpartition("exec ")[2]
        for what, value in (("port", next(iter(facts["ExposedPorts"]))), ("web-server", command)):
            assert record(Finding(what, "ok", value, src=builder.name), paper=what).ok
        saved = builder.run(["docker", "save", "--output", TAR, IMAGE])
        builder.run(["docker", "rmi", IMAGE])

        def load(node: Node) -> None:
            gone = node.run(["docker", "image", "inspect", IMAGE], check=False, quiet=True)
            assert gone.status != 0, f"not the thing under test: {node} had the image before"
            node.run(["docker", "load", "--input", TAR])
            assert record(Finding("tar", "ok", TAR, src=node.name), paper="tar").ok

        lab.each(load)
        with own_network(builder, "web") as network:
            # By address: names are the contract's to ask, where more than two changes can be heard of.
            def serve(node: Node) -> str:
                name = f"web-{node}"
                run_container(node, name, "--hostname", name, f"--network={network}", IMAGE)
                return f"http://{container_address(node, name, network)}"

            urls = lab.each(serve)
            for node, (own, other) in zip(lab.nodes.values(), permutations(lab.nodes), strict=True):
                asked = partial(_page, node, f"web-{own}", urls[other])
                page = wait_for(f"the page of web-{other} on {own}", asked, within=limit("overlay"))
                outcome = "ok" if page == f"web-{other}" else "wrong-page"
                took = {"build_s": round(built.duration, 1), "save_s": round(saved.duration, 1)}
                finding = Finding("net-tools", outcome, page, src=own, dst=other, evidence=took)
                assert record(finding).ok, finding
            lab.each(lambda node: remove_container(node, f"web-{node}", network))
        lab.each(lambda node: node.run(["docker", "rmi", IMAGE]))


class TestMutations(Mutations):
    """Causes by name."""

    network = NETWORK


class TestReboot:
    """The paper's `vagrant halt; vagrant up`: both nodes at once."""

    def test_both_nodes_reboot(
        self, lab: Lab, overlay: Overlay, endpoints: list[Endpoint], vantages: Vantages, record: Recorder
    ) -> None:
        """Every service that was enabled runs again, the network is there, and its containers speak."""
        assert isinstance(overlay, StoreOverlay)
        before = lab.each(_services)
        network = lab.each(lambda node: hidden.identity(node, NETWORK))
        vantages.forget()
        lab.each(lambda node: node.reboot())
        for node in lab.nodes.values():
            wait_for(f"Consul on {node} to have a leader", partial(leader, node), within=limit("members"))
            again = _services(node)
            lost = [name for name in before[node.name] if not again.get(name)]
            # where a provider's nodes have systemd, all of its units count
            lost += node.sh(
                "[ ! -d /run/systemd/system ] || systemctl --failed --no-legend --plain"
            ).out.splitlines()
            outcome, reason = ("not-running", "; ".join(lost)) if lost else ("ok", "")
            finding = Finding(
                "failed", outcome, len(lost), "services", src=node.name, reason=reason, evidence=again
            )
            assert record(finding, phase=Phase.HEAL, paper="failed").ok, finding
            assert hidden.identity(node, NETWORK) == network[node.name]
        back = overlay.revive(lab, endpoints)
        peers = vantages.peers(back)
        # Whoever was not there when the others came has to ask for them: first packets are lost.
        met = reachability.check(ordered_pairs(peers), attempts=5)
        for found in [*met, *hidden.check(lab, NETWORK, peers)]:
            assert record(found, phase=Phase.HEAL).ok, found
        node = next(iter(lab.nodes.values()))
        record(network_again(overlay, lab, node), phase=Phase.HEAL)
        assert all(f.ok for f in libnetwork.compare(lab, NETWORK, overlay.stored(node)))


@contextmanager
def door(lab: Lab, where: str) -> Iterator[str]:
    """Open `./lab forward` for a while; yield its address."""
    argv = [sys.executable, "-m", "overlab", "forward", where, "0", "--lab", lab.id]
    with subprocess.Popen(argv, cwd=CHECKOUT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        try:
            yield process.stdout.readline().split()[0]
        finally:
            process.terminate()


def _get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=limit("service")) as answer:
        return str(answer.read().decode())


def _page(node: Node, container: str, url: str) -> str:
    """Fetch a page in a container; NotYet while engines tell each other where it is."""
    told = node.run(["docker", "exec", container, "curl", "-sSf", "-m", "3", url], check=False)
    if told.status != 0:
        raise NotYet(told.err.strip())
    return told.out.strip()


def _services(node: Node) -> dict[str, bool]:
    return {str(service["name"]): bool(service["active"]) for service in node.services()}


def _has(line: str, parts: tuple[str, ...]) -> bool:
    return all(part in line for part in parts)
