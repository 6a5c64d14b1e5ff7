"""Somebody who does not know a verb asks for help, and finds an example."""

from __future__ import annotations

import re

import click
import pytest

from overlab.cli import cli
from overlab.cli.fault import fault
from overlab.paths import CHECKOUT
from tests.cli.calling import call

VERBS = list(cli.commands)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_shows_an_example(verb: str) -> None:
    done = call(verb, "--help")
    assert done.returncode == 0
    assert re.search(rf"Example: (sudo )?\./lab {verb}", done.stdout), done.stdout


@pytest.mark.parametrize("name", list(fault.commands))
def test_every_fault_shows_an_example(name: str) -> None:
    done = call("fault", name, "--help")
    assert f"Example: sudo ./lab fault {name}" in done.stdout


def test_help_of_all_names_each_verb_and_imports_nothing_heavy() -> None:
    done = call("--help", env={"PYTHONPROFILEIMPORTTIME": "1"})
    assert done.returncode == 0
    assert all(f"\n  {verb} " in done.stdout for verb in VERBS)
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if "|" in line}
    assert "click" in imported, "not the list of imports"
    assert not imported & {"docker", "pydantic", "pyroute2", "pytest", "rich"}


def test_no_words_are_bad_usage_with_the_help() -> None:
    done = call()
    assert done.returncode == 2
    assert "Commands:" in done.stderr


def test_the_readme_lists_exactly_the_verbs() -> None:
    # The launcher shows these lines where there is no environment yet.
    table = (CHECKOUT / "README.md").read_text().partition("## The verbs")[2]
    listed = re.findall(r"^    \./lab ([\w-]+)", table, re.MULTILINE)
    assert listed == VERBS


def test_the_launcher_knows_which_verbs_want_root() -> None:
    (line,) = re.findall(r"^    (matrix \|.*)\) ;;$", (CHECKOUT / "lab").read_text(), re.MULTILINE)
    free = {"pytest", "doctor", "options", "report"}
    assert set(line.split(" | ")) | free == set(VERBS)


def test_options_lists_defaults_and_meanings() -> None:
    done = call("options")
    assert done.returncode == 0
    assert "wireguard.implementation=auto  (auto | kernel | userspace)" in done.stdout


def test_no_verb_hides_its_parameters() -> None:
    options = [p for c in cli.commands.values() for p in c.params if isinstance(p, click.Option)]
    assert options, "no options to look at"
    assert not [o.name for o in options if not o.help and o.name != "provider"]
