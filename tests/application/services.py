"""DockerCoins' services as they are in their images' folders, in one fresh network namespace.

With a real Redis; nothing listens on the host, and the tests ask from a process inside.
"""

from __future__ import annotations

import base64
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

from fixtures.waiting import NotYet, limit, wait_for

IMAGES = Path(__file__).parents[2] / "images"
RNG, HASHER, WEBUI = "127.0.0.1:80", "127.0.0.1:81", "127.0.0.1:82"

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


@cache
def redis_interpreter() -> Path | None:
    """A Python that has the Redis client, which the project's own environment has no use for."""
    for interpreter in (Path(sys.executable), Path("/usr/bin/python3")):
        if interpreter.exists():
            found = subprocess.run([interpreter, "-c", "import redis"], capture_output=True)
            if found.returncode == 0:
                return interpreter
    return None


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
