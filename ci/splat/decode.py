# SPDX-License-Identifier: Apache-2.0
"""From symbol+offset in a kernel's message to file:line, by the debug information of the very module that was deployed.

A module is an object file: its sections all begin at 0, and binutils' addr2line knows them apart (`-j`). A file that is not, by
its build id, what was deployed decodes nothing: lines of another build would be a lie.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from ci import process, store
from ci.errors import VexciError
from ci.identity import built_ids
from ci.model import Artifact, Kind
from ci.splat.scan import Splat, first_failure

_FRAME = re.compile(
    r"(?P<symbol>[A-Za-z_][\w.]*)\+0x(?P<offset>[0-9a-f]+)/0x(?P<size>[0-9a-f]+) \[(?P<module>\w+)(?: (?P<build>[0-9a-f]{8,}))?\]"
)
# The instruction itself; everywhere else the kernel prints where a call returns to, which is the instruction after it.
_EXACT = re.compile(r"\bRIP: |\bpc : ")
_SECONDS = 30.0
_MARK = "  <- "


@dataclass(frozen=True)
class _Symbol:
    section: str
    start: int
    size: int


class Decoder:
    """The debug information of one module file; `build_id` in hexadecimal is that of the build that the guest ran."""

    def __init__(self, path: Path, build_id: str) -> None:
        self.path = path
        self.build_id = build_id
        self.module = path.name.removesuffix(".ko").replace("-", "_")

    @cached_property
    def problem(self) -> str:
        """Why nothing can be decoded; empty where it can."""
        try:
            here = built_ids(self.path).build_id
        except (OSError, VexciError) as error:
            return f"{self.path} cannot be read: {error}"
        if not here or here != self.build_id:
            return f"{self.path} is another build now (build id {here or '(none)'}, the guest ran {self.build_id or '(none)'})"
        return "" if self._has_lines else f"{self.path} has no debug information"

    def places(self, symbol: str, offset: int, size: int, *, exact: bool) -> list[str]:
        """`file:line`, the innermost inlined function first; empty where the module does not know it.

        `offset` and `size` in bytes as the kernel prints them, by which functions of one name are told apart.
        """
        if self.problem:
            return []
        known = [item for item in self._symbols.get(symbol, ()) if item.size == size]
        known = known or self._symbols.get(symbol, [])
        if len(known) != 1:  # none, or several that nothing tells apart
            return []
        address = known[0].start + (offset if exact or not offset else offset - 1)
        argv: list[str | Path] = ["addr2line", "-e", self.path, "-j", known[0].section, "-i", f"{address:#x}"]
        rows = process.output(argv, deadline=_SECONDS).splitlines()
        return [place for row in rows if (place := short(row, self.path.parent))]

    @cached_property
    def _has_lines(self) -> bool:
        from elftools.elf.elffile import ELFFile

        with open(self.path, "rb") as file:
            return ELFFile(file).get_section_by_name(".debug_line") is not None

    @cached_property
    def _symbols(self) -> dict[str, list[_Symbol]]:
        from elftools.elf.elffile import ELFFile
        from elftools.elf.sections import SymbolTableSection

        found: dict[str, list[_Symbol]] = {}
        with open(self.path, "rb") as file:
            elf = ELFFile(file)
            table = elf.get_section_by_name(".symtab")
            for entry in table.iter_symbols() if isinstance(table, SymbolTableSection) else ():
                if entry["st_info"]["type"] == "STT_FUNC" and isinstance(entry["st_shndx"], int):
                    section = elf.get_section(entry["st_shndx"]).name
                    found.setdefault(entry.name, []).append(_Symbol(section, entry["st_value"], entry["st_size"]))
        return found


def short(row: str, folder: Path) -> str:
    """`file:line` of a row of addr2line, without the `folder` of the module or that of the build; empty where the place is not known."""
    place = row.partition(" (discriminator")[0]
    path, _, line = place.rpartition(":")
    if path in ("", "??") or line in ("", "?", "0"):
        return ""
    if path.startswith(f"{folder}/"):
        path = path.removeprefix(f"{folder}/")
    elif "/./" in path:
        path = path.rpartition("/./")[2]
    elif "/include/" in path:
        path = "include/" + path.rpartition("/include/")[2]
    return f"{path}:{line}"


def decoders(artifacts: Iterable[Artifact]) -> tuple[Decoder, ...]:
    """One for each module among these artifacts, for the build that they name: a file that was built anew since decodes nothing."""
    found = []
    for artifact in artifacts:
        if artifact.kind is Kind.KERNEL_MODULE:
            same = artifact.path.is_file() and store.sha256_file(artifact.path) == artifact.sha256
            found.append(Decoder(artifact.path, built_ids(artifact.path).build_id if same else ""))
    return tuple(found)


def decode(found: Splat, known: Iterable[Decoder]) -> Splat:
    """The splat with file:line behind each line of its excerpt that names a place in a module, and `place`, the first of these:
    where the instruction was, or else the innermost caller in a module. What cannot be decoded stays as it is, and says why."""
    by_module = {decoder.module: decoder for decoder in known}
    lines, frames, problems = [], [], []
    for line in found.excerpt.splitlines():
        places: list[str] = []
        for frame in _FRAME.finditer(line):
            if frame["module"] not in by_module:
                continue
            decoder = by_module[frame["module"]]
            if problem := _problem(decoder, frame["build"]):
                problems.append(problem)
                continue
            exact = _EXACT.search(line) is not None
            new = decoder.places(frame["symbol"], int(frame["offset"], 16), int(frame["size"], 16), exact=exact)
            places += new
            if new and not line[: frame.start()].endswith("? "):  # the kernel's word for: found on the stack, perhaps old
                frames.append((not exact, f"{new[0]} ({frame['symbol']}+0x{frame['offset']})"))
        lines.append(line + (_MARK + ", inlined at ".join(places) if places else ""))
    lines += [f"(not decoded: {problem})" for problem in dict.fromkeys(problems)]
    first = min(frames, key=lambda frame: frame[0], default=(False, ""))[1]
    return replace(found, excerpt="\n".join(lines), place=first)


def _problem(decoder: Decoder, printed: str | None) -> str:
    """Why a frame cannot be decoded; `printed` is the build id that some kernels print beside the module's name."""
    if printed and printed != decoder.build_id:
        return f"the guest ran {decoder.module} of build id {printed}, deployed was {decoder.build_id or '(none)'}"
    return decoder.problem


def failure(text: str, known: Iterable[Decoder] = ()) -> str | None:
    """The first splat that speaks of the product, decoded, as its sentence's words and then its excerpt; None where there is none."""
    found = first_failure(text)
    if found is None:
        return None
    splat = decode(found, known)
    return f"{splat.title}{f' at {splat.place}' if splat.place else ''}\n{splat.excerpt}"
