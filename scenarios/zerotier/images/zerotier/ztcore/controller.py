"""A network controller: who is a member of a network, and which address each has.

The core has the protocol of controllers, and calls one through a C++ interface (NetworkController.hpp); here
that is a table of four functions as the Itanium C++ ABI lays it out. Sizes and offsets are of this very build
(1.8.4, the wheel that needs.toml pins by its hash).

Networks are in controller.json beside the node's state: name, private or not, MTU, the range of addresses,
and the members with theirs. Of a public network whoever asks becomes a member; of a private one whoever was
authorized.
"""

from __future__ import annotations

import ctypes as c
import ipaddress
import json
import struct
from typing import TYPE_CHECKING, Any

from .abi import U64, Pointer, Unsigned

if TYPE_CHECKING:
    from .node import Node

FILE = "controller.json"
NOT_FOUND, DENIED = 1, 2
DICTIONARY_BYTES, CONFIG_BYTES, CERTIFICATE_AT = 422528, 0x6A030, 0x69468
CERTIFICATE_LIFE_MS = 7_200_000
BROADCAST_AND_NDP = 6  # flags of a network's configuration: broadcast is on, NDP emulation is on
MULTICAST_LIMIT = 32
ALLOW_ALL = b"\x01\x00"  # one rule: accept

Destroy = c.CFUNCTYPE(None, Pointer)
Init = c.CFUNCTYPE(None, Pointer, Pointer, Pointer)
Request = c.CFUNCTYPE(None, Pointer, U64, Pointer, U64, Pointer, Pointer)

SYMBOLS: dict[str, tuple[str, list[Any], Any]] = {
    "parse": (
        f"_ZN8ZeroTier13NetworkConfig14fromDictionaryERKNS_10DictionaryILj{DICTIONARY_BYTES}EEE",
        [Pointer, Pointer],
        c.c_bool,
    ),
    "certificate": (
        "_ZN8ZeroTier23CertificateOfMembershipC1EmmmRKNS_8IdentityE",
        [Pointer, U64, U64, U64, Pointer],
        None,
    ),
    "sign": (
        "_ZN8ZeroTier23CertificateOfMembership4signERKNS_8IdentityE",
        [Pointer, Pointer],
        c.c_bool,
    ),
    "identity": ("_ZNK8ZeroTier8Identity8toStringEbPc", [Pointer, c.c_bool, Pointer], Pointer),
    "send": (
        "_ZN8ZeroTier4Node12ncSendConfigEmmRKNS_7AddressERKNS_13NetworkConfigEb",
        [Pointer, U64, U64, c.POINTER(U64), Pointer, c.c_bool],
        None,
    ),
    "refuse": (
        "_ZN8ZeroTier4Node11ncSendErrorEmmRKNS_7AddressENS_17NetworkController9ErrorCodeEPKvj",
        [Pointer, U64, U64, c.POINTER(U64), c.c_int, Pointer, Unsigned],
        None,
    ),
}


class Controller:
    """Answers the requests of members; see the module."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._path = node.state.home / FILE
        self.networks: dict[str, dict[str, Any]] = json.loads(self._path.read_text())
        self._answers: list[tuple[int, int, str, Any]] = []
        self._identity = self._sender = 0
        self._revision = 0
        self._call = {}
        for name, (symbol, arguments, result) in SYMBOLS.items():
            function = getattr(node.core, symbol)
            function.argtypes, function.restype = arguments, result
            self._call[name] = function
        nothing = Destroy(lambda _this: None)
        self._functions = (nothing, nothing, Init(self._init), Request(self._request))
        self._table = (Pointer * 4)(*(c.cast(function, Pointer) for function in self._functions))
        self._object = (Pointer * 2)(c.addressof(self._table), 0)
        node.core.ZT_Node_setNetconfMaster(node.handle, c.addressof(self._object))

    def _init(self, _this: Any, identity: int, sender: int) -> None:
        self._identity, self._sender = identity, sender

    def _request(
        self, _this: Any, network: int, _source: Any, packet: int, identity: int, _meta: Any
    ) -> None:
        buffer = c.create_string_buffer(512)
        self._call["identity"](identity, False, c.addressof(buffer))
        member = buffer.value.decode().split(":")[0]
        try:
            answer = self._decide(network, member, identity)
        except (ValueError, OSError) as error:
            self._node.log(f"controller: {error!r}")
            return
        # Not from inside the core: it holds locks while it calls us.
        self._answers.append((network, packet, member, answer))

    def _decide(self, network: int, member: str, identity: int) -> Any:
        known = self.networks.get(f"{network:016x}")
        if known is None:
            return NOT_FOUND
        if member not in known["members"]:
            if known["private"]:
                known["asked"] = sorted({*known.get("asked", []), member})
                self._save()
                return DENIED
            self._admit(known, member)
        return self._config(network, member, known, identity)

    def _admit(self, network: dict[str, Any], member: str) -> None:
        """Give a member the first address that nobody has."""
        addresses = ipaddress.ip_network(network["range"])
        taken = set(network["members"].values())
        free = next(
            f"{ip}/{addresses.prefixlen}"
            for ip in addresses.hosts()
            if f"{ip}/{addresses.prefixlen}" not in taken
        )
        network["members"][member] = free
        self._save()

    def _save(self) -> None:
        self._path.write_text(json.dumps(self.networks, indent=1))

    def _config(self, network: int, member: str, known: dict[str, Any], identity: int) -> Any:
        now = self._node.now_ms()
        self._revision += 1
        values = [
            ("v", b"7"),
            ("nwid", b"%016x" % network),
            ("ts", b"%x" % now),
            ("ctmd", b"%x" % CERTIFICATE_LIFE_MS),
            ("r", b"%x" % self._revision),
            ("id", member.encode()),
            ("f", b"%x" % BROADCAST_AND_NDP),
            ("ml", b"%x" % MULTICAST_LIMIT),
            ("t", b"0" if known["private"] else b"1"),
            ("n", known["name"].encode()),
            ("mtu", b"%x" % known["mtu"]),
            ("I", _address(known["members"][member])),
            ("R", ALLOW_ALL),
            ("RT", _address(known["range"]) + b"\0" + struct.pack(">HH", 0, 0)),
        ]
        text = b"".join(key.encode() + b"=" + _escaped(value) + b"\n" for key, value in values)
        dictionary = c.create_string_buffer(text, DICTIONARY_BYTES)
        config = c.create_string_buffer(CONFIG_BYTES + 4096)
        if not self._call["parse"](c.addressof(config), c.addressof(dictionary)):
            raise ValueError("the core does not take this configuration")
        if known["private"]:
            place = c.addressof(config) + CERTIFICATE_AT
            self._call["certificate"](place, now, CERTIFICATE_LIFE_MS, network, identity)
            if not self._call["sign"](place, self._identity):
                raise ValueError("the certificate of membership was not signed")
        return config

    def answer(self) -> None:
        """Send the answers that are due."""
        while self._answers:
            network, packet, member, what = self._answers.pop(0)
            to = c.byref(U64(int(member, 16)))
            refused = isinstance(what, int)
            self._node.log(f"controller: {network:016x} {member} {'refused' if refused else 'is a member'}")
            if refused:
                self._call["refuse"](self._sender, network, packet, to, what, None, 0)
            else:
                self._call["send"](self._sender, network, packet, to, c.addressof(what), False)

    def command(self, what: str, network: str, word: str = "") -> Any:
        """Do what a person at the controller does: `create`, `members`, `authorize`, `deauthorize`.

        `word` is a network's settings as JSON, or a member's address.
        """
        if what == "create":
            self.networks[network] = {"members": {}} | json.loads(word)
            self._save()
            return "ok"
        known = self.networks[network]
        if what == "members":
            return {"members": known["members"], "asked": known.get("asked", [])}
        if what == "authorize":
            self._admit(known, word)
        elif what == "deauthorize":
            del known["members"][word]
            self._save()
        else:
            raise LookupError(f"{what!r} is not known here")
        return "ok"


def _escaped(value: bytes) -> bytes:
    """Escape a dictionary's value (Dictionary.hpp)."""
    pairs = ((b"\\", b"\\\\"), (b"\0", b"\\0"), (b"\r", b"\\r"), (b"\n", b"\\n"), (b"=", b"\\e"))
    for raw, escaped in pairs:
        value = value.replace(raw, escaped)
    return value


def _address(text: str) -> bytes:
    """Serialize "10.144.0.1/24" as an InetAddress whose port is the prefix length."""
    ip, _, bits = text.partition("/")
    address = ipaddress.ip_address(ip)
    return bytes([address.version]) + address.packed + struct.pack(">H", int(bits))
