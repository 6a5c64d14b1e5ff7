"""The node: what the core calls back, and the loop that feeds it.

All of it runs in one thread. The core calls back from inside the functions that it is called by, so what
changes the machine (devices, addresses) is noted there and done in the loop.
"""

from __future__ import annotations

import ctypes as c
import json
import os
import select
import signal
import subprocess
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from . import abi, addresses, wire
from .queries import Queries, config_of
from .taps import Tap

if TYPE_CHECKING:
    from .control import Control
    from .controller import Controller
    from .state import State

BATCH = 64  # packets in a row from one descriptor
DATAGRAM = 16384  # bytes: more than any packet or frame
VLAN = 0x8100
LISTEN_AGAIN_MS = 2000  # how often the groups of the devices are read
LONGEST_WAIT_S = 0.5
# The core asks for networks when it looks after its peers: at its start, then every 5 s. Before it has one
# there is nothing to ask for, so its start is put off until then, or for so long.
FIRST_NETWORK_MS = 5000


class Node:
    """One node, from its identity to its end."""

    def __init__(self, state: State, port: int) -> None:
        self.state = state
        self.core = abi.load()
        self.started = time.monotonic()
        self.taps: dict[int, Tap] = {}
        self.joined: set[int] = set()
        self.online = False
        self.refused = 0
        self.controller: Controller | None = None
        self.control: Control | None = None
        self._changed: dict[int, tuple[int, dict[str, Any] | None]] = {}
        self._targets: dict[bytes, tuple[str, int] | None] = {}
        self._sources: dict[tuple[str, int], bytes] = {}
        self._running = True
        self._poll = select.epoll()
        self._udp = wire.open_socket(port)
        # The core keeps these pointers: so must we.
        self._callbacks = abi.Callbacks(
            0,
            abi.Put(self._put),
            abi.Get(self._get),
            abi.Wire(self._send),
            abi.FrameOut(self._frame),
            abi.Config(self._configure),
            abi.Event(self._event),
            abi.PathCheck(self._may_use),
            abi.PathLookup(0),
        )
        self.handle = abi.Pointer()
        self._deadline = c.c_int64(0)
        self._due = c.byref(self._deadline)
        status = self.core.ZT_Node_new(
            c.byref(self.handle), None, None, c.byref(self._callbacks), self.now_ms()
        )
        if status != 0:
            raise SystemExit(f"the core did not start ({status})")
        self.address = int(self.core.ZT_Node_address(self.handle))
        self.queries = Queries(self)
        self.log(f"node {self.address:010x}, core {'.'.join(map(str, abi.VERSION))}, port {port}")

    def log(self, line: str) -> None:
        """Write one line to the container's log."""
        print(f"{time.monotonic() - self.started:9.3f} {line}", flush=True)

    @staticmethod
    def now_ms() -> int:
        """Return the time as the core counts it."""
        return int(time.time() * 1000)

    # What the core calls back: its state.

    def _put(self, _n: Any, _u: Any, _t: Any, kind: int, number: Any, data: int, size: int) -> None:
        self.state.put(kind, int(number[0]), None if size < 0 else c.string_at(data, size))

    def _get(self, _n: Any, _u: Any, _t: Any, kind: int, number: Any, buffer: int, size: int) -> int:
        data = self.state.get(kind, int(number[0]))
        if data is None or len(data) > size:
            return -1
        c.memmove(buffer, data, len(data))
        return len(data)

    # Its packets.

    def _send(
        self, _n: Any, _u: Any, _t: Any, _socket: int, target: int, data: int, size: int, _ttl: int
    ) -> int:
        raw = c.string_at(target, 24)
        if raw not in self._targets:
            self._targets[raw] = wire.permitted(addresses.unpack(raw))
        to = self._targets[raw]
        if to is None:
            self.refused += 1
            return -1
        with suppress(OSError):
            self._udp.sendto(c.string_at(data, size), to)
            return 0
        return -1

    def _may_use(self, _n: Any, _u: Any, _t: Any, _peer: int, _socket: int, target: int) -> int:
        return int(wire.permitted(addresses.unpack(c.string_at(target, 24))) is not None)

    def _event(self, _n: Any, _u: Any, _t: Any, event: int, _data: Any) -> None:
        if event in (abi.ONLINE, abi.OFFLINE):
            self.online = event == abi.ONLINE
        if event in abi.EVENTS:
            self.log(f"event {abi.EVENTS[event]}")

    # Its networks.

    def _frame(
        self,
        _n: Any, _u: Any, _t: Any,
        network: int, _port: Any, src: int, dst: int, ethertype: int, _vlan: int, data: int, size: int,
    ) -> None:  # fmt: skip
        tap = self.taps.get(network)
        if tap is None:
            return
        head = dst.to_bytes(6, "big") + src.to_bytes(6, "big") + ethertype.to_bytes(2, "big")
        try:
            os.write(tap.descriptor, head + c.string_at(data, size))
        except OSError as error:
            self.log(f"{tap.name} took no frame: {error}")

    def _configure(self, _n: Any, _u: Any, _t: Any, network: int, _port: Any, what: int, config: int) -> int:
        found = config_of(config) if config else None
        self._changed[network] = (what, found)
        return 0

    def _apply(self) -> None:
        """Do what the core has asked for: make, change and remove devices."""
        while self._changed:
            network, (what, config) = self._changed.popitem()
            tap = self.taps.get(network)
            self.log(f"network {network:016x} {json.dumps(config)}")
            if what in (abi.CONFIG_DOWN, abi.CONFIG_DESTROY) or config is None:
                self._drop(tap)
            elif config["status"] == "OK":
                if tap is None:
                    tap = self._plug(Tap(network, config["mac_number"]))
                tap.configure(config["mtu"], set(config["assignedAddresses"]))
                self._listen(tap)

    def _plug(self, tap: Tap) -> Tap:
        tap.open()
        self.taps[tap.network] = tap
        self._poll.register(tap.descriptor, select.EPOLLIN)
        return tap

    def _drop(self, tap: Tap | None) -> None:
        if tap is not None:
            self._poll.unregister(tap.descriptor)
            tap.close()
            del self.taps[tap.network]

    def _listen(self, tap: Tap) -> None:
        """Tell the core which multicast groups the device listens to."""
        wanted = tap.wanted_groups()
        for group, about in wanted - tap.groups:
            self.core.ZT_Node_multicastSubscribe(self.handle, None, tap.network, group, about)
        for group, about in tap.groups - wanted:
            self.core.ZT_Node_multicastUnsubscribe(self.handle, tap.network, group, about)
        tap.groups = wanted

    def join(self, network: int) -> None:
        """Ask to be a member; a second time changes nothing."""
        self.core.ZT_Node_join(self.handle, network, None, None)
        self.joined.add(network)

    def leave(self, network: int) -> None:
        """Be a member no more."""
        self.core.ZT_Node_leave(self.handle, network, None, None)
        self.joined.discard(network)

    # The loop.

    def stop(self, *_: object) -> None:
        """End the loop."""
        self._running = False

    def run(self) -> None:
        """Serve until SIGTERM."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self.stop)
        self._tell_own_addresses()
        for network in self.state.networks():
            self.join(network)
        assert self.control
        for descriptor in (self._udp.fileno(), self.control.descriptor):
            self._poll.register(descriptor, select.EPOLLIN)
        listen_again = 0
        put_off = self.now_ms() + (0 if self.controller else FIRST_NETWORK_MS)
        while self._running:
            if self.controller:
                self.controller.answer()
            self._apply()
            now = self.now_ms()
            if now >= self._deadline.value and (self.joined or now >= put_off):
                self.core.ZT_Node_processBackgroundTasks(self.handle, None, now, self._due)
            if now >= listen_again:
                for tap in self.taps.values():
                    self._listen(tap)
                listen_again = now + LISTEN_AGAIN_MS
            wait = max(0.001, min(LONGEST_WAIT_S, (self._deadline.value - now) / 1000))
            for descriptor, _mask in self._poll.poll(wait):
                self._serve(descriptor)
        self.core.ZT_Node_delete(self.handle)
        self.log("stopped")

    def _tell_own_addresses(self) -> None:
        """Let the core tell peers where else this node may be reached: its own interfaces."""
        shown = subprocess.run(["ip", "-j", "-4", "address"], capture_output=True, text=True, check=True)
        port = self._udp.getsockname()[1]
        for row in json.loads(shown.stdout):
            for entry in row["addr_info"]:
                if entry["scope"] == "global":
                    self.core.ZT_Node_addLocalInterfaceAddress(
                        self.handle, addresses.pack(entry["local"], port)
                    )

    def _serve(self, descriptor: int) -> None:
        assert self.control
        if descriptor == self._udp.fileno():
            self._receive()
        elif descriptor == self.control.descriptor:
            self.control.serve()
        else:
            tap = next((t for t in self.taps.values() if t.descriptor == descriptor), None)
            if tap is not None:
                self._read(tap)

    def _receive(self) -> None:
        now, take = self.now_ms(), self.core.ZT_Node_processWirePacket
        for _ in range(BATCH):
            try:
                data, source = self._udp.recvfrom(DATAGRAM)
            except BlockingIOError:
                return
            except OSError:
                continue  # an ICMP error of an earlier packet
            raw = self._sources.get(source)
            if raw is None:
                raw = self._sources[source] = addresses.pack(*source)
            take(self.handle, None, now, 0, raw, data, len(data), self._due)

    def _read(self, tap: Tap) -> None:
        now, take = self.now_ms(), self.core.ZT_Node_processVirtualNetworkFrame
        for _ in range(BATCH):
            try:
                frame = os.read(tap.descriptor, DATAGRAM)
            except OSError:
                return
            ethertype = int.from_bytes(frame[12:14], "big")
            if len(frame) < 14 or ethertype == VLAN:
                continue
            dst, src = int.from_bytes(frame[:6], "big"), int.from_bytes(frame[6:12], "big")
            body = frame[14:]
            take(
                self.handle, None, now, tap.network, src, dst, ethertype, 0, body, len(body), self._due
            )  # fmt: skip
