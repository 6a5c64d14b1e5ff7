"""The scenario's options, and the auth keys that come with them."""

from __future__ import annotations

import re
import secrets
from pathlib import Path

from pydantic import Field, field_validator

from fixtures import overlay as base
from overlab.errors import UsageError
from overlab.model import Secret
from scenarios.tailscale import nat as nats

EMBEDDED, VENDOR = "embedded", "vendor"


class Options(base.Options):
    """Options of the Tailscale scenario."""

    control: str = Field(
        "embedded",
        description="embedded: in the lab, by Tailscale's test control server; vendor: Tailscale itself; or "
        "the URL of a login server (Headscale). The last two need keys, and nodes that reach them",
    )
    keys: str = Field(
        "",
        description="a file with auth keys, one a line, for the sidecars in turn; a single one is for all",
    )
    nat: nats.Kind = Field(
        "easy",
        description="in front of the sidecars. docker: as Docker makes it; easy: and the node drops what "
        "nobody asked for, so that paths are direct; random: as easy, with another port for each destination",
    )

    @field_validator("control")
    @classmethod
    def _is_known(cls, value: str) -> str:
        if value not in ("embedded", "vendor") and not re.fullmatch(r"https?://[^/\s]+/?", value):
            raise ValueError("neither embedded, vendor, nor a URL such as https://headscale.example")
        return value


def keys_of(options: Options) -> list[Secret]:
    """Return the auth keys: one made up for our own control server, else those of the user's file.

    Raises UsageError with the remedy where there is no such file, or nothing in it.
    """
    if options.control == EMBEDDED:
        return [Secret("TS_AUTHKEY", f"tskey-auth-lab-{secrets.token_hex(16)}")]
    where = Path(options.keys)
    try:
        lines = [line.strip() for line in where.read_text().splitlines()] if options.keys else []
    except OSError as error:
        raise UsageError(
            f"-O tailscale.keys={options.keys}: {error.strerror}", "name a file with auth keys, one a line"
        ) from None
    keys = [line for line in lines if line and not line.startswith("#")]
    if not keys:
        raise UsageError(
            f"-O tailscale.control={options.control} needs auth keys",
            "put them into a file, one a line, and name it with -O tailscale.keys=FILE",
        )
    return [Secret(f"TS_AUTHKEY_{number}", key) for number, key in enumerate(keys, 1)]
