"""Whatever is typed or lacking: one line that says it, with the remedy, the right status, nothing left."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from fixtures import setup
from fixtures.providers.namespace import registry
from fixtures.store.cache import MARK, Cache
from overlab.paths import CHECKOUT
from scenarios.catalogue import folder_of, load
from tests.cli.calling import assert_one_line, call
from tests.cli.conftest import SCENARIO

TYPED = {
    "verb": (["matirx"], "did you mean 'matrix'?"),
    "flag": (["matrix", "--providr=x"], "--provider"),
    "scenario": (["matrix", "wiregard"], "did you mean 'wireguard'?"),
    "scenario-of-up": (["up", "wiregard"], "did you mean 'wireguard'?"),
    "no-scenario": (["up"], "SCENARIO"),
    "option": (["up", SCENARIO, "-O", f"{SCENARIO}.implementaton=kernel"], "did you mean 'implementation'?"),
    "option-form": (["matrix", "-O", "implementation"], "scenario.option=value"),
    "option-value": (["matrix", "-O", f"{SCENARIO}.implementation=x"], "'kernel'"),
    "option-scenario": (["matrix", "-O", "wiregard.implementation=x"], "did you mean"),
    "provider": (["matrix", "--provider=namespaces"], "did you mean 'namespace'?"),
    "engine": (["matrix", "--engine=19.03"], "20.10"),
    "no-inventory": (["matrix", "--provider=inventory"], "--inventory hosts.ini"),
    "box": (["matrix", "--provider=vagrant", "--box=bargee"], "did you mean 'barge'?"),
    "no-lab": (["sh", "barge1"], "no lab is up; ./lab up SCENARIO"),
    "no-such-lab": (["down", "nowhere"], "no lab 'nowhere' is up"),
    "no-command": (["exec", "barge1"], "no command to run"),
    "no-service-name": (["exec", "barge1", "--service"], "--service names none"),
    "forward-form": (["forward", "barge1"], "'barge1' is not NODE:PORT"),
    "forward-port": (["forward", "barge1:70000"], "is not NODE:PORT"),
    "fault": (["fault", "blok"], "did you mean 'block'?"),
    "block-form": (["fault", "block", "icmp"], "for example udp/12345"),
    "loss-range": (["fault", "loss", "0"], "1<=x<=100"),
    "run": (["report", "--results", "/nowhere"], "no run is in /nowhere"),
}


@pytest.mark.parametrize(("words", "told"), TYPED.values(), ids=TYPED.keys())
def test_what_is_typed_wrong(words: list[str], told: str, empty_cache: dict[str, str]) -> None:
    assert_one_line(call(*words, env=empty_cache), 2, told)
    labs = Path(empty_cache["OVERLAB_CACHE"]) / "labs"
    assert not labs.is_dir() or not any(labs.iterdir())


def test_pytests_own_bad_usage_is_ours(empty_cache: dict[str, str]) -> None:
    assert call("pytest", "--", "--no-such-flag", env=empty_cache).returncode == 2


def test_no_test_selected_is_bad_usage(empty_cache: dict[str, str]) -> None:
    here = str(Path(__file__).with_name("test_help.py"))
    done = call("pytest", "--", "-q", "-p", "no:cacheprovider", here, "-k", "zzz", env=empty_cache)
    assert_one_line(done, 2, "no test was selected")


NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
LAUNCHER = [str(CHECKOUT / "lab")]


@pytest.mark.parametrize("verb", ["matrix", "test", "up", "status", "clean"])
def test_not_root(verb: str) -> None:
    done = call(verb, before=NOBODY, program=LAUNCHER)
    assert_one_line(done, 3, f"'{verb}' needs root", f"run: sudo ./lab {verb}")


def test_help_needs_no_root() -> None:
    done = call("--help", before=NOBODY, program=LAUNCHER)
    assert done.returncode == 0
    assert "matrix" in done.stdout


def test_no_room_on_disk(tmp_path: Path) -> None:
    small = ["unshare", "-m", "sh", "-c", f'mount -t tmpfs -o size=8m tmpfs {tmp_path} && exec "$@"', "small"]
    done = call("up", SCENARIO, env={"OVERLAB_CACHE": str(tmp_path / "cache")}, before=small)
    assert done.returncode == 3
    assert "GiB free and set-up needs" in done.stderr
    assert "OVERLAB_CACHE" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_registry_unreachable(empty_cache: dict[str, str]) -> None:
    env = empty_cache | {"OVERLAB_MIRROR": "http://127.0.0.1:9/debian"}
    done = call("up", SCENARIO, env=env)
    assert done.returncode == 3, done.stderr
    last = done.stderr.splitlines()[-1]
    assert "could not be built" in last
    assert "look at the network, the proxy" in last
    rootfs = Path(env["OVERLAB_CACHE"]) / "rootfs"
    assert not [p for p in rootfs.iterdir() if not p.name.endswith(".part")], (
        "a half-built thing has its name"
    )


def test_damaged_cache(empty_cache: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OVERLAB_CACHE", empty_cache["OVERLAB_CACHE"])
    cache = Cache.open()
    topology = load(folder_of(SCENARIO), {}).topology
    for name in setup.missing(cache, topology):
        home = cache.images if (name.startswith(("base-", "add-"))) else cache.rootfs
        (home / name).mkdir()
        (home / name / MARK).write_text("")
    assert not setup.missing(cache, topology), "not damaged, but missing"
    done = call("up", SCENARIO)
    assert done.returncode == 3
    assert "the cache is damaged" in done.stderr
    assert "run ./lab clean" in done.stderr.splitlines()[-1]


def test_clean_refuses_while_a_lab_is_up(
    empty_cache: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OVERLAB_CACHE", empty_cache["OVERLAB_CACHE"])
    cache = Cache.open()
    (cache.rootfs / "debian").mkdir()
    folder = registry.register(cache, "some", {})  # owned by this process, which lives
    assert_one_line(call("clean"), 2, f"labs that are up use the cache: {folder.name}", "./lab down --all")
    assert (cache.rootfs / "debian").is_dir()
    shutil.rmtree(folder)


def test_clean_removes_only_what_is_ours(
    empty_cache: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OVERLAB_CACHE", empty_cache["OVERLAB_CACHE"])
    cache = Cache.open()
    (cache.rootfs / "debian").mkdir()
    (cache.root / "letters.txt").write_text("mine")
    assert call("clean").returncode == 0
    assert [p.name for p in cache.root.iterdir()] == ["letters.txt"]
    (cache.root / "letters.txt").unlink()
    assert call("clean").returncode == 0
    assert not cache.root.exists()


def test_several_labs_have_to_be_told_apart(
    empty_cache: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OVERLAB_CACHE", empty_cache["OVERLAB_CACHE"])
    cache = Cache.open()
    ids = sorted(registry.register(cache, "some", {}).name for _ in range(2))
    assert_one_line(call("ps"), 2, "several labs are up; name one with --lab", *ids)
