"""The control socket: one JSON request a connection, `{"words": [...]}`, and one JSON answer."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .node import Node

SOCKET = "control.socket"
PATIENCE_S = 1.0


class Control:
    """Listens in the state folder."""

    def __init__(self, node: Node) -> None:
        self._node = node
        path = node.state.home / SOCKET
        path.unlink(missing_ok=True)
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(str(path))
        path.chmod(0o600)
        self._socket.listen()
        self.descriptor = self._socket.fileno()

    def serve(self) -> None:
        """Answer one request."""
        connection, _ = self._socket.accept()
        with connection:
            connection.settimeout(PATIENCE_S)
            try:
                request = json.loads(connection.makefile().readline())
                answer = {"answer": self._do(*request["words"])}
            except (OSError, ValueError, LookupError, TypeError) as error:
                answer = {"error": f"{type(error).__name__}: {error}"}
            try:
                connection.sendall(json.dumps(answer).encode() + b"\n")
            except OSError as error:
                self._node.log(f"control: {error}")

    def _do(self, what: str, *words: str) -> Any:
        if what in ("info", "peers", "listnetworks"):
            return getattr(self._node.queries, what)()
        if what in ("join", "leave"):
            getattr(self._node, what)(int(words[0], 16))
            return "ok"
        if self._node.controller is None:
            raise LookupError(f"{what!r} is not known here")
        return self._node.controller.command(what, *words)


def ask(home: Path, *words: str) -> Any:
    """Ask the node of `home`; raises OSError when none runs, LookupError with what it says is wrong."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(home / SOCKET))
        connection.sendall(json.dumps({"words": words}).encode() + b"\n")
        told = json.loads(connection.makefile().readline())
    if "error" in told:
        raise LookupError(told["error"])
    return told["answer"]
