"""worker, the DockerCoins loop that drives the other services.

A unit of work: sleep DELAY seconds, GET 32 bytes from rng, POST them to hasher. A hash that starts
with '0' is a coin, and goes into the Redis hash `wallet` (hash -> bytes). About once a second the
number of units done is added to the Redis counter `hashes`.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPConnection, HTTPException

import redis  # type: ignore[import-not-found,import-untyped,unused-ignore]  # Debian's python3-redis

RNG = os.environ.get("RNG", "rng")  # host or host:port, like the next two
HASHER = os.environ.get("HASHER", "hasher")
REDIS = os.environ.get("REDIS", "redis")
DELAY = float(os.environ.get("DELAY", "0.1"))  # seconds, before each unit
INTERVAL = float(os.environ.get("INTERVAL", "1"))  # seconds between two updates of the counter
RETRY = float(os.environ.get("RETRY", "1"))  # seconds to wait after an error; the original waits 10
TIMEOUT = float(os.environ.get("TIMEOUT", "3"))  # seconds; twice this is below `docker stop`'s patience


class Stop(BaseException):
    """SIGTERM came while there was nothing to lose."""


def log(line: str) -> None:
    """Write one line to the container's log."""
    print(line, file=sys.stderr, flush=True)


def call(method: str, host: str, path: str, body: bytes | None = None) -> bytes:
    """Return the answer to one request, over a connection of its own as the original's.

    Raises OSError for whatever went wrong, an answer other than 200 included.
    """
    connection = HTTPConnection(host, timeout=TIMEOUT)
    headers = {"Content-Type": "application/octet-stream"} if body is not None else {}
    try:
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        answer = response.read()
    except (OSError, HTTPException) as error:
        raise OSError(f"{method} http://{host}{path}: {error!r}") from error
    finally:
        connection.close()
    if response.status != 200:
        raise OSError(f"{method} http://{host}{path}: {response.status} {response.reason}")
    return answer


class Worker:
    """The loop, and what it has done that Redis does not know yet."""

    def __init__(self) -> None:
        host, _, port = REDIS.partition(":")
        self.store = redis.Redis(
            host, int(port or 6379), socket_timeout=TIMEOUT, socket_connect_timeout=TIMEOUT
        )
        self.units = 0
        self.coins: dict[str, bytes] = {}
        self.stopping = False
        self.idle = False

    def on_signal(self, *_: object) -> None:
        """Stop at once from a wait, but never between a change in Redis and the note of it here."""
        first, self.stopping = not self.stopping, True
        if first and self.idle:
            raise Stop

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """Let SIGTERM end what runs inside."""
        self.idle = True
        try:
            if self.stopping:
                raise Stop
            yield
        finally:
            self.idle = False

    def work(self) -> None:
        """Do one unit. It counts from the moment its hash is here, whatever happens to its coin."""
        with self.interruptible():
            time.sleep(DELAY)
            data = call("GET", RNG, "/32")
            digest = call("POST", HASHER, "/", data).decode("ascii", "replace").strip()
        self.units += 1
        if digest.startswith("0"):
            self.coins[digest] = data
            self.save_coins()

    def save_coins(self) -> None:
        """Put the coins into the wallet; those that Redis did not take stay for the next time."""
        for digest, data in list(self.coins.items()):
            self.store.hset("wallet", digest, data)
            del self.coins[digest]

    def save(self) -> int:
        """Tell Redis everything it does not know yet, and return the number of units told."""
        self.save_coins()
        units = self.units
        self.store.incrby("hashes", units)
        self.units -= units
        return units

    def run(self) -> None:
        """Work until SIGTERM, through errors."""
        told = time.monotonic()
        while not self.stopping:
            try:
                now = time.monotonic()
                if now >= told + INTERVAL:
                    units = self.save()
                    log(f"{units} units of work done, {units / (now - told):.2f} a second")
                    told = now
                self.work()
            except (OSError, redis.RedisError) as error:
                log(f"error: {error}; again in {RETRY:g} s")
                with self.interruptible():
                    time.sleep(RETRY)


def main() -> None:
    """Work until SIGTERM, then tell Redis what is left."""
    worker = Worker()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, worker.on_signal)
    log(f"worker: rng at {RNG}, hasher at {HASHER}, redis at {REDIS}, {DELAY:g} s before each unit")
    with suppress(Stop):
        worker.run()
    try:
        log(f"stopped: the last {worker.save()} units of work are told")
    except redis.RedisError as error:
        sys.exit(f"stopped: {worker.units} units and {len(worker.coins)} coins are lost: {error}")


if __name__ == "__main__":
    main()
