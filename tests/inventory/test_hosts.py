"""Reading an inventory: what is understood, and what is refused in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from fixtures.providers.inventory.hosts import read_inventory
from overlab.errors import UsageError

FULL = """\
# before any group
lonely ansible_host=192.0.2.1
[lab:children]
near
[near]
Node1 ansible_host=192.0.2.11 ansible_port=2222 overlab_interface=ens4  # on the shelf
Node2 ansible_user=debian ansible_become=true
[near:vars]
ansible_ssh_private_key_file = /keys/lab
[all:vars]
ansible_ssh_common_args="-o UserKnownHostsFile=/keys/known -o ConnectTimeout=3"
"""


def written(path: Path, text: str) -> Path:
    file = path / "hosts.ini"
    file.write_text(text)
    return file


def test_hosts_with_what_they_have_of_their_groups(tmp_path: Path) -> None:
    """Symptom: the key of a group is not used, or a name has lost its capitals."""
    lonely, one, two = read_inventory(written(tmp_path, FULL))
    assert (lonely.reach.name, lonely.reach.host, lonely.reach.key) == ("lonely", "192.0.2.1", "")
    assert (one.reach.name, one.reach.host, one.reach.port) == ("Node1", "192.0.2.11", 2222)
    assert (one.interface, one.reach.key, one.reach.user) == ("ens4", "/keys/lab", "root")
    assert one.reach.options == ("-o", "UserKnownHostsFile=/keys/known", "-o", "ConnectTimeout=3")
    assert (two.reach.host, two.reach.user, two.reach.become) == ("Node2", "debian", True)
    assert not one.reach.become
    assert not two.may_reboot


def test_a_group_of_ours_is_all_that_is_asked_for(tmp_path: Path) -> None:
    """Symptom: the lab spreads over every machine that a company has."""
    found = read_inventory(written(tmp_path, FULL + "[overlab:children]\nnear\n"))
    assert [host.reach.name for host in found] == ["Node1", "Node2"]


def test_an_own_variable_wins_over_the_groups(tmp_path: Path) -> None:
    text = "[overlab]\na ansible_user=me overlab_may_reboot=yes\n[overlab:vars]\nansible_user=you\n"
    (host,) = read_inventory(written(tmp_path, text))
    assert host.reach.user == "me"
    assert host.may_reboot


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "names no host"),
        ("web[1:3]\n", "ranges such as"),
        ("a ansible_connection=docker\n", "not reached by ssh"),
        ("a ansible_port=ssh\n", "is no port"),
        ("a b\n", "is no variable"),
        ("[overlab\n", "hosts.ini"),
    ],
    ids=["empty", "range", "connection", "port", "word", "header"],
)
def test_what_is_refused(text: str, told: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="(?s)" + told.replace("[", r"\[")) as raised:
        read_inventory(written(tmp_path, text))
    assert raised.value.remedy
    assert "\n" not in str(raised.value)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        read_inventory(tmp_path / "nowhere.ini")
