"""The house: who may import whom, how long a module is, and which names select which tests."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from overlab.paths import CHECKOUT, scenarios

ROOMS = ("overlab", "fixtures", "images", "scenarios", "probes", "reports", "tests", "benchmarks")
LONGEST = 300
KNOW_PYTEST = {"causes", "fate", "recorder", "session"}  # modules of reports/ that are the plugin
OTHERS_PLACES = ("../" + "shared", "/wo" + "rk/", "py" + "pi.org", "files." + "pythonhosted")
TEXT = {".py", ".md", ".toml", ".sh", ".ini", ".lock", ".j2", ".css", ".js", ".html", ".yml", ".cfg", ""}


def modules(room: str) -> list[Path]:
    return sorted(p for p in (CHECKOUT / room).rglob("*.py") if "runs" not in p.parts)


def imports(path: Path) -> Iterator[str]:
    """Yield the dotted names that a module imports, wherever it does."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            above = ".".join(path.relative_to(CHECKOUT).parts[: -node.level]) + "." if node.level else ""
            yield above + node.module
            yield from (f"{above}{node.module}.{alias.name}" for alias in node.names)


def importers(room: str, *names: str) -> set[str]:
    """Return which modules of `room` import one of `names`, or something in it."""
    found = set()
    for path in modules(room):
        for imported in imports(path):
            if any(imported == name or imported.startswith(f"{name}.") for name in names):
                found.add(f"{path.relative_to(CHECKOUT)}: {imported}")
    return found


def test_the_look_at_imports_sees_them() -> None:
    """Not the thing under test: the search itself finds what is there."""
    assert any(x.startswith("fixtures/vantages.py: probes.client") for x in importers("fixtures", "probes"))
    assert importers("probes", "scapy"), "imports inside functions count"


@pytest.mark.parametrize("room", ROOMS)
def test_modules_are_short(room: str) -> None:
    """Symptom: one module of 3,000 lines, which nobody reads to its end."""
    lines = {str(p.relative_to(CHECKOUT)): len(p.read_text().splitlines()) for p in modules(room)}
    assert lines, f"not the thing under test: {room} has no modules"
    assert {name: count for name, count in lines.items() if count > LONGEST} == {}


@pytest.mark.parametrize("room", [r for r in ROOMS if r not in ("probes", "tests")])
def test_only_probes_touch_packets(room: str) -> None:
    """Symptom: a scenario crafts its own packets, and its figures are not comparable to the others'."""
    assert importers(room, "scapy") == set()


def test_probes_know_vantages_and_not_providers() -> None:
    """Symptom: a probe works on namespaced nodes only."""
    assert importers("probes", "fixtures", "scenarios", "reports", "pytest", "docker") == set()


def test_the_agent_stands_alone() -> None:
    """Symptom: the agent cannot start in its container, as it imports what only the checkout has."""
    known = {*sys.stdlib_module_names, "scapy", "probes", "probes.agent"}
    for path in modules("probes/agent"):
        for imported in imports(path):
            root = imported.partition(".")[0]
            assert root in known, f"{path.name} imports {imported}"
            assert root != "probes" or imported.startswith("probes.agent"), f"{path.name} imports {imported}"


def test_reports_know_results_and_not_labs() -> None:
    """Symptom: `./lab report` on another machine needs root, Docker, or pytest."""
    assert importers("reports", "fixtures", "probes", "scenarios", "docker") == set()
    knowing = {Path(x.partition(":")[0]).stem for x in importers("reports", "pytest", "_pytest")}
    assert knowing <= KNOW_PYTEST


def test_scenarios_do_not_ask_what_a_node_is_made_of() -> None:
    """Symptom: a scenario runs on one provider, because it reached into it."""
    assert importers("scenarios", "fixtures.providers", "fixtures.store", "fixtures.setup") == set()


OTHERS = ("docker", "by_hand", "sidecars")  # families; what lies below them knows none


def test_scenarios_do_not_know_each_other() -> None:
    """Symptom: changing one overlay breaks another."""
    for name in scenarios():
        others = {f"scenarios.{other}" for other in scenarios()} - {f"scenarios.{name}"}
        assert importers(f"scenarios/{name}", *others) == set()
    assert importers("scenarios/families", *(f"scenarios.{name}" for name in scenarios())) == set()
    assert importers("scenarios/families/vxlan", *(f"scenarios.families.{x}" for x in OTHERS)) == set()


def test_the_words_know_nothing_that_runs() -> None:
    """Symptom: importing a data type boots half of the project."""
    own = {x for x in importers("overlab", "fixtures", "probes", "scenarios", "reports") if "/cli/" not in x}
    assert {x for x in own if "__main__" not in x} == set()


def test_the_lab_does_not_know_scenarios() -> None:
    """Symptom: adding an overlay needs an edit in fixtures/."""
    knowing = importers("fixtures", *(f"scenarios.{name}" for name in scenarios()))
    assert knowing == set()
    assert {x.partition(":")[0] for x in importers("fixtures", "scenarios")} <= {"fixtures/plugin.py"}


def files() -> list[Path]:
    argv = ["git", "-c", "safe.directory=*", "ls-files", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(argv, cwd=CHECKOUT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip("this is no git checkout: what belongs to the project is not known")
    paths = [CHECKOUT / line for line in done.stdout.splitlines()]
    return [p for p in paths if p.is_file() and p.suffix in TEXT]


def test_nothing_points_out_of_the_checkout() -> None:
    """Symptom: a file names a folder, or an index, that only one machine has."""
    known = files()
    assert Path(__file__) in known
    found = {f"{p.relative_to(CHECKOUT)}: {place}" for p in known for place in OTHERS_PLACES
             if place in p.read_text(errors="replace")}  # fmt: skip
    assert found == set()


def test_the_lock_has_hashes_and_no_address() -> None:
    """Symptom: an installation asks an index that the caller did not choose, or takes what was changed."""
    lines = (CHECKOUT / "requirements.lock").read_text().splitlines()
    pinned = [line for line in lines if line and not line.startswith((" ", "#", "-"))]
    assert len(pinned) > 10
    assert [line for line in pinned if "==" not in line or not line.endswith("\\")] == []
    options = [line for line in lines if line.lstrip().startswith("-") and "--hash=sha256:" not in line]
    assert options == []
    assert [line for line in lines if "://" in line] == []


def test_a_scenarios_name_selects_its_folder_and_nothing_else() -> None:
    """Symptom: `-k NAME` runs tests of the harness too, because one of their names holds the word."""
    argv = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run([*argv, "--markers"], cwd=CHECKOUT, capture_output=True, text=True, check=False)
    marks = [line.partition(":")[0] for line in done.stdout.splitlines() if line.startswith("@pytest.mark.")]
    shown = subprocess.run(argv, cwd=CHECKOUT, capture_output=True, text=True, check=False).stdout
    tests = [line for line in shown.splitlines() if "::" in line]
    for name in scenarios():
        own = [t for t in tests if t.startswith(f"scenarios/{name}/")]
        assert own, f"not the thing under test: {name} has no tests, {shown[-500:]}"
        wrong = [x for x in (*tests, *marks) if name.lower() in x.lower() and x not in own]
        assert wrong == [], f"-k {name} would select these too"
