# SPDX-License-Identifier: Apache-2.0
"""What a kernel module's ELF file holds, read once for all checks.

Tables are unpacked as a whole, because debug information makes them long. Formats: gABI; `__versions` is
`struct modversion_info` of linux/module.h (an unsigned long and a name, 64 bytes), `__version_ext_crcs` and
`__version_ext_names` are what scripts/mod/modpost.c writes since Linux 6.14.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile

SHF_WRITE, SHF_ALLOC, SHF_EXECINSTR = 0x1, 0x2, 0x4
STB_WEAK, STT_FUNC = 2, 2
_VERSION_BYTES = 64


@dataclass(frozen=True)
class Section:
    """A section header: `flags` as in sh_flags, size in bytes."""

    name: str
    flags: int
    size: int


@dataclass(frozen=True)
class Symbol:
    """A symbol table entry; `section` is its index, 0 where it is undefined."""

    name: str
    section: int
    value: int
    size: int
    weak: bool
    function: bool


@dataclass(frozen=True)
class Relocation:
    """A relocation that the loader would apply: `type` is the processor's number, `section` the index of what it changes."""

    type: int
    section: int
    offset: int
    symbol: str


@dataclass(frozen=True)
class ModuleFile:
    """A module or one of its objects. `versions` are the symbols' CRCs, None where there are no such sections."""

    path: Path
    sections: tuple[Section, ...]
    symbols: tuple[Symbol, ...]
    relocations: tuple[Relocation, ...]
    versions: dict[str, int] | None
    debug_descriptors: bytes

    @property
    def undefined(self) -> set[str]:
        """The symbols that somebody else must provide; the loader lets a weak one be absent and ignores the linker's own."""
        named = {symbol.name for symbol in self.symbols if symbol.section == 0 and symbol.name and not symbol.weak}
        return named - {"_GLOBAL_OFFSET_TABLE_"}

    def place(self, section: int, offset: int) -> str:
        """`function() (.text+0x12)`, or without the function where there is none."""
        inside = (s.name for s in self.symbols if s.function and s.section == section and s.value <= offset < s.value + s.size)
        where = f"{self.sections[section].name}+{offset:#x}"
        function = next(inside, "")
        return f"{function}() ({where})" if function else where


def read(path: Path) -> ModuleFile | str:
    """The facts of a 64-bit little-endian object, which common.py has seen it to be, or a sentence that says how it is damaged."""
    try:
        return _facts(path)
    except (ELFError, struct.error, ValueError, IndexError, KeyError, AttributeError, TypeError) as error:  # tables that lead nowhere
        return f"it is a damaged ELF file ({type(error).__name__}: {error})"


def _facts(path: Path) -> ModuleFile:
    with open(path, "rb") as file:
        elf = ELFFile(file)
        sections = list(elf.iter_sections())
        symbols = _symbols(elf)
        relocations = [r for s in sections if s["sh_type"] == "SHT_RELA" for r in _relocations(s, sections, symbols)]
        return ModuleFile(
            path,
            tuple(Section(s.name, s["sh_flags"], s["sh_size"]) for s in sections),
            tuple(symbols),
            tuple(relocations),
            _versions(elf),
            _data(elf, "__dyndbg"),
        )


def _data(elf: ELFFile, name: str) -> bytes:
    section = elf.get_section_by_name(name)
    return bytes(section.data()) if section is not None else b""


def _string(table: bytes, start: int) -> str:
    return table[start : table.index(b"\0", start)].decode(errors="backslashreplace")


def _symbols(elf: ELFFile) -> list[Symbol]:
    data, names = _data(elf, ".symtab"), _data(elf, ".strtab")
    rows = struct.iter_unpack("<IBBHQQ", data)
    return [
        Symbol(_string(names, n), at, value, size, info >> 4 == STB_WEAK, info & 15 == STT_FUNC) for n, info, _, at, value, size in rows
    ]


def _relocations(table: Any, sections: list[Any], symbols: list[Symbol]) -> list[Relocation]:
    """Those of one table; none where what it changes is not loaded, which the loader skips (kernel/module/main.c)."""
    target = table["sh_info"]
    if not sections[target]["sh_flags"] & SHF_ALLOC:
        return []
    found = []
    for offset, info, _ in struct.iter_unpack("<QQq", table.data()):
        symbol = symbols[info >> 32]
        name = symbol.name or (sections[symbol.section].name if symbol.section < len(sections) else "")
        found.append(Relocation(info & 0xFFFFFFFF, target, offset, name))
    return found


def _versions(elf: ELFFile) -> dict[str, int] | None:
    plain, crcs, names = (_data(elf, name) for name in ("__versions", "__version_ext_crcs", "__version_ext_names"))
    if not plain and not crcs:
        return None
    found = {}
    for start in range(0, len(plain) - _VERSION_BYTES + 1, _VERSION_BYTES):
        found[_string(plain[start : start + _VERSION_BYTES] + b"\0", 8)] = struct.unpack_from("<Q", plain, start)[0]
    extended = names.rstrip(b"\0").split(b"\0") if names else []
    found.update({name.decode(): crc for name, (crc,) in zip(extended, struct.iter_unpack("<I", crcs), strict=False)})
    return found
