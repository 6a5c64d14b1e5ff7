"""The launcher makes .venv once, never uses a half-made one, and needs nothing when there is nothing to do.

It runs in a checkout of its own, with a python3, a pip and an apt-get that only say what they were asked.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from overlab.paths import CHECKOUT
from tests.cli.calling import Done, assert_one_line

# What Debian's essential packages give; nothing else of this machine is on PATH.
TOOLS = [
    "chown",
    "cp",
    "dirname",
    "cat",
    "date",
    "flock",
    "grep",
    "head",
    "id",
    "ls",
    "mkdir",
    "mktemp",
    "mv",
    "readlink",
    "rm",
    "sed",
    "sh",
    "sha256sum",
]

PYTHON = r"""#!/bin/sh
case "$*" in
"-c import sys"*) exit "${FAKE_OLD:-0}" ;;
"-c import ensurepip"*) [ -e "$FAKE_BIN/has-venv" ] ;;
"-m venv "*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
"-m pip install"*) echo pip >>"$FAKE_LOG"; eval "${FAKE_PIP:-:}" ;;
"-P -m overlab"*) shift 3; echo "ran $*" ;;
*) exit 99 ;;
esac
"""
APT = r"""#!/bin/sh
echo "apt-get $*" >>"$FAKE_LOG"
eval "${FAKE_APT:-:}"
case "$*" in
*python3-venv*) : >"$FAKE_BIN/has-venv" ;;
*mmdebstrap*) : >"$FAKE_BIN/mmdebstrap" ;;
esac
"""


class Machine:
    """A machine with one checkout on it."""

    def __init__(self, folder: Path) -> None:
        self.checkout, self.bin, self._log = folder / "checkout", folder / "bin", folder / "log"
        self.checkout.mkdir()
        self.bin.mkdir()
        for name in ("lab", "README.md"):
            shutil.copy2(CHECKOUT / name, self.checkout / name)
        (self.checkout / "requirements.lock").write_text("one\n")
        for tool in TOOLS:
            (self.bin / tool).symlink_to(str(shutil.which(tool)))
        self.put("python3", PYTHON)
        self.put("apt-get", APT)
        self.put("mmdebstrap", "#!/bin/sh\n")
        self.put("has-venv", "")

    def put(self, name: str, text: str) -> None:
        """Install a program."""
        (self.bin / name).write_text(text)
        (self.bin / name).chmod(0o755)

    @property
    def stamp(self) -> Path:
        """What is written last."""
        return self.checkout / ".venv" / ".ready"

    def asked(self) -> list[str]:
        """Return what pip and apt-get were asked so far."""
        return self._log.read_text().splitlines() if self._log.exists() else []

    def start(self, *words: str, **settings: str) -> subprocess.Popen[str]:
        """Start the launcher."""
        pipe = subprocess.PIPE
        argv = [str(self.checkout / "lab"), *words]
        return subprocess.Popen(argv, env=self._environment(settings), stdout=pipe, stderr=pipe, text=True)

    def lab(self, *words: str, **settings: str) -> Done:
        """Run the launcher to its end."""
        process = self.start(*words, **settings)
        out, err = process.communicate()
        return Done(process.args, process.returncode, out, err)

    def _environment(self, settings: Mapping[str, str]) -> dict[str, str]:
        fixed = {"PATH": str(self.bin), "FAKE_BIN": str(self.bin), "FAKE_LOG": str(self._log)}
        return fixed | dict(settings)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_makes_the_environment_once(machine: Machine) -> None:
    first, second = machine.lab("options"), machine.lab("options", "--x")
    assert (first.returncode, first.stdout) == (0, "ran options\n")
    assert "making .venv" in first.stderr
    assert (second.returncode, second.stdout, second.stderr) == (0, "ran options --x\n", "")
    assert machine.asked() == ["pip"]


def test_asks_nothing_when_there_is_nothing_to_do(machine: Machine) -> None:
    assert machine.lab("options").returncode == 0
    for gone in ("python3", "apt-get"):
        (machine.bin / gone).unlink()
    assert machine.lab("up", "x").stdout == "ran up x\n"


@pytest.mark.parametrize("death", ["exit 1", "kill -9 $PPID"], ids=["pip fails", "launcher killed"])
def test_an_interrupted_environment_is_never_used(machine: Machine, death: str) -> None:
    assert machine.lab("options", FAKE_PIP=death).returncode != 0
    assert (machine.checkout / ".venv/bin/python").is_file(), "not interrupted half-way"
    assert not machine.stamp.exists()
    done = machine.lab("options")
    assert (done.returncode, done.stdout) == (0, "ran options\n")
    assert machine.asked() == ["pip", "pip"]


def test_another_lock_makes_another_environment(machine: Machine) -> None:
    machine.lab("options")
    (machine.checkout / "requirements.lock").write_text("two\n")
    assert machine.lab("options").stdout == "ran options\n"
    assert machine.asked() == ["pip", "pip"]


def test_a_python_that_went_away_makes_another_environment(machine: Machine) -> None:
    machine.lab("options")
    python = machine.checkout / ".venv/bin/python"
    python.unlink()
    python.symlink_to("/nowhere/python3")
    assert machine.lab("options").stdout == "ran options\n"


def test_a_second_launcher_waits_for_the_first(machine: Machine, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    first = machine.start("options", FAKE_PIP=f"echo in >{gate}; cat {gate}")
    gate.read_text()  # the first is inside pip
    second = machine.start("options")
    assert second.stderr
    assert "waiting for another ./lab" in second.stderr.readline()
    gate.write_text("go on")
    assert first.communicate()[0] == second.communicate()[0] == "ran options\n"
    assert machine.asked() == ["pip"]


def test_pip_cannot_reach_its_registry(machine: Machine) -> None:
    done = machine.lab("options", FAKE_PIP="echo 'ERROR: no route'; exit 1")
    done.stderr = done.stderr.replace("making .venv from requirements.lock (once, about 200 MB)\n", "")
    assert_one_line(done, 3, "ERROR: no route", "look at the network, the proxy (https_proxy)")


def test_python_too_old(machine: Machine) -> None:
    assert_one_line(machine.lab("options", FAKE_OLD="1"), 3, "older than 3.11")


def test_installs_only_what_is_missing_and_says_why(machine: Machine) -> None:
    for name in ("has-venv", "mmdebstrap"):
        (machine.bin / name).unlink()
    done = machine.lab("up", "x")
    assert done.stdout == "ran up x\n", done.stderr
    assert "python3-venv is needed for .venv" in done.stderr
    assert "mmdebstrap is needed to build the root filesystem" in done.stderr
    installs = [line for line in machine.asked() if "install" in line]
    assert installs == ["apt-get -qy install --no-install-recommends python3-venv mmdebstrap"]


def test_apt_cannot_reach_its_mirror(machine: Machine) -> None:
    (machine.bin / "mmdebstrap").unlink()
    done = machine.lab("up", "x", FAKE_APT="echo 'E: no mirror' >&2; exit 100")
    assert done.returncode == 3
    assert "E: no mirror" in done.stderr.splitlines()[-1]
    assert "apt's sources" in done.stderr.splitlines()[-1]


def test_reading_verbs_do_not_ask_for_mmdebstrap(machine: Machine) -> None:
    (machine.bin / "mmdebstrap").unlink()
    assert machine.lab("options").returncode == 0
    assert machine.lab("up", "--help").stdout == "ran up --help\n"
    assert machine.asked() == ["pip"]


def test_help_without_an_environment_is_the_readmes_table(machine: Machine) -> None:
    done = machine.lab("--help")
    assert done.returncode == 0
    assert "./lab forward NODE:PORT" in done.stdout
    assert machine.asked() == []


def test_under_sudo_the_environment_is_the_users(machine: Machine) -> None:
    machine.lab("options", SUDO_UID="65534", SUDO_GID="65534")
    assert machine.stamp.stat().st_uid == 65534


def test_the_callers_folder_is_not_imported(tmp_path: Path) -> None:
    (tmp_path / "click.py").write_text("raise SystemExit(77)\n")
    done = subprocess.run([CHECKOUT / "lab", "--help"], cwd=tmp_path, check=False, capture_output=True)
    assert done.returncode == 0
