"""rng, the DockerCoins service that makes random bytes.

    GET /       a greeting with the container's hostname
    GET /<n>    n random bytes, after DELAY seconds

One request at a time by default: that limit, not the network, is what holds the whole application at
10 hashes a second, so the papers' figures only come out with it.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import socketserver
import sys
import threading
import time
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import Any

DELAY = float(os.environ.get("DELAY", "0.1"))  # seconds
THREADS = int(os.environ.get("THREADS", "1"))  # requests served at the same time
PORT = int(os.environ.get("PORT", "80"))
MOST = 16 * 1024 * 1024  # bytes a request: enough to fill any path, and no memory eater
TURNS = threading.BoundedSemaphore(THREADS)


class Handler(BaseHTTPRequestHandler):
    """One connection, which carries one request (HTTP/1.0, as the original)."""

    timeout = 10  # seconds for a client that connects and stays silent
    wbufsize = -1  # status, headers and body leave in one segment

    def do_GET(self) -> None:
        """Greet, or answer with random bytes."""
        name = self.path.partition("?")[0].removeprefix("/")
        with TURNS:
            if not name:
                self.reply("text/plain", f"RNG running on {socket.gethostname()}\n".encode())
            elif not re.fullmatch("[0-9]+", name):
                self.send_error(HTTPStatus.NOT_FOUND, explain="ask for /<n>, n a number of bytes")
            elif len(name) > len(str(MOST)) or int(name) > MOST:
                self.send_error(HTTPStatus.BAD_REQUEST, explain=f"at most {MOST} bytes a request")
            else:
                time.sleep(DELAY)
                self.reply("application/octet-stream", os.urandom(int(name)))

    def reply(self, content_type: str, body: bytes) -> None:
        """Send `body` with status 200."""
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Stay silent: a line a request would cost more than the request. Errors are logged."""


class Server(socketserver.ThreadingTCPServer):
    """A thread a connection, so that a silent client holds up nobody; TURNS does the limiting.

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
        print(f"rng on port {PORT}: {DELAY:g} s a request, {THREADS} at a time", file=sys.stderr)
        server.serve_forever()


if __name__ == "__main__":
    main()
