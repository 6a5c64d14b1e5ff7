"""What is ours of NeoRouter's scenario, without NeoRouter: reading its listings, and finding its packages.

The listings are text in the shape that the vendor's programs are known to print; none of it was taken from a
running NeoRouter.
"""

from __future__ import annotations

from ipaddress import IPv4Address
from pathlib import Path

import pytest

from overlab.errors import NotHereError
from scenarios.catalogue import load
from scenarios.neorouter.listing import Computer, addresses, computers, was_refused
from scenarios.neorouter.overlay import ADDRESSES
from scenarios.neorouter.packages import ARCHIVE, find

SHAPE = """
Domain: dockercoins
Username: sidecar
> My Computers
10.10.0.1       worker
10.10.0.2       rng
(offline)       redis on node1
> Others
10.10.0.17      hasher
"""
FOLDER = Path(__file__).parent


def test_computers_in_the_documented_shape() -> None:
    """Symptom: a member that is offline is taken for one with an address, or one group for another."""
    assert computers(SHAPE) == [
        Computer("My Computers", "worker", IPv4Address("10.10.0.1")),
        Computer("My Computers", "rng", IPv4Address("10.10.0.2")),
        Computer("My Computers", "redis on node1", None),
        Computer("Others", "hasher", IPv4Address("10.10.0.17")),
    ]
    assert computers("The system could not sign you in.") == []


def test_a_refusal_in_the_documented_shape() -> None:
    """Symptom: a wrong password looks like an empty network."""
    assert was_refused("The system could not sign you in. Make sure your user name is correct.")
    assert not was_refused(SHAPE)


def test_addresses_of_any_table() -> None:
    """Symptom: a version number, or a mask of another table, counts as a member."""
    assert addresses("NeoRouter 2.3.1.4360, 10.10.0.1/255.255.0.0") == [
        IPv4Address("10.10.0.1"),
        IPv4Address("255.255.0.0"),
    ]


def test_the_range_keeps_clear_of_virtualbox() -> None:
    """Symptom: behind VirtualBox's NAT a member's own gateway is an address of the VPN."""
    assert not ADDRESSES.overlaps(type(ADDRESSES)("10.0.2.0/24"))


@pytest.mark.parametrize("given", ["", "nowhere"], ids=["nothing", "no-folder"])
def test_packages_that_are_not_there(given: str, tmp_path: Path) -> None:
    """Symptom: the scenario fails far from the cause, with an engine's words."""
    with pytest.raises(NotHereError) as told:
        find(str(tmp_path / given) if given else "")
    assert "debs=DIR" in told.value.remedy


def test_packages_that_are_none(tmp_path: Path) -> None:
    """Symptom: the page that a captive portal gave is installed as a package."""
    for name in ("nrclient-1-free-ubuntu-amd64.deb", "nrserver-1-free-ubuntu-amd64.deb"):
        (tmp_path / name).write_bytes(b"<html>")
    with pytest.raises(NotHereError, match="no Debian package"):
        find(str(tmp_path))
    for path in tmp_path.iterdir():
        path.write_bytes(ARCHIVE)
    assert find(str(tmp_path)).server.name.startswith("nrserver")


def test_the_scenario_names_its_remedy() -> None:
    """Symptom: a skip that does not say what would help."""
    overlay = load(FOLDER, {})
    with pytest.raises(NotHereError, match="not given"):
        overlay.check_here(outside=False)
