"""The topology of a row as shapes with coordinates; the page's template draws them as SVG."""

from __future__ import annotations

from dataclasses import dataclass

from reports.schema import Result

NODE_WIDTH = 190
GAP = 26
MARGIN = 16
CONTAINER_HEIGHT = 24
HEADER = 48
MOST_NODES = 6
MOST_CONTAINERS = 5


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle in user units, with one line of text, or two."""

    x: float
    y: float
    width: float
    height: float
    text: str
    more: str = ""

    @property
    def middle(self) -> float:
        """The x of its centre."""
        return self.x + self.width / 2


@dataclass(frozen=True, slots=True)
class Drawing:
    """Nodes with their containers over the bar of the underlay; the overlay is a bar inside the nodes."""

    width: float
    height: float
    nodes: tuple[Box, ...]
    containers: tuple[Box, ...]
    overlay: Box
    underlay: Box
    left_out: int


def drawing(result: Result) -> Drawing | None:
    """Return the drawing of a line's nodes, or None when it names none."""
    names = [node.name for node in result.nodes]
    if not names:
        return None
    shown = result.nodes[:MOST_NODES]
    placed = {name: _placed(result, name) for name in names}
    deepest = max(len(placed[node.name]) for node in shown)
    height = HEADER + deepest * (CONTAINER_HEIGHT + 6) + 50
    nodes, containers = [], []
    for index, node in enumerate(shown):
        x = MARGIN + index * (NODE_WIDTH + GAP)
        nodes.append(Box(x, MARGIN, NODE_WIDTH, height, node.name, node.address))
        for level, name in enumerate(placed[node.name]):
            y = MARGIN + HEADER + level * (CONTAINER_HEIGHT + 6)
            containers.append(Box(x + 14, y, NODE_WIDTH - 28, CONTAINER_HEIGHT, name))
    width = 2 * MARGIN + len(shown) * NODE_WIDTH + (len(shown) - 1) * GAP
    bar = width - 2 * MARGIN
    overlay = Box(MARGIN + 6, MARGIN + height - 38, bar - 12, 26, _overlay(result))
    underlay = Box(MARGIN, MARGIN + height + 26, bar, 28, _underlay(result))
    total = underlay.y + underlay.height + MARGIN
    return Drawing(width, total, tuple(nodes), tuple(containers), overlay, underlay, len(names) - len(shown))


def _placed(result: Result, node: str) -> list[str]:
    names = list(result.placement.get(node, ()))
    if len(names) <= MOST_CONTAINERS:
        return names
    left = len(names) - MOST_CONTAINERS + 1
    return [*names[: MOST_CONTAINERS - 1], f"and {left} more"]


def _overlay(result: Result) -> str:
    return f"{result.overlay.name or result.scenario} {result.overlay.version}".strip()


def _underlay(result: Result) -> str:
    underlay = result.underlay
    mtu = f"MTU {underlay.mtu}" if underlay.mtu is not None else ""
    return ", ".join(part for part in (f"underlay {underlay.kind}".strip(), mtu, underlay.rate) if part)
