"""What the overlay is made of, taken away for a while: one ingredient each, and how to put it back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from fixtures.lab import Lab
from fixtures.node import Node
from fixtures.vantages import Vantages
from overlab.model import Endpoint
from probes import reachability
from scenarios.wireguard.overlay import OVERLAY_NETWORK, PORT

NAT = ("iptables", "-t", "nat")
RULE = ("POSTROUTING", "-o", "wg0", "-s", str(OVERLAY_NETWORK), "-j", "ACCEPT")
Breaks = Callable[[Lab, Endpoint, Endpoint], AbstractContextManager[None]]


@contextmanager
def without_proxy_arp(lab: Lab, src: Endpoint, dst: Endpoint) -> Iterator[None]:
    """Let nobody answer ARP for the other nodes' containers."""
    with changed(lab.node(src.node), *sysctl("net.ipv4.conf.ovl0.proxy_arp", 0, 1)):
        yield


@contextmanager
def routed_by_the_bridge(lab: Lab, src: Endpoint, dst: Endpoint) -> Iterator[None]:
    """Let the route to the other nodes' containers lead back into ovl0."""
    replace = ["ip", "route", "replace", str(OVERLAY_NETWORK), "dev"]
    with changed(lab.node(src.node), [*replace, "ovl0"], [*replace, "wg0"]):
        yield


@contextmanager
def without_the_rule(lab: Lab, src: Endpoint, dst: Endpoint) -> Iterator[None]:
    """Let Docker's masquerade take what leaves by wg0."""
    with (
        flows_forgotten(lab, src, dst),
        changed(lab.node(src.node), [*NAT, "-D", *RULE], [*NAT, "-I", *RULE]),
    ):
        yield


@contextmanager
def behind_another_rule(lab: Lab, src: Endpoint, dst: Endpoint) -> Iterator[None]:
    """Let the rule stand behind Docker's masquerade, where it is never asked."""
    with (
        without_the_rule(lab, src, dst),
        changed(lab.node(src.node), [*NAT, "-A", *RULE], [*NAT, "-D", *RULE]),
    ):
        yield


@contextmanager
def flows_forgotten(lab: Lab, src: Endpoint, dst: Endpoint) -> Iterator[None]:
    """Forget the flows between two containers, before and after.

    Whether a flow is rewritten is decided by its first packet; a probe whose port was used by another within
    30 s is taken for that flow, and tells nothing of the rules of now.
    """
    ends = ["-s", str(src.address), "-d", str(dst.address)]

    def forget() -> None:
        lab.node(src.node).run(["conntrack", "-D", "-p", "udp", *ends], check=False, quiet=True)

    forget()
    try:
        yield
    finally:
        forget()


@contextmanager
def forward_dropped(lab: Lab, src: Endpoint, dst: Endpoint) -> Iterator[None]:
    """Let the far node drop what it forwards, as a stock Docker host does, without the rule for wg0."""
    node = lab.node(dst.node)
    rule = ["DOCKER-USER", "-i", "wg0", "-o", "ovl0", "-j", "ACCEPT"]
    with forward_policy_drop(node), changed(node, ["iptables", "-D", *rule], ["iptables", "-I", *rule]):
        yield


@contextmanager
def port_blocked(lab: Lab, src: Endpoint, dst: Endpoint) -> Iterator[None]:
    """Let nothing pass that is WireGuard's."""
    with lab.underlay.blocked("udp", PORT):
        yield


@contextmanager
def changed(node: Node, change: list[str], undo: list[str]) -> Iterator[None]:
    """Run one command on a node, and another at the end."""
    node.run(change)
    try:
        yield
    finally:
        node.run(undo)


def sysctl(name: str, value: int, undo: int) -> tuple[list[str], list[str]]:
    """Return the command that sets a sysctl, and the one that sets it back."""
    return ["sysctl", "-w", f"{name}={value}"], ["sysctl", "-w", f"{name}={undo}"]


@contextmanager
def forward_policy_drop(node: Node) -> Iterator[None]:
    """Give a node the policy that a stock Docker host has when it turned forwarding on by itself."""
    policy = ["iptables", "-P", "FORWARD"]
    with changed(node, [*policy, "DROP"], [*policy, "ACCEPT"]):
        yield


def healthy(lab: Lab, vantages: Vantages, src: Endpoint, dst: Endpoint, otherwise: str) -> None:
    """Hold that `src` reaches `dst`."""
    pair = [(vantages.peer(src), vantages.peer(dst))]
    found = reachability.check(pair, protocols=[reachability.Protocol.UDP])
    assert all(f.ok for f in found), f"{otherwise}: {found[0]}"
