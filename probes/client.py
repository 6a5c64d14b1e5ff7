"""The client of a probe agent: JSON lines over whatever stream reaches it.

A provider starts `python3 -m probes.agent` in a vantage's network namespace and hands over its pipes;
from here on nobody knows what the node is made of.
"""

from __future__ import annotations

import json
import threading
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotDone
from contextlib import suppress
from dataclasses import dataclass
from typing import IO, Any, Protocol

from overlab.errors import OverlabError
from overlab.model import Vantage

from .agent import PROTOCOL

HELLO_S = 20.0
EXIT_S = 1.0


class Stream(Protocol):
    """A running agent: its pipes (unbuffered or buffered, binary), its exit status, and its end."""

    @property
    def stdin(self) -> IO[bytes]:
        """Where requests are written."""

    @property
    def stdout(self) -> IO[bytes]:
        """Where answers are read."""

    def poll(self) -> int | None:
        """Return the exit status, None while it runs."""

    def stop(self) -> None:
        """End it and release what holds it; safe to call twice."""


class AgentError(OverlabError):
    """A probe agent did not do what was asked."""


class AgentGoneError(AgentError):
    """The agent ended; its exit status is in the text."""


class AgentTimeoutError(AgentError):
    """The agent lives, as far as is known, but did not answer in time."""


class OperationError(AgentError):
    """The agent answered with an error; `kind` is its name (an exception's, or unknown-op)."""

    def __init__(self, what: str, kind: str) -> None:
        super().__init__(what)
        self.kind = kind


class Agent:
    """A warm agent at one vantage. Calls may come from several threads at once.

    Raises AgentTimeoutError when no hello comes within `timeout` seconds, AgentGoneError when the
    process ends before it, AgentError when it speaks another protocol version.
    """

    def __init__(self, stream: Stream, vantage: Vantage, *, timeout: float = HELLO_S) -> None:
        self.vantage = vantage
        self._stream = stream
        self._lock = threading.Lock()
        self._next = 0
        self._waiting: dict[int, Future[dict[str, Any]]] = {}
        self._ended = False
        self._closed = False
        self._greeted: Future[dict[str, Any]] = Future()
        self._reader = threading.Thread(target=self._read, name=f"agent {vantage}", daemon=True)
        self._reader.start()
        try:
            self.hello = self._await(self._greeted, timeout, "hello")
            if self.hello.get("protocol") != PROTOCOL:
                raise AgentError(
                    f"the agent at {vantage} speaks protocol {self.hello.get('protocol')}, not {PROTOCOL}",
                    "rebuild the image it comes from",
                )
        except AgentError:
            self.close()
            raise

    def __str__(self) -> str:
        return str(self.vantage)

    def __enter__(self) -> Agent:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    @property
    def udp_port(self) -> int:
        """Return the port of the UDP responder there."""
        return int(self.hello["udp_echo"])

    @property
    def tcp_port(self) -> int:
        """Return the port of the TCP responder there."""
        return int(self.hello["tcp_echo"])

    def interface_of(self, address: str) -> dict[str, Any]:
        """Return the interface that holds `address` now; AgentError when none does."""
        interfaces: list[dict[str, Any]] = self.call("interfaces", timeout=5.0)["interfaces"]
        for entry in interfaces:
            if address in [text.partition("/")[0] for text in entry["addresses"]]:
                return entry
        held = ", ".join(text for entry in interfaces for text in entry["addresses"])
        raise AgentError(f"{self} has no interface with {address}; it has {held or 'no address'}")

    def call(self, op: str, *, timeout: float, **args: Any) -> dict[str, Any]:
        """Ask for one operation and return its answer.

        Raises OperationError (the agent refused or failed), AgentTimeoutError, AgentGoneError.
        """
        answer: Future[dict[str, Any]] = Future()
        with self._lock:
            if self._ended or self._closed:
                raise self._gone(op)
            self._next += 1
            number = self._next
            self._waiting[number] = answer
            line = json.dumps({"id": number, "op": op, **args}).encode() + b"\n"
            try:
                self._stream.stdin.write(line)
                self._stream.stdin.flush()
            except (OSError, ValueError):
                self._waiting.pop(number, None)
                raise self._gone(op) from None
        try:
            return self._await(answer, timeout, op)
        finally:
            with self._lock:
                self._waiting.pop(number, None)

    def close(self) -> None:
        """End the agent: its input closes, and the stream is stopped."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            with suppress(OSError):  # it may be gone already
                self._stream.stdin.close()
        self._stream.stop()
        self._reader.join(EXIT_S)

    def _await(self, answer: Future[dict[str, Any]], timeout: float, op: str) -> dict[str, Any]:
        try:
            message = answer.result(timeout)
        except NotDone:
            raise AgentTimeoutError(
                f"the agent at {self} did not answer {op!r} within {timeout:g} s"
            ) from None
        except EOFError:
            raise self._gone(op) from None
        if "error" in message:
            wrong = message["error"]
            raise OperationError(f"{op} at {self}: {wrong['message']}", str(wrong["kind"]))
        found = message.get("ok", message.get("hello"))
        return found if isinstance(found, dict) else {}

    def _gone(self, op: str) -> AgentGoneError:
        if self._closed:
            return AgentGoneError(f"the agent at {self} is closed; asked for {op!r}")
        status = self._stream.poll()
        pause = threading.Event()
        for _ in range(50):
            if status is not None:
                break
            # its pipe closes a moment before the kernel has its status
            pause.wait(EXIT_S / 50)
            status = self._stream.poll()
        how = f"exit status {status}" if status is not None else "its output closed"
        return AgentGoneError(f"the agent at {self} ended ({how}) while asked for {op!r}")

    def _read(self) -> None:
        try:
            for line in self._stream.stdout:
                self._dispatch(line)
        except (OSError, ValueError):
            pass  # the pipe was closed under us: the same as its end
        with self._lock:
            self._ended = True
            waiting = [self._greeted, *self._waiting.values()]
        for answer in waiting:
            if not answer.done():
                answer.set_exception(EOFError())

    def _dispatch(self, line: bytes) -> None:
        try:
            message = json.loads(line)
        except ValueError:
            return  # not ours: a shell's or a runtime's complaint before the agent started
        if not isinstance(message, dict):
            return
        if "hello" in message:
            if not self._greeted.done():
                self._greeted.set_result(message)
            return
        with self._lock:
            answer = self._waiting.get(message.get("id", 0))
        if answer is not None and not answer.done():
            answer.set_result(message)


@dataclass(frozen=True, slots=True)
class Peer:
    """One end of a question: an agent, the address under test there, and its name where it has one."""

    agent: Agent
    address: str
    name: str = ""

    def __str__(self) -> str:
        return str(self.agent.vantage)
