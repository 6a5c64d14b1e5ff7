"""The shared library of libzt's wheel, as a file that any process can load.

It is an extension module of CPython 3.9, so it leaves CPython's symbols undefined, and some of a class that
only zerotier-one's own program has. The core calls none of them. Undefined symbols that are weak do not stop
a dynamic linker; so they are made weak, in a copy, and no instruction is changed.
Layout: elf(5), 64-bit little-endian.
"""

from __future__ import annotations

import struct
import sys
from pathlib import Path

DYNSYM = 11
GLOBAL, WEAK = 1, 2
SECTIONS_AT, SECTION_SIZE_AT = 0x28, 0x3A
SYMBOL_BYTES = 24
FOREIGN = ("Py", "_Py", "_ZN8ZeroTier12LinuxNetLink")


def weakened(library: bytes) -> tuple[bytes, list[str]]:
    """Return the library with its foreign undefined symbols made weak, and their names."""
    data = bytearray(library)
    if data[:6] != b"\x7fELF\x02\x01":
        raise ValueError("this is no 64-bit little-endian ELF file")
    (table,) = struct.unpack_from("<Q", data, SECTIONS_AT)
    size, count = struct.unpack_from("<HH", data, SECTION_SIZE_AT)
    sections = [struct.unpack_from("<IIQQQQIIQQ", data, table + n * size) for n in range(count)]
    symbols = next(section for section in sections if section[1] == DYNSYM)
    strings = sections[symbols[6]][4]
    changed = []
    for at in range(symbols[4], symbols[4] + symbols[5], SYMBOL_BYTES):
        name_at, info, _other, section = struct.unpack_from("<IBBH", data, at)
        end = data.index(0, strings + name_at)
        name = data[strings + name_at : end].decode()
        if section == 0 and info >> 4 == GLOBAL and name.startswith(FOREIGN):
            data[at + 4] = WEAK << 4 | info & 15
            changed.append(name)
    return bytes(data), changed


def main() -> None:
    """Write the loadable copy: SOURCE TARGET."""
    source, target = map(Path, sys.argv[1:3])
    library, changed = weakened(source.read_bytes())
    target.write_bytes(library)
    source.unlink()
    print(f"{target}: {len(changed)} foreign symbols are weak")


if __name__ == "__main__":
    main()
