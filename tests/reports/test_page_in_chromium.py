"""The page of a run, opened in a real Chromium inside a lab: it is drawn whole, fetches nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fixtures import setup
from fixtures.browser import read_report
from fixtures.node import Node
from fixtures.providers.namespace.labs import boot, plan_of
from fixtures.store.cache import Cache
from fixtures.store.progress import Progress
from reports.files import Appender, RunFolder
from reports.publish import publish
from tests.provider.grounds import small
from tests.reports.samples import a_night

WIDTHS = {"desktop": (1280, 900), "phone": (390, 844)}


@pytest.fixture(scope="module")
def viewer() -> Iterator[Node]:
    """A node with the browser that the contract asks for, and no engine."""
    cache, topology = Cache.open(), replace(small("viewer"), layers=("scenarios",))
    ready = setup.prepare(cache, topology, Progress())
    lab = boot(cache, topology, plan_of(topology, ready.layers, None, engines=False))
    try:
        yield lab.node("viewer")
    finally:
        lab.down()


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    run = RunFolder(tmp_path_factory.mktemp("runs") / "20260102T030405Z-0a1b2c").create()
    appender = Appender(run.worker_file("main"))
    for line in a_night():
        appender.append(line.line())
    publish(run)
    return run.page.read_text()


def complaints(seen: dict[str, Any]) -> list[str]:
    """Return what a person would hold against the page."""
    wide = [f"{seen['page_width']} pixels wide"] if seen["page_width"] > seen["viewport"] else []
    hidden = [f"{n['stat']} {n['text']!r} is not drawn" for n in seen["numbers"] if not n["shown"]]
    return [*seen["errors"], *(f"fetched {name}" for name in seen["foreign"]), *wide, *hidden]


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_to_complain_of(viewer: Node, page: str, tmp_path: Path, width: str) -> None:
    wide, high = WIDTHS[width]
    seen = read_report(viewer, page, tmp_path / f"{width}.png", width=wide, height=high)
    assert complaints(seen) == []
    assert seen["viewport"] == wide, "not the thing under test: the window has another width"
    assert len(seen["numbers"]) == page.count("data-stat=") > 20
    assert seen["drawings"] == page.count("<svg") > 0
    assert seen["title"].startswith("Overlay networks")


@pytest.mark.parametrize(
    ("spoilt", "complaint"),
    [
        ("<script>nowhere.to.be.found()</script>", "Content Security Policy"),
        ("<img src='http://10.77.0.9/pixel.png'>", "fetched http://10.77.0.9/pixel.png"),
        ("<div style='width: 3000px; height: 1px'></div>", "pixels wide"),
        ("<style>[data-stat] { display: none }</style>", "is not drawn"),
    ],
)
def test_a_spoilt_page_is_complained_of(
    viewer: Node, page: str, tmp_path: Path, spoilt: str, complaint: str
) -> None:
    spoilt_page = page.replace("</body>", f"{spoilt}</body>")
    assert spoilt_page != page, "not the thing under test: the page has no </body>"
    seen = read_report(viewer, spoilt_page, tmp_path / "spoilt.png", width=1280, height=900)
    assert any(complaint in told for told in complaints(seen)), complaints(seen)
