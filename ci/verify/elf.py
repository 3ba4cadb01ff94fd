# SPDX-License-Identifier: Apache-2.0
"""Facts read from ELF files with pyelftools. Formats: gABI, and modinfo as linux/moduleparam.h writes it."""

from __future__ import annotations

import lzma
from dataclasses import dataclass
from pathlib import Path

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile

# Target architecture (kernel name and triple's first word) -> e_machine as pyelftools names it.
MACHINES = {"x86_64": "EM_X86_64", "amd64": "EM_X86_64", "aarch64": "EM_AARCH64", "arm64": "EM_AARCH64"}


@dataclass(frozen=True)
class Elf:
    """What an ELF header says, and the sections that verification reads. `build_id` is hexadecimal or empty."""

    type: str
    machine: str
    interpreter: str
    build_id: str
    sections: dict[str, bytes]
    needed: tuple[str, ...]


_READ_SECTIONS = (".modinfo", ".gnu.linkonce.this_module")


def read(path: Path, *extra_sections: str) -> Elf | str:
    """The facts, or a sentence that says what the file is instead (B5)."""
    with open(path, "rb") as file:
        magic = file.read(8)
        if not magic:
            return "it is empty"
        if magic == b"!<arch>\n":
            return "it is an ar archive"
        if magic[:4] != b"\x7fELF":
            return f"it is no ELF file (it begins with {magic!r})"
        file.seek(0)
        try:
            return _facts(ELFFile(file), (*_READ_SECTIONS, *extra_sections))
        except (ELFError, ValueError, KeyError, AttributeError, TypeError) as error:  # pyelftools on a damaged file
            return f"it is a damaged ELF file ({type(error).__name__}: {error})"


def _facts(elf: ELFFile, wanted: tuple[str, ...]) -> Elf:
    sections, build_id, interpreter = {}, "", ""
    needed: list[str] = []
    for section in elf.iter_sections():
        if section.name in wanted:
            sections[section.name] = section.data()
        if section.name == ".note.gnu.build-id":
            build_id = next((note["n_desc"] for note in section.iter_notes() if note["n_type"] == "NT_GNU_BUILD_ID"), "")
        if section.name == ".dynamic":
            needed = [tag.needed for tag in section.iter_tags() if tag.entry.d_tag == "DT_NEEDED"]
    for segment in elf.iter_segments():
        if segment["p_type"] == "PT_INTERP":
            interpreter = segment.get_interp_name()
    return Elf(elf["e_type"], elf["e_machine"], interpreter, build_id, sections, tuple(needed))


def modinfo(data: bytes) -> dict[str, list[str]]:
    """The `key=value` strings of .modinfo, NUL-separated; a key may stand several times."""
    found: dict[str, list[str]] = {}
    for item in data.split(b"\0"):
        key, separator, value = item.decode(errors="backslashreplace").partition("=")
        if separator:
            found.setdefault(key, []).append(value)
    return found


def module_bytes_vermagic(path: Path) -> str | None:
    """The vermagic of a module file, also of one compressed with xz; None where it cannot be read."""
    data = path.read_bytes()
    if path.suffix == ".xz":
        data = lzma.decompress(data)
    start = data.find(b"\0vermagic=")
    if start < 0:
        return None
    begin = start + len(b"\0vermagic=")
    return data[begin : data.index(b"\0", begin)].decode()
