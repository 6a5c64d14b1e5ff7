"""The shape of one result line, versioned. A line that has a field too many or too few is refused."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    StrictFloat,
    StrictInt,
    StrictStr,
    model_validator,
)

from overlab.model import Phase, Verdict

SCHEMA = 1

# Strict: a lax union would read the text "1420" as a number and lose what was really measured.
Number = StrictInt | StrictFloat
Scalar = StrictInt | StrictFloat | StrictStr
Value = StrictInt | StrictFloat | StrictStr | list[Number] | None


class Strict(BaseModel):
    """What all parts of a line have in common: frozen, nothing unknown, no NaN (JSON has none)."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        allow_inf_nan=False,
        validate_by_name=True,
        validate_by_alias=True,
        serialize_by_alias=True,
    )


class Host(Strict):
    """The machine that ran the lab; `load` is the 1-minute load average when the line was written."""

    kernel: str = ""
    cpu: str = ""
    cores: int = 0
    load: float = 0.0
    virt: str = ""


class OverlayInfo(Strict):
    """The overlay under test; `packages` maps a package or binary to its version."""

    name: str = ""
    version: str = ""
    packages: Mapping[str, str] = Field(default_factory=dict)


class UnderlayInfo(Strict):
    """The network below it; `mtu` in bytes, `rate` as it was shaped ("200mbit") or empty."""

    mtu: int | None = None
    rate: str = ""
    kind: str = ""


class NodeInfo(Strict):
    """A machine of the lab, its address on the underlay, and the kernel that it runs on."""

    name: str
    address: str = ""
    kernel: str = ""


class PaperKind(StrEnum):
    """What a value in a paper is good for: to judge by, to explain, or to know."""

    EXACT = "exact"
    DIFFERS = "differs"
    CONTEXT = "context"


class PaperValue(Strict):
    """A value that a paper states. `source` is the place in the paper, "file:line"."""

    id: str = Field(min_length=1)
    what: str = Field(min_length=1)
    value: Scalar
    unit: str = ""
    source: str = Field(pattern=r".:\d")
    kind: PaperKind
    reason: str = ""
    probe: str = ""

    @model_validator(mode="after")
    def _differs_says_why(self) -> PaperValue:
        if self.kind is PaperKind.DIFFERS and not self.reason:
            raise ValueError("kind 'differs' needs a reason")
        return self


class Evidence(Strict):
    """What a line rests on: files, as paths inside the run's folder, and small data kept in the line."""

    files: tuple[str, ...] = ()
    data: Mapping[str, JsonValue] = Field(default_factory=dict)


class Result(Strict):
    """One result: one JSON line. Raw samples are kept in `value` as a list, summaries are derived.

    `outcome` is written as "class" (a word that Python keeps for itself); `order` counts the lines
    of one writer, `block` the interleaved blocks of a measurement.
    """

    schema_version: Literal[1] = Field(default=1, validation_alias="schema", serialization_alias="schema")
    run_id: str
    git: str = ""
    time: AwareDatetime = Field(default_factory=lambda: datetime.now(UTC))
    host: Host = Field(default_factory=Host)
    capabilities: Mapping[str, str] = Field(default_factory=dict)
    provider: str = ""
    engine: str = ""
    scenario: str = ""
    variant: Mapping[str, str] = Field(default_factory=dict)
    overlay: OverlayInfo = Field(default_factory=OverlayInfo)
    underlay: UnderlayInfo = Field(default_factory=UnderlayInfo)
    placement: Mapping[str, tuple[str, ...]] = Field(default_factory=dict)
    nodes: tuple[NodeInfo, ...] = ()
    phase: Phase = Phase.PROBE
    probe: str
    src: str = ""
    dst: str = ""
    attempt: Annotated[int, Field(ge=1)] = 1
    block: int | None = None
    order: int = 0
    seed: int | None = None
    value: Value = None
    unit: str = ""
    promised: Scalar | None = None
    paper: PaperValue | None = None
    verdict: Verdict
    outcome: str = Field(validation_alias="class", serialization_alias="class")
    reason: str = ""
    evidence: Evidence = Field(default_factory=Evidence)
    duration_ms: float = 0.0

    @model_validator(mode="before")
    @classmethod
    def _known_version(cls, data: object) -> object:
        found = data.get("schema", SCHEMA) if isinstance(data, Mapping) else SCHEMA
        if found != SCHEMA:
            raise ValueError(f"schema {found} is not the one this reader knows ({SCHEMA})")
        return data

    def line(self) -> str:
        """Return the result as one JSON line without its newline."""
        return self.model_dump_json()

    @classmethod
    def parse(cls, line: str) -> Result:
        """Read one JSON line; pydantic's ValidationError (a ValueError) says what is wrong with it."""
        return cls.model_validate_json(line)
