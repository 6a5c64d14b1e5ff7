"""`./lab forward`: the one door from this machine into a lab, on 127.0.0.1 only.

Nothing listens but this process, and it ends with Ctrl-C or with the lab. Each connection gets a relay
process on the node, which connects there and copies between its standard streams and the port.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from typing import TYPE_CHECKING

import click

from overlab.cli.choices import lab_option
from overlab.errors import OverlabError, UsageError

if TYPE_CHECKING:
    from fixtures.command import Process
    from fixtures.lab import Lab
    from fixtures.node import Node

LOOK_EVERY = 1.0  # seconds between looks whether the lab is still there
CHUNK = 65536

# Services may listen on loopback only; published ports may be rewritten for other addresses only.
RELAY = """
import os, socket, sys, threading
for address in sys.argv[2:]:
    try:
        s = socket.create_connection((address, int(sys.argv[1])))
        break
    except OSError:
        pass
else:
    sys.exit(1)
def send():
    while data := os.read(0, 65536):
        s.sendall(data)
    s.shutdown(socket.SHUT_WR)
threading.Thread(target=send, daemon=True).start()
while data := s.recv(65536):
    while data:
        data = data[os.write(1, data):]
"""


@click.command()
@click.argument("where", metavar="NODE:PORT")
@click.argument("local", required=False, type=click.IntRange(0, 65535))
@lab_option
def forward(where: str, local: int | None, lab_id: str | None) -> None:
    """Open a port of a node on this machine's 127.0.0.1 until Ctrl-C, or until the lab is gone.

    LOCAL is the port here: the same as there unless said; 0 is any free one.

    \b
    Example: sudo ./lab forward barge2:8000
    """
    from overlab.cli.finding import the_lab, the_node

    name, port = _parse(where)
    lab = the_lab(lab_id)
    on = the_node(lab, name)
    asyncio.run(_Door(lab, on, port).serve(port if local is None else local))


def _parse(where: str) -> tuple[str, int]:
    name, _, text = where.rpartition(":")
    if not name or not text.isdecimal() or not 0 < int(text) < 65536:
        raise UsageError(f"{where!r} is not NODE:PORT", "for example barge2:8000")
    return name, int(text)


class _Door:
    """One listening socket, and the connections that came through it."""

    def __init__(self, lab: Lab, node: Node, port: int) -> None:
        self._lab = lab
        self._node = node
        self._port = port
        self._tasks: set[asyncio.Task[None]] = set()

    async def serve(self, local: int) -> None:
        """Listen until the lab is gone; raises UsageError when `local` is taken."""
        try:
            server = await asyncio.start_server(self._greet, "127.0.0.1", local)
        except OSError as error:
            what = f"127.0.0.1:{local} cannot be listened on ({error.strerror})"
            remedy = "name another port, or 0 for any: ./lab forward NODE:PORT 0"
            raise UsageError(what, remedy) from None
        listening = server.sockets[0].getsockname()[1]
        click.echo(f"http://127.0.0.1:{listening} is {self._node}:{self._port}; Ctrl-C ends it")
        over = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, over.set)
        try:
            await self._watch(over)
        finally:
            server.close()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _watch(self, over: asyncio.Event) -> None:
        """Return when `over` is set, or the lab is gone."""
        while not over.is_set():
            if not await asyncio.to_thread(self._lab_is_up):
                click.echo(f"{self._lab.id} is gone", err=True)
                return
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(over.wait(), LOOK_EVERY)

    def _lab_is_up(self) -> bool:
        """Ask the lab; this also learns where the node is after a reboot."""
        try:
            self._node.services()
        except (OSError, OverlabError):
            return False
        return True

    def _greet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(self._connection(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        addresses = ("127.0.0.1", str(self._node.address))
        try:
            relay = self._node.popen(["python3", "-S", "-c", RELAY, str(self._port), *addresses])
        except OverlabError as error:
            click.echo(f"lab: {error}", err=True)
            writer.close()
            return
        try:
            await self._copy(relay, reader, writer)
            if await asyncio.to_thread(relay.wait, 5) == 1:
                click.echo(f"lab: nothing listens on {self._node}:{self._port}", err=True)
        finally:
            writer.close()
            relay.stop()

    async def _copy(self, relay: Process, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        there = asyncio.StreamReader(limit=CHUNK)
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(there), relay.stdout)
        transport, protocol = await loop.connect_write_pipe(asyncio.streams.FlowControlMixin, relay.stdin)
        to_node = asyncio.StreamWriter(transport, protocol, None, loop)
        sending = asyncio.create_task(_flow(reader, to_node))
        try:
            await _flow(there, writer)
        finally:
            sending.cancel()
            transport.close()


async def _flow(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):  # one side closed: the other side's flow ends the connection
        while data := await source.read(CHUNK):
            target.write(data)
            await target.drain()
        if target.can_write_eof():
            target.write_eof()
