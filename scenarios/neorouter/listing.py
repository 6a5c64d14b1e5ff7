"""What NeoRouter's programs print, read.

The vendor's programs were not at hand when this was written. What is read here is what their listings are
known to hold: a group's name behind ">", and of each computer its address, or "(offline)", before its name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address

GROUP = re.compile(r"^\s*>\s*(?P<name>\S.*?)\s*$")
COMPUTER = re.compile(r"^\s*(?P<address>\d+\.\d+\.\d+\.\d+|\(offline\))\s+(?P<name>\S.*?)\s*$", re.IGNORECASE)
REFUSED = "could not sign you in"
ADDRESS = re.compile(r"(?<![\d.])\d{1,3}(?:\.\d{1,3}){3}(?![\d.])")


@dataclass(frozen=True, slots=True)
class Computer:
    """A member as nrclientcmd lists it; without an address it is offline."""

    group: str
    name: str
    address: IPv4Address | None


def computers(text: str) -> list[Computer]:
    """Return the computers that nrclientcmd lists after signing in."""
    found, group = [], ""
    for line in text.splitlines():
        if heading := GROUP.match(line):
            group = heading["name"]
        elif row := COMPUTER.match(line):
            address = None if row["address"].startswith("(") else IPv4Address(row["address"])
            found.append(Computer(group, row["name"], address))
    return found


def was_refused(text: str) -> bool:
    """True when nrclientcmd says that user or password are wrong."""
    return REFUSED in text.lower()


def addresses(text: str) -> list[IPv4Address]:
    """Return all addresses that a text names (`nrserver -showcomputers`, whatever its columns are)."""
    words = ADDRESS.findall(text)
    return [IPv4Address(word) for word in words if all(int(part) < 256 for part in word.split("."))]
