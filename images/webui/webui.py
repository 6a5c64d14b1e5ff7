"""webui, the DockerCoins service that shows how fast the others are.

GET /        goes to /index.html, the page that draws hashes per second
GET /json    {"coins": size of the wallet, "hashes": the counter, "now": epoch seconds};
             503 and {"error": why} while Redis does not answer
"""

from __future__ import annotations

import json
import os
import signal
import socketserver
import sys
import time
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import redis  # type: ignore[import-not-found,import-untyped,unused-ignore]  # Debian's python3-redis

REDIS = os.environ.get("REDIS", "redis")  # host or host:port
PORT = int(os.environ.get("PORT", "80"))
TIMEOUT = float(os.environ.get("TIMEOUT", "2"))  # seconds for Redis to answer
TYPES = {".html": "text/html; charset=utf-8", ".css": "text/css", ".js": "text/javascript"}
# Read once, so that no path from outside ever reaches the file system.
FILES = {
    f"/{path.name}": (TYPES[path.suffix], path.read_bytes())
    for path in (Path(__file__).parent / "files").iterdir()
    if path.suffix in TYPES
}


def connect() -> Any:
    """Return the Redis client, which the threads share; it connects when it is first used."""
    host, _, port = REDIS.partition(":")
    return redis.Redis(host, int(port or 6379), socket_timeout=TIMEOUT, socket_connect_timeout=TIMEOUT)


class Handler(BaseHTTPRequestHandler):
    """One connection, which carries one request (HTTP/1.0)."""

    timeout = 10  # seconds for a client that connects and stays silent
    wbufsize = -1  # status, headers and body leave in one segment
    store = connect()

    def do_GET(self) -> None:
        """Answer with the figures, or a file of the page."""
        path = self.path.partition("?")[0]
        if path == "/":
            self.reply(HTTPStatus.FOUND, "text/plain", b"see /index.html\n", {"Location": "/index.html"})
        elif path == "/json":
            self.reply_figures()
        elif path in FILES:
            self.reply(HTTPStatus.OK, *FILES[path])
        else:
            self.send_error(HTTPStatus.NOT_FOUND)

    def reply_figures(self) -> None:
        """Answer with what Redis knows now."""
        status, answer = HTTPStatus.OK, {}
        try:
            coins, hashes = self.store.hlen("wallet"), int(self.store.get("hashes") or 0)
            answer = {"coins": coins, "hashes": hashes, "now": time.time()}
        except (redis.RedisError, OSError, ValueError) as error:
            status, answer = HTTPStatus.SERVICE_UNAVAILABLE, {"error": f"{REDIS} does not answer: {error}"}
        self.reply(status, "application/json", json.dumps(answer).encode())

    def reply(
        self, status: HTTPStatus, content_type: str, body: bytes, headers: dict[str, str] | None = None
    ) -> None:
        """Send `body`."""
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("Content-Security-Policy", "default-src 'self'; img-src data:")
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Stay silent: the page asks every second. Errors are logged."""


class Server(socketserver.ThreadingTCPServer):
    """A thread a connection.

    Not an http.server.HTTPServer, which looks its own name up in the DNS before it serves.
    """

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: object, client_address: Any) -> None:
        """Log in one line what a client that went away left behind."""
        print(f"{client_address[0]}: {sys.exc_info()[1]!r}", file=sys.stderr)


def main() -> None:
    """Serve until SIGTERM, which the kernel does not deliver to a PID 1 without a handler."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))
    with Server(("", PORT), Handler) as server:
        print(f"webui on port {PORT}, redis at {REDIS}", file=sys.stderr)
        server.serve_forever()


if __name__ == "__main__":
    main()
