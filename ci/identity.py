# SPDX-License-Identifier: Apache-2.0
"""What tells one build of an artifact from another, and where an artifact lies in a guest."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ci.errors import ProductFailure
from ci.model import Artifact

FOLDER = "/opt/vexci"
_NOTE_BUILD_ID = 3


@dataclass(frozen=True)
class ModuleIds:
    """What tells one build of a module from another: the hash of its sources, and the linker's build id."""

    srcversion: str
    build_id: str

    def __str__(self) -> str:
        return f"srcversion {self.srcversion or '(none)'}, build id {self.build_id or '(none)'}"


def guest_path(artifact: Artifact) -> str:
    """Where an artifact lies in a guest."""
    return f"{FOLDER}/{artifact.name}/{artifact.path.name}"


def module_name(artifact: Artifact) -> str:
    """The name that the kernel gives to a module file: `-` becomes `_`."""
    return artifact.path.name.removesuffix(".ko").replace("-", "_")


def built_ids(path: Path) -> ModuleIds:
    """srcversion (from .modinfo) and build id (from its note) of a module file.

    Raises ProductFailure where it is no ELF file, or has neither: then nothing could prove which build is loaded.
    """
    from elftools.common.exceptions import ELFError
    from elftools.elf.elffile import ELFFile

    try:
        with open(path, "rb") as file:
            elf = ELFFile(file)
            info = elf.get_section_by_name(".modinfo")
            note = elf.get_section_by_name(".note.gnu.build-id")
            fields = dict(row.partition("=")[::2] for row in (info.data().decode(errors="replace") if info else "").split("\0"))
            ids = ModuleIds(fields.get("srcversion", ""), note_build_id(note.data()) if note else "")
    except ELFError as error:
        raise ProductFailure(f"{path} is not an ELF file: {error}") from error
    if not ids.srcversion and not ids.build_id:
        message = f"{path} has neither srcversion nor build id: nothing can prove which build is loaded"
        raise ProductFailure(message, hint="let the module have MODULE_VERSION(), or link with --build-id")
    return ids


def note_build_id(data: bytes) -> str:
    """The build id in hexadecimal of an ELF note section (elf(5)): sizes, type, name and value, padded to 4 bytes."""
    at = 0
    while at + 12 <= len(data):
        name_size, size, kind = (int.from_bytes(data[at + i : at + i + 4], "little") for i in (0, 4, 8))
        value = at + 12 + -(-name_size // 4) * 4
        if kind == _NOTE_BUILD_ID and data[at + 12 : at + 12 + name_size] == b"GNU\0":
            return data[value : value + size].hex()
        at = value + -(-size // 4) * 4
    return ""
