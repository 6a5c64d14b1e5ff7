"""What a row of the matrix is about: the recorder stamps it on every line of a scenario."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from overlab.model import Topology
from reports.schema import NodeInfo, OverlayInfo, UnderlayInfo


@dataclass(frozen=True, slots=True)
class RowContext:
    """Scenario × variant × engine × provider name the row; the rest describes it.

    `variant` maps an option to its value ({"data-plane": "kernel"}); `placement` maps a node to the
    containers that run on it.
    """

    scenario: str = ""
    variant: Mapping[str, str] = field(default_factory=dict)
    engine: str = ""
    provider: str = ""
    overlay: OverlayInfo = field(default_factory=OverlayInfo)
    underlay: UnderlayInfo = field(default_factory=UnderlayInfo)
    nodes: tuple[NodeInfo, ...] = ()
    placement: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        topology: Topology,
        *,
        provider: str,
        overlay: str = "",
        variant: Mapping[str, str] | None = None,
        placement: Mapping[str, Sequence[str]] | None = None,
        kind: str = "bridge",
    ) -> RowContext:
        """Describe the row that a topology asks for, before anything is booted."""
        return cls(
            scenario=topology.name,
            variant=dict(variant or {}),
            engine=topology.engine,
            provider=provider,
            overlay=OverlayInfo(name=overlay or topology.name),
            underlay=UnderlayInfo(mtu=topology.mtu, kind=kind),
            nodes=tuple(NodeInfo(name=node.name, address=str(node.address)) for node in topology.nodes),
            placement=dict(placement or {}),
        )

    def described(
        self,
        *,
        overlay: OverlayInfo | None = None,
        underlay: UnderlayInfo | None = None,
        nodes: tuple[NodeInfo, ...] | None = None,
        placement: Mapping[str, Sequence[str]] | None = None,
    ) -> RowContext:
        """Return the same row with what is known only once the lab is up.

        What names the row cannot change here: its earlier lines would be left in another row.
        """
        return replace(
            self,
            overlay=self.overlay if overlay is None else overlay,
            underlay=self.underlay if underlay is None else underlay,
            nodes=self.nodes if nodes is None else nodes,
            placement=self.placement if placement is None else placement,
        )
