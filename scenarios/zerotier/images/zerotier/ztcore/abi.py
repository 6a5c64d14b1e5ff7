"""The C API of ZeroTier's core 1.8.4 (ZeroTierOne.h): its functions, callbacks and structures.

Sizes and offsets are of this very version; `load` refuses any other.
"""

from __future__ import annotations

import ctypes as c
from pathlib import Path
from typing import Any

LIBRARY = Path("/opt/overlab/libztcore.so")
VERSION = (1, 8, 4)

Pointer, U64, I64, Unsigned = c.c_void_p, c.c_uint64, c.c_int64, c.c_uint
Put = c.CFUNCTYPE(None, Pointer, Pointer, Pointer, c.c_int, c.POINTER(U64), Pointer, c.c_int)
Get = c.CFUNCTYPE(c.c_int, Pointer, Pointer, Pointer, c.c_int, c.POINTER(U64), Pointer, Unsigned)
Wire = c.CFUNCTYPE(c.c_int, Pointer, Pointer, Pointer, I64, Pointer, Pointer, Unsigned, Unsigned)
FrameOut = c.CFUNCTYPE(
    None, Pointer, Pointer, Pointer, U64, Pointer, U64, U64, Unsigned, Unsigned, Pointer, Unsigned
)
Config = c.CFUNCTYPE(c.c_int, Pointer, Pointer, Pointer, U64, Pointer, c.c_int, Pointer)
Event = c.CFUNCTYPE(None, Pointer, Pointer, Pointer, c.c_int, Pointer)
PathCheck = c.CFUNCTYPE(c.c_int, Pointer, Pointer, Pointer, U64, I64, Pointer)
PathLookup = c.CFUNCTYPE(c.c_int, Pointer, Pointer, Pointer, U64, c.c_int, Pointer)

STATUSES = (
    "REQUESTING_CONFIGURATION", "OK", "ACCESS_DENIED", "NOT_FOUND", "PORT_ERROR", "CLIENT_TOO_OLD",
    "AUTHENTICATION_REQUIRED",
)  # fmt: skip
TYPES = ("PRIVATE", "PUBLIC")
ROLES = ("LEAF", "MOON", "PLANET")
EVENTS = {0: "UP", 1: "OFFLINE", 2: "ONLINE", 3: "DOWN", 4: "IDENTITY_COLLISION"}
OFFLINE, ONLINE = 1, 2
CONFIG_DOWN, CONFIG_DESTROY = 3, 4

# ZT_Peer: a head with the number of paths, then 16 paths, each with its address and two times in front.
PEER_BYTES, PATHS_AT, PATH_COUNT_AT, PATH_BYTES, PATH_TIMES_AT = 4056, 88, 80, 248, 128


class Callbacks(c.Structure):
    """ZT_Node_Callbacks, version 0."""

    _fields_ = (
        ("version", c.c_long),
        ("put", Put),
        ("get", Get),
        ("wire", Wire),
        ("frame", FrameOut),
        ("config", Config),
        ("event", Event),
        ("path_check", PathCheck),
        ("path_lookup", PathLookup),
    )


class NetworkConfig(c.Structure):
    """The head of ZT_VirtualNetworkConfig, up to the assigned addresses."""

    _fields_ = (
        ("nwid", U64),
        ("mac", U64),
        ("name", c.c_char * 128),
        ("status", c.c_int),
        ("type", c.c_int),
        ("mtu", Unsigned),
        ("dhcp", c.c_int),
        ("bridge", c.c_int),
        ("broadcast", c.c_int),
        ("port_error", c.c_int),
        ("revision", c.c_ulong),
        ("address_count", Unsigned),
        ("_padding", Unsigned),
        ("addresses", (c.c_ubyte * 128) * 16),
    )


class NodeStatus(c.Structure):
    """ZT_NodeStatus."""

    _fields_ = (("address", U64), ("public", c.c_char_p), ("secret", c.c_char_p), ("online", c.c_int))


SIGNATURES: dict[str, tuple[list[Any], Any]] = {
    "ZT_version": ([c.POINTER(c.c_int)] * 3, None),
    "ZT_Node_new": ([c.POINTER(Pointer), Pointer, Pointer, c.POINTER(Callbacks), I64], c.c_int),
    "ZT_Node_delete": ([Pointer], None),
    "ZT_Node_processWirePacket": (
        [Pointer, Pointer, I64, I64, c.c_char_p, c.c_char_p, Unsigned, c.POINTER(I64)],
        c.c_int,
    ),
    "ZT_Node_processVirtualNetworkFrame": (
        [Pointer, Pointer, I64, U64, U64, U64, Unsigned, Unsigned, c.c_char_p, Unsigned, c.POINTER(I64)],
        c.c_int,
    ),
    "ZT_Node_processBackgroundTasks": ([Pointer, Pointer, I64, c.POINTER(I64)], c.c_int),
    "ZT_Node_join": ([Pointer, U64, Pointer, Pointer], c.c_int),
    "ZT_Node_leave": ([Pointer, U64, Pointer, Pointer], c.c_int),
    "ZT_Node_multicastSubscribe": ([Pointer, Pointer, U64, U64, c.c_ulong], c.c_int),
    "ZT_Node_multicastUnsubscribe": ([Pointer, U64, U64, c.c_ulong], c.c_int),
    "ZT_Node_status": ([Pointer, c.POINTER(NodeStatus)], None),
    "ZT_Node_address": ([Pointer], U64),
    "ZT_Node_peers": ([Pointer], Pointer),
    "ZT_Node_networkConfig": ([Pointer, U64], Pointer),
    "ZT_Node_freeQueryResult": ([Pointer, Pointer], None),
    "ZT_Node_addLocalInterfaceAddress": ([Pointer, c.c_char_p], c.c_int),
    "ZT_Node_setNetconfMaster": ([Pointer, Pointer], None),
    "zts_id_new": ([c.c_char_p, c.POINTER(Unsigned)], c.c_int),
}


def load(path: Path = LIBRARY) -> c.CDLL:
    """Load the core and declare its functions; SystemExit for a version whose layout is not known."""
    core = c.CDLL(str(path))
    for name, (arguments, result) in SIGNATURES.items():
        function = getattr(core, name)
        function.argtypes, function.restype = arguments, result
    if version(core) != VERSION:
        raise SystemExit(f"{path} is core {version(core)}, and only {VERSION} is known here")
    return core


def version(core: c.CDLL) -> tuple[int, ...]:
    """Return the core's version."""
    numbers = [c.c_int() for _ in VERSION]
    core.ZT_version(*(c.byref(number) for number in numbers))
    return tuple(number.value for number in numbers)
