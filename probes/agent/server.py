"""Requests in, answers out: JSON lines, each request on a thread of its own.

What prints to standard output by mistake (a library's warning) would break the protocol, so the
protocol keeps a private copy of it and everything else is sent to standard error.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, BinaryIO

from . import PROTOCOL, arp, coins, ethtool, netlink, pace, pmtu, reach, sniff, streams
from .responders import Responders

Op = Callable[..., dict[str, Any]]
THREADS = 64


def ping() -> dict[str, Any]:
    """Answer at once: what a round trip to this agent costs."""
    return {"pid": os.getpid()}


def interfaces() -> dict[str, Any]:
    """Return the interfaces as they are now (networks may be attached after the hello)."""
    return {"interfaces": netlink.interfaces()}


OPS: Mapping[str, Op] = {
    "ping": ping,
    "interfaces": interfaces,
    "route_get": netlink.route_get,
    "neighbours": netlink.neighbours,
    "ip_counters": reach.ip_counters,
    "icmp_echo": reach.icmp_echo,
    "udp_echo": reach.udp_echo,
    "udp_train": reach.udp_train,
    "tcp_echo": reach.tcp_echo,
    "resolve": reach.resolve,
    "pmtu": pmtu.pmtu,
    "arp": arp.arp,
    "start_sniff": sniff.start_sniff,
    "stop_sniff": sniff.stop_sniff,
    "offloads": ethtool.offloads,
    "latency": pace.latency,
    "goodput": streams.goodput,
    "coin_edges": coins.coin_edges,
    "coin_times": coins.coin_times,
    "coin_wallet": coins.coin_wallet,
}


class Server:
    """Reads requests until the input ends; answers come in the order in which they are ready."""

    def __init__(self, source: BinaryIO, sink: BinaryIO) -> None:
        self.source = source
        self.sink = sink
        self.lock = threading.Lock()
        self.pool = ThreadPoolExecutor(THREADS, "op")

    def say(self, message: Mapping[str, Any]) -> None:
        """Write one line; a reader that is gone ends the agent."""
        line = json.dumps(message, separators=(",", ":")).encode() + b"\n"
        with self.lock:
            try:
                self.sink.write(line)
                self.sink.flush()
            except OSError:
                os._exit(0)

    def answer(self, request: Mapping[str, Any]) -> None:
        """Run one request; whatever goes wrong is one line of text, never a traceback."""
        number, name = request.get("id"), str(request.get("op"))
        op = OPS.get(name)
        if op is None:
            self.say({"id": number, "error": {"kind": "unknown-op", "message": f"no operation {name!r}"}})
            return
        args = {key: value for key, value in request.items() if key not in ("id", "op")}
        try:
            self.say({"id": number, "ok": op(**args)})
        except Exception as wrong:
            text = " ".join(str(wrong).split()) or type(wrong).__name__
            self.say({"id": number, "error": {"kind": type(wrong).__name__, "message": text}})

    def serve(self) -> None:
        """Serve until the input closes."""
        for line in self.source:
            try:
                request = json.loads(line)
                if not isinstance(request, dict):
                    raise TypeError("a request is an object")
            except (ValueError, TypeError) as wrong:
                self.say({"id": None, "error": {"kind": "bad-request", "message": str(wrong)}})
                continue
            self.pool.submit(self.answer, request)


def main() -> None:
    """Say hello, serve, and leave without waiting for operations under way."""
    # glibc's defaults (5 s, twice) would outlast every probe's time limit
    os.environ.setdefault("RES_OPTIONS", "timeout:1 attempts:2")
    sink = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    responders = Responders()
    server = Server(sys.stdin.buffer, sink)
    hello = {
        "protocol": PROTOCOL,
        "pid": os.getpid(),
        "interfaces": netlink.interfaces(),
        "udp_echo": responders.udp_port,
        "tcp_echo": responders.tcp_port,
    }
    responders.start()
    server.say({"hello": hello})
    server.serve()
    os._exit(0)
