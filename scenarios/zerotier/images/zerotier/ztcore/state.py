"""The state folder, laid out as zerotier-one's: identity, planet, peers and networks, a file each."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

# ZT_StateObjectType → path; the object's id is filled in.
NAMES = {
    1: "identity.public",
    2: "identity.secret",
    3: "planet",
    4: "moons.d/{:016x}.moon",
    5: "peers.d/{:010x}.peer",
    6: "networks.d/{:016x}.conf",
}
PLANET = 3


class State:
    """What the core keeps between two starts."""

    def __init__(self, home: Path) -> None:
        self.home = home
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        planet = home / NAMES[PLANET]
        if not planet.is_file() or not planet.stat().st_size:
            raise SystemExit(f"there is no planet in {home}: never started without a planet of its own")

    def get(self, kind: int, number: int) -> bytes | None:
        """Return one object, or None."""
        with suppress(OSError, KeyError):
            return (self.home / NAMES[kind].format(number)).read_bytes()
        return None

    def put(self, kind: int, number: int, data: bytes | None) -> None:
        """Keep one object, or remove it; the planet is the lab's, and stays as it is."""
        if kind not in NAMES or kind == PLANET:
            return
        path = self.home / NAMES[kind].format(number)
        if data is None:
            path.unlink(missing_ok=True)
            return
        path.parent.mkdir(mode=0o700, exist_ok=True)
        draft = path.with_suffix(".part")
        draft.touch(mode=0o600)
        draft.write_bytes(data)
        draft.replace(path)

    def networks(self) -> list[int]:
        """Return the networks that were joined before."""
        return [int(path.stem, 16) for path in (self.home / "networks.d").glob("*.conf")]
