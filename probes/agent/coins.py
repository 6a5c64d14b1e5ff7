"""DockerCoins from inside its network: the counter's edges, the services' times, the wallet.

The wire format of Redis is RESP2; only what the three operations need is read.
"""

from __future__ import annotations

import hashlib
import os
import socket
import threading
import time
from typing import Any, BinaryIO

LIMIT_S = 5.0
Value = bytes | int | None | list[Any]


class Redis:
    """One connection; `ask` sends a command and reads its answer. Raises OSError, ValueError."""

    def __init__(self, address: str) -> None:
        host, _, port = address.partition(":")
        self.sock = socket.create_connection((host, int(port or 6379)), LIMIT_S)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.lines: BinaryIO = self.sock.makefile("rb")

    def __enter__(self) -> Redis:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.lines.close()
        self.sock.close()

    def ask(self, *words: str) -> Value:
        """Send one command and return its answer."""
        parts = [f"${len(word.encode())}\r\n{word}\r\n" for word in words]
        self.sock.sendall((f"*{len(words)}\r\n" + "".join(parts)).encode())
        return self._read()

    def _read(self) -> Value:
        line = self.lines.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionResetError("redis closed the connection")
        kind, rest = line[:1], line[1:-2]
        if kind == b"$":
            return None if rest == b"-1" else self.lines.read(int(rest) + 2)[:-2]
        if kind == b"*":
            return [self._read() for _ in range(int(rest))]
        if kind == b":":
            return int(rest)
        if kind == b"+":
            return rest
        raise ValueError(f"redis: {rest.decode(errors='replace')}")


def coin_edges(
    redis: str, seconds: float, hz: float = 20.0, key: str = "hashes", patience: float = 0.0
) -> dict[str, Any]:
    """Poll the counter on a fixed schedule; return its edges: [not before, not after, new value].

    Times are seconds since the start, of the last poll with the old value and the first with the new.
    With `patience` the start waits for the counter to move, at most so many seconds: a worker that was
    frozen in the middle of a request first gets over that request's end.
    Also returned: first and last value, polls, late (polls more than one period behind schedule).
    """
    edges: list[list[float]] = []
    nap = threading.Event()
    with Redis(redis) as server:
        first = value = _count(server.ask("GET", key))
        impatient = time.monotonic() + patience
        while value == first and time.monotonic() < impatient:
            nap.wait(1 / hz)
            value = _count(server.ask("GET", key))
        start, first = time.monotonic(), value
        before, polls, late = 0.0, 1, 0
        while polls / hz <= seconds:
            nap.wait(max(0.0, start + polls / hz - time.monotonic()))
            seen, now = _count(server.ask("GET", key)), time.monotonic() - start
            late += now > (polls + 1) / hz
            if seen != value:
                edges.append([round(before, 6), round(now, 6), seen])
            value, before, polls = seen, now, polls + 1
    return {"edges": edges, "first": first, "last": value, "polls": polls, "late": late}


def _count(answer: Value) -> int:
    if answer is None:
        return 0
    if isinstance(answer, list):
        raise ValueError("the counter is not a number")
    return int(answer)


def coin_times(rng: str, hasher: str, samples: int = 9) -> dict[str, Any]:
    """Time requests as a worker makes them: GET /32 on rng, POST / on hasher; milliseconds each."""
    drawn, hashed = [], []
    wrong: list[str] = []
    for _ in range(samples):
        body, ms = _request(rng, "GET", "/32", None)
        drawn.append(ms)
        if len(body) != 32:
            wrong.append(f"rng returned {len(body)} bytes for /32")
        data = os.urandom(32)
        digest, ms = _request(hasher, "POST", "/", data)
        hashed.append(ms)
        if digest.decode(errors="replace").strip() != hashlib.sha256(data).hexdigest():
            wrong.append("hasher's answer is not the SHA-256 of what was posted")
    return {"rng_ms": drawn, "hasher_ms": hashed, "wrong": wrong}


def _request(address: str, method: str, path: str, body: bytes | None) -> tuple[bytes, float]:
    host, _, port = address.partition(":")
    import http.client  # a tenth of the agent's start

    start = time.monotonic()
    # one connection a request, as the worker does
    link = http.client.HTTPConnection(host, int(port or 80), timeout=LIMIT_S)
    try:
        kind = {"Content-Type": "application/octet-stream"} if body is not None else {}
        link.request(method, path, body, kind)
        answer = link.getresponse()
        data = answer.read()
        if answer.status != 200:
            raise ValueError(f"{method} {address}{path}: status {answer.status}")
        return data, round((time.monotonic() - start) * 1000, 3)
    finally:
        link.close()


def coin_wallet(redis: str) -> dict[str, Any]:
    """Check every coin: its key starts with '0' and is the SHA-256 (hex) of its value."""
    with Redis(redis) as server:
        entries = server.ask("HGETALL", "wallet")
    if not isinstance(entries, list):
        raise ValueError("the wallet is not a hash")
    bad: list[str] = []
    for key, value in zip(entries[::2], entries[1::2], strict=True):
        name = key.decode(errors="replace")
        if not name.startswith("0") or hashlib.sha256(value).hexdigest() != name:
            bad.append(name)
    return {"coins": len(entries) // 2, "bad": bad[:10], "bad_count": len(bad)}
