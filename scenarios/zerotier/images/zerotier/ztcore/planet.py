"""Identities, and a planet of our own: the file that names the roots which all nodes of a lab ask first.

World format of core 1.8.4 (World.hpp): type, id, time, the key that must sign updates, signature, roots. The
signature is looked at only when one planet is to replace another, so the first one needs none.
Peer format (Peer.hpp, serializeForCache): version, identity, protocol and program versions, paths.
"""

from __future__ import annotations

import ctypes as c
import ipaddress
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

TYPE_PLANET = 1
PUBLIC_KEY, SIGNATURE = 64, 96
PROTOCOL, PROGRAM = 12, (1, 8, 4)
IDENTITY_BYTES = 384


@dataclass(frozen=True)
class Root:
    """A root: its public identity as text, and where it listens."""

    identity: str
    endpoints: Sequence[tuple[str, int]]


def new_identity(core: c.CDLL, home: Path) -> str:
    """Make the identity of a node in `home` where it has none, and return its public part.

    It costs a proof of work: 0.1 to 2 s of one core.
    """
    secret = home / "identity.secret"
    if not secret.is_file():
        buffer, size = c.create_string_buffer(IDENTITY_BYTES), c.c_uint(IDENTITY_BYTES)
        status = core.zts_id_new(buffer, c.byref(size))
        if status != 0:
            raise SystemExit(f"the core made no identity ({status})")
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        secret.touch(mode=0o600)
        secret.write_bytes(buffer.value)
    public = ":".join(secret.read_text().split(":")[:3])
    (home / "identity.public").write_text(public)
    return public


def planet(number: int, roots: Sequence[Root]) -> bytes:
    """Return a planet file. `number` tells planets apart; it is not that of the public one."""
    data = struct.pack(">BQQ", TYPE_PLANET, number, 1) + bytes(PUBLIC_KEY) + bytes(SIGNATURE)
    data += bytes([len(roots)])
    for root in roots:
        data += _identity(root.identity) + bytes([len(root.endpoints)])
        for host, port in root.endpoints:
            ip = ipaddress.ip_address(host)
            data += bytes([ip.version]) + ip.packed + struct.pack(">H", port)
    return data


def remembered(identity: str) -> tuple[str, bytes]:
    """Return the name and content of the file by which a root remembers a member that it has met before.

    A root checks the proof of work of those it does not know, and of one every 4 s for each /24 that they
    come from (ZT_IDENTITY_VALIDATION_SOURCE_RATE_LIMIT): those behind one address would wait for each other.
    """
    versions = struct.pack(">HHHHH", PROTOCOL, *PROGRAM, 0)
    return f"{identity.partition(':')[0]}.peer", b"\1" + _identity(identity) + versions


def _identity(public: str) -> bytes:
    """Serialize a public identity: address, type 0, public key, no secret key."""
    address, kind, key = public.split(":")[:3]
    if kind != "0" or len(key) != 2 * PUBLIC_KEY:
        raise ValueError(f"{public!r} is no public identity of type 0")
    return bytes.fromhex(address) + b"\0" + bytes.fromhex(key) + b"\0"
