"""DockerCoins' services keep the original's interface, so that any of the original's can replace them.

The real files run, with a real Redis, in one fresh network namespace: nothing listens on the host. The
tests ask from a process inside it.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from fixtures.waiting import NotYet, limit, wait_for

IMAGES = Path(__file__).parent.parent / "images"
RNG, HASHER, WEBUI = "127.0.0.1:80", "127.0.0.1:81", "127.0.0.1:82"
DELAY = 0.2  # seconds, where a delay matters

# Reads a JSON list of requests a line, does them at the same time, answers with a JSON list a line.
CLIENT = r"""
import base64, http.client, json, socket, sys, time
from concurrent.futures import ThreadPoolExecutor

def ask(request):
    began = time.monotonic()
    if request["raw"] is not None:
        with socket.create_connection((request["host"], 80), timeout=10) as plain:
            plain.sendall(base64.b64decode(request["raw"]))
            plain.shutdown(socket.SHUT_WR)
            answer = b"".join(iter(lambda: plain.recv(65536), b""))
        status, headers, body = int(answer.split()[1]), {}, answer
    else:
        connection = http.client.HTTPConnection(request["host"], timeout=10)
        body = request["body"] and base64.b64decode(request["body"])
        connection.request(request["method"], request["path"], body)
        response = connection.getresponse()
        status, headers, body = response.status, dict(response.getheaders()), response.read()
    return {"status": status, "headers": headers, "body": base64.b64encode(body).decode(),
            "began": began, "ended": time.monotonic()}

def answer(request):
    try:
        return ask(request)
    except OSError as error:  # one failed request fails its test, and no other
        now, why = time.monotonic(), base64.b64encode(repr(error).encode()).decode()
        return {"status": 0, "headers": {}, "body": why, "began": now, "ended": now}

with ThreadPoolExecutor(8) as pool:
    for line in sys.stdin:
        print(json.dumps(list(pool.map(answer, json.loads(line)))), flush=True)
"""


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes
    began: float
    ended: float

    @property
    def type(self) -> str:
        return self.headers["Content-Type"].partition(";")[0]


class Namespace:
    """A network namespace, and the processes in it. They die with this process, however it ends."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.stack = ExitStack()
        argv = ["unshare", "--net", "sh", "-c", "ip link set lo up && echo up && exec cat"]
        self.owner = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.stack.callback(self.owner.wait)
        assert self.owner.stdin
        assert self.owner.stdout
        self.stack.callback(self.owner.stdin.close)
        assert self.owner.stdout.readline() == "up\n"
        self.client = self.popen([sys.executable, "-c", CLIENT], stdin=-1, stdout=-1, text=True)

    def popen(self, argv: list[str], **options: Any) -> subprocess.Popen[Any]:
        enter = ["nsenter", f"--net=/proc/{self.owner.pid}/ns/net", "setpriv", "--pdeathsig", "KILL", "--"]
        process = subprocess.Popen([*enter, *argv], **options)
        self.stack.callback(process.wait)
        self.stack.callback(process.kill)
        return process

    def ask(self, *requests: dict[str, Any]) -> list[Answer]:
        """Do these requests at the same time."""
        assert self.client.stdin
        self.client.stdin.write(json.dumps(requests) + "\n")
        self.client.stdin.flush()
        assert self.client.stdout
        answers = json.loads(self.client.stdout.readline())
        return [Answer(**{**answer, "body": base64.b64decode(answer["body"])}) for answer in answers]

    def get(self, host: str, path: str) -> Answer:
        return self.ask(request(host, path))[0]

    @contextmanager
    def running(
        self, name: str, argv: list[str], said: str, cwd: Path | None = None, **env: str | float
    ) -> Iterator[Service]:
        """A service; ready when its log has `said`. Ends by SIGTERM, at once and without an error."""
        log = self.folder / f"{name}.log"
        settings = {**os.environ, "PYTHONUNBUFFERED": "1"}
        settings.update({key: str(value) for key, value in env.items()})
        with log.open("w") as out:
            process = self.popen(argv, env=settings, stdout=out, stderr=out, cwd=cwd or self.folder)
        service = Service(process, log)
        try:
            service.wait_for(said)
            yield service
            service.stop()
        finally:  # after a failure too, else the port is taken for the next test
            process.kill()
            process.wait()

    def python(self, name: str, said: str, **env: str | float) -> AbstractContextManager[Service]:
        """One of the services in Python."""
        interpreter = redis_interpreter() if name in ("worker", "webui") else sys.executable
        return self.running(name, [str(interpreter), str(IMAGES / name / f"{name}.py")], said, None, **env)


@dataclass(frozen=True)
class Service:
    process: subprocess.Popen[Any]
    log: Path

    def wait_for(self, said: str) -> None:
        def condition() -> None:
            text = self.log.read_text()
            if said not in text:
                assert self.process.poll() is None, f"it has ended: {text}"
                raise NotYet(f"log {text[-500:]!r}")

        wait_for(f"{said!r} in {self.log.name}", condition, within=limit("service"))

    def stop(self) -> str:
        """SIGTERM; returns the log. The name of PID 1's signal: `docker stop` sends nothing else."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(limit("service"))
        text = self.log.read_text()
        assert code == 0, text
        assert "Traceback" not in text
        return text


def request(
    host: str, path: str = "/", method: str = "GET", body: bytes | None = None, raw: bytes | None = None
) -> dict[str, Any]:
    def encode(data: bytes | None) -> str | None:
        return None if data is None else base64.b64encode(data).decode()

    host = host.partition(":")[0] if raw is not None else host
    return {"host": host, "path": path, "method": method, "body": encode(body), "raw": encode(raw)}


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Namespace]:
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root; run the tests with sudo")
    namespace = Namespace(tmp_path_factory.mktemp("services"))
    with namespace.stack:
        yield namespace


@cache
def redis_interpreter() -> Path | None:
    """A Python that has the Redis client, which the project's own environment has no use for."""
    for interpreter in (Path(sys.executable), Path("/usr/bin/python3")):
        if interpreter.exists():
            found = subprocess.run([interpreter, "-c", "import redis"], capture_output=True)
            if found.returncode == 0:
                return interpreter
    return None


@pytest.fixture
def needs_redis() -> None:
    """Skip where there is no Redis. The package redis-server would do, but it starts a service."""
    missing = [name for name in ("redis-check-rdb", "redis-cli") if not shutil.which(name)]
    missing += [] if redis_interpreter() else ["the Redis client for Python"]
    if missing:
        remedy = "install Debian's redis-tools and python3-redis; labs test the same in containers"
        pytest.skip(f"no {', '.join(missing)} on this machine: {remedy}")


@contextmanager
def running_redis(net: Namespace) -> Iterator[Callable[..., str]]:
    """Redis with the image's configuration; yields a call of redis-cli. Its data stay between runs."""
    data = net.folder / "data"
    data.mkdir(exist_ok=True)
    # redis-check-rdb is the same program, which goes by the name it is called by; Debian starts no
    # service with the package that has it.
    argv = ["bash", "-c", 'exec -a redis-server "$@"', "-", str(shutil.which("redis-check-rdb"))]
    argv += [str(IMAGES / "redis" / "redis.conf")]

    def cli(*words: str) -> str:
        tool = net.popen(["redis-cli", "--raw", *words], stdout=subprocess.PIPE, text=True)
        return str(tool.communicate()[0]).rstrip("\n")

    with net.running("redis", argv, "Ready to accept connections", cwd=data):
        yield cli


def figures(net: Namespace, more_than: int) -> dict[str, Any]:
    """Wait until webui's /json counts more hashes than that."""

    def condition() -> dict[str, Any]:
        answer = net.get(WEBUI, "/json")
        found: dict[str, Any] = json.loads(answer.body) if answer.status == 200 else {}
        if not found or found["hashes"] <= more_than or not found["coins"]:
            raise NotYet(f"{answer.status} {answer.body!r}")
        return found

    return wait_for(f"hashes > {more_than}", condition, within=limit("application"))


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


COIN = (
    "return (redis.call('HGET','wallet',ARGV[1]):gsub('.',function(c) return ('%02x'):format(c:byte()) end))"
)


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
