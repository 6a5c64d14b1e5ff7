"""DockerCoins' services keep the original's interface, so that any of the original's can replace them."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from fixtures.waiting import NotYet, limit, wait_for
from tests.application.services import (
    HASHER,
    RNG,
    WEBUI,
    Namespace,
    figures,
    redis_interpreter,
    request,
    running_redis,
)

DELAY = 0.2  # seconds, where a delay matters
COIN = (
    "return (redis.call('HGET','wallet',ARGV[1]):gsub('.',function(c) return ('%02x'):format(c:byte()) end))"
)


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Namespace]:
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root; run the tests with sudo")
    namespace = Namespace(tmp_path_factory.mktemp("services"))
    with namespace.stack:
        yield namespace


@pytest.fixture
def needs_redis() -> None:
    """Skip where there is no Redis. The package redis-server would do, but it starts a service."""
    missing = [name for name in ("redis-check-rdb", "redis-cli") if not shutil.which(name)]
    missing += [] if redis_interpreter() else ["the Redis client for Python"]
    if missing:
        remedy = "install Debian's redis-tools and python3-redis; labs test the same in containers"
        pytest.skip(f"no {', '.join(missing)} on this machine: {remedy}")


def test_rng_gives_as_many_bytes_as_asked_for(net: Namespace) -> None:
    with net.python("rng", "rng on port 80", DELAY=0):
        greeting = net.get(RNG, "/")
        assert (greeting.status, greeting.type) == (200, "text/plain")
        assert os.uname().nodename.encode() in greeting.body
        first, second = net.ask(request(RNG, "/32"), request(RNG, "/32"))
        assert (first.status, first.type, len(first.body)) == (200, "application/octet-stream", 32)
        assert first.body != second.body
        assert [len(net.get(RNG, f"/{n}").body) for n in (0, 1, 100_000)] == [0, 1, 100_000]


def test_rng_refuses_what_it_cannot_give(net: Namespace) -> None:
    with net.python("rng", "rng on port 80", DELAY=0) as rng:
        paths = {"/x": 404, "/-1": 404, "/1.5": 404, "/32/": 404, "/%33": 404, "/²": 404}
        paths |= {"/16777217": 400, "/" + "9" * 5000: 400, "/" + "9" * 70_000: 414}
        for path, status in paths.items():
            head = f"GET {path} HTTP/1.0\r\n\r\n".encode()
            assert net.ask(request(RNG, raw=head))[0].status == status, path[:20]
        assert net.get(RNG, "/32").status == 200
        assert "Traceback" not in rng.stop()


def test_rng_serves_one_request_at_a_time(net: Namespace) -> None:
    """The 10 hashes a second of the whole application come from here; with two at a time they double."""
    with net.python("rng", "1 at a time", DELAY=DELAY):
        answers = net.ask(*[request(RNG, "/32")] * 3)
        assert max(a.ended for a in answers) - min(a.began for a in answers) >= 3 * DELAY


def test_rng_serves_several_requests_where_asked_to(net: Namespace) -> None:
    """Without a stopwatch: a greeting comes while another request sleeps for longer than the test."""
    head = b"GET /32 HTTP/1.0\r\n\r\n"
    sender = (
        "import socket; s = socket.create_connection(('127.0.0.1', 80)); s.sendall(%r); print(); s.recv(1)"
    )
    with net.python("rng", "2 at a time", DELAY=600, THREADS=2):
        sleeping = net.popen([sys.executable, "-c", sender % head], stdout=subprocess.PIPE)
        assert sleeping.stdout
        assert sleeping.stdout.readline() == b"\n"
        assert net.get(RNG, "/").status == 200
        assert sleeping.poll() is None, "not the thing under test: the other request has already ended"


def test_hasher_hashes_what_it_is_sent(net: Namespace) -> None:
    with net.python("hasher", "hasher on port 81", DELAY=0, PORT=81):
        greeting = net.get(HASHER, "/")
        assert (greeting.status, greeting.type) == (200, "text/plain")
        for body in (b"", b"\0\xff" * 16, os.urandom(100_000)):
            answer = net.ask(request(HASHER, method="POST", body=body))[0]
            assert (answer.status, answer.type) == (200, "text/plain")
            assert answer.body.decode() == hashlib.sha256(body).hexdigest()
        assert net.get(HASHER, "/x").status == 404
        assert net.ask(request(HASHER, "/x", "POST", b"x"))[0].status == 404


def test_hasher_refuses_a_broken_body(net: Namespace) -> None:
    with net.python("hasher", "hasher on port 80", DELAY=0) as hasher:
        lengths = {"": 411, "Content-Length: -1\r\n": 400, "Content-Length: x\r\n": 400}
        lengths |= {"Content-Length: 9\r\n": 400, "Content-Length: 99999999\r\n": 413}
        for header, status in lengths.items():
            head = f"POST / HTTP/1.0\r\n{header}\r\nshort".encode()
            assert net.ask(request("127.0.0.1:80", raw=head))[0].status == status, header
        assert "Traceback" not in hasher.stop()


def test_the_application_counts_and_its_coins_are_true(net: Namespace, needs_redis: None) -> None:
    """And it goes on after the hasher, then Redis, were away; what was counted stays counted."""
    fast: dict[str, str | float] = {"DELAY": 0, "INTERVAL": 0.1, "RETRY": 0.05}
    fast |= {"RNG": RNG, "HASHER": HASHER, "REDIS": "127.0.0.1:6379"}
    with ExitStack() as stack:
        stack.enter_context(net.python("rng", "rng on", **fast))
        stack.enter_context(net.python("webui", "webui on", PORT=82, REDIS="127.0.0.1"))
        with running_redis(net) as cli:
            assert json.loads(net.get(WEBUI, "/json").body).items() >= {"coins": 0, "hashes": 0}.items()
            with net.python("hasher", "hasher on", PORT=81, **fast):
                worker = stack.enter_context(net.python("worker", "worker:", **fast))
                before = figures(net, 0)
                assert set(before) == {"coins", "hashes", "now"}
                assert isinstance(before["now"], float)
            worker.wait_for(f"error: POST http://{HASHER}/")
            with net.python("hasher", "hasher on", PORT=81, **fast):
                figures(net, before["hashes"] + 50)
            counted = int(cli("GET", "hashes"))
            keys = cli("HKEYS", "wallet").split()
            for key in keys:
                data = cli("EVAL", COIN, "0", key)
                assert key.startswith("0")
                assert hashlib.sha256(bytes.fromhex(data)).hexdigest() == key
        away = net.get(WEBUI, "/json")
        assert (away.status, away.type) == (503, "application/json")
        assert "127.0.0.1" in json.loads(away.body)["error"]
        with running_redis(net), net.python("hasher", "hasher on", PORT=81, **fast):
            after = figures(net, counted)
            assert after["coins"] >= len(keys)
            worker.stop()


def test_worker_tells_the_rest_when_it_is_stopped(net: Namespace, needs_redis: None) -> None:
    """`docker stop` between two updates of the counter would otherwise lose up to a second of work."""
    settings: dict[str, str | float] = {"RNG": RNG, "HASHER": HASHER, "REDIS": "127.0.0.1"}
    with ExitStack() as stack:
        cli = stack.enter_context(running_redis(net))
        cli("FLUSHALL")
        stack.enter_context(net.python("rng", "rng on", DELAY=0))
        stack.enter_context(net.python("hasher", "hasher on", DELAY=0, PORT=81))
        worker = stack.enter_context(net.python("worker", "worker:", DELAY=0, INTERVAL=3600, **settings))

        def working() -> None:
            if cli("HLEN", "wallet") == "0":
                raise NotYet("no coin")

        wait_for("a coin", working, within=limit("application"))
        assert cli("GET", "hashes") == "", "not the thing under test: it has been told before the end"
        told = worker.stop().splitlines()[-1]
        assert int(cli("GET", "hashes")) >= int(cli("HLEN", "wallet"))
        assert told == f"stopped: the last {cli('GET', 'hashes')} units of work are told"


def test_webui_has_its_page_and_nothing_else(net: Namespace, needs_redis: None) -> None:
    with net.python("webui", "webui on", PORT=82, REDIS="127.0.0.1"):
        root = net.get(WEBUI, "/")
        assert (root.status, root.headers["Location"]) == (302, "/index.html")
        page = net.get(WEBUI, "/index.html")
        assert (page.status, page.type) == (200, "text/html")
        assert b'id="graph"' in page.body
        for name in ("/page.js", "/style.css"):
            part = net.get(WEBUI, name)
            assert part.status == 200
            assert name.removeprefix("/").encode() in page.body
            outside = part.body.replace(b"http://www.w3.org/2000/svg", b"")
            assert b"//" not in outside.replace(b"// ", b""), "fetches something from elsewhere"
        assert {net.get(WEBUI, path).status for path in ("/webui.py", "/../webui.py", "/files")} == {404}
