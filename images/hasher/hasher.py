"""hasher, the DockerCoins service that hashes what it is sent.

GET /     a greeting with the container's hostname
POST /    the SHA-256 of the body in hexadecimal, after DELAY seconds
"""

from __future__ import annotations

import hashlib
import os
import signal
import socket
import socketserver
import sys
import time
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import Any

DELAY = float(os.environ.get("DELAY", "0.1"))  # seconds
PORT = int(os.environ.get("PORT", "80"))
MOST = 16 * 1024 * 1024  # bytes of a body


class Handler(BaseHTTPRequestHandler):
    """One connection, which carries one request (HTTP/1.0)."""

    timeout = 10  # seconds for a client that connects and stays silent
    wbufsize = -1  # status, headers and body leave in one segment

    def do_GET(self) -> None:
        """Greet."""
        if self.path.partition("?")[0] == "/":
            self.reply(f"HASHER running on {socket.gethostname()}\n".encode())
        else:
            self.send_error(HTTPStatus.NOT_FOUND)

    def do_POST(self) -> None:
        """Answer with the hash of the body."""
        length = self.headers.get("Content-Length")
        if self.path.partition("?")[0] != "/":
            self.send_error(HTTPStatus.NOT_FOUND)
        elif length is None:
            self.send_error(HTTPStatus.LENGTH_REQUIRED)
        elif not (length.isascii() and length.isdigit()):
            self.send_error(HTTPStatus.BAD_REQUEST, explain="Content-Length is not a number")
        elif len(length) > len(str(MOST)) or int(length) > MOST:
            self.send_error(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, explain=f"at most {MOST} bytes a request")
        else:
            body = self.rfile.read(int(length))
            if len(body) < int(length):
                self.send_error(HTTPStatus.BAD_REQUEST, explain="the body is shorter than its Content-Length")
                return
            time.sleep(DELAY)
            self.reply(hashlib.sha256(body).hexdigest().encode())

    def reply(self, body: bytes) -> None:
        """Send `body` as text with status 200."""
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Stay silent: a line a request would cost more than the request. Errors are logged."""


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
        print(f"hasher on port {PORT}: {DELAY:g} s a request", file=sys.stderr)
        server.serve_forever()


if __name__ == "__main__":
    main()
