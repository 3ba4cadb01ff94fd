# SPDX-License-Identifier: Apache-2.0
"""From which objects a module was linked, and what each was compiled from, as Kbuild itself wrote it down.

`<module>.mod` lists a module's objects, `modules.order` the modules, and `.<object>.cmd` the command, the source and
every file that the compiler read (scripts/Makefile.build, scripts/basic/fixdep.c).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePath

from ci.verify import module_file


@dataclass(frozen=True)
class Object:
    """One object file. `source` is empty where it was not compiled here; `read` are all files that went into it."""

    path: Path
    source: str
    command: str
    read: frozenset[str]


def of_module(module: Path, folder: Path) -> list[Object] | str:
    """The objects of one module, or a sentence that says why they are not known. Names are relative to `folder`."""
    listing = module.with_suffix(".mod")
    if not listing.is_file():
        return f"Kbuild's list of its objects, {listing.name}, is not beside it; run './inv build'"
    paths = [_inside(word, listing.parent, folder) for word in listing.read_text().split()]
    missing = [path for path in paths if not path.is_file()]
    if missing:
        return f"its object {missing[0].name} is gone; run './inv build'"
    return [_object(path, folder) for path in paths]


def of_all(folder: Path) -> list[Object] | str:
    """The objects of every module that was built in `folder`."""
    order = folder / "modules.order"
    if not order.is_file():
        return f"Kbuild's list of modules, {order}, is not there; run './inv build'"
    found: list[Object] = []
    for word in order.read_text().split():
        objects = of_module(_inside(word, folder, folder).with_suffix(".ko"), folder)
        if isinstance(objects, str):
            return objects
        found += objects
    return found


def _inside(word: str, *places: Path) -> Path:
    """A path of Kbuild: absolute up to 6.12, later relative to one of the places."""
    tries = [place / word for place in places]
    return next((path for path in tries if path.exists()), tries[0])


def _object(path: Path, folder: Path) -> Object:
    note = path.with_name(f".{path.name}.cmd")
    text = note.read_text() if note.is_file() else ""
    source, command, words = "", "", []
    for line in text.splitlines():
        name, assigned, value = line.partition(" := ")
        if assigned and name.startswith("source_"):
            source = relative(value.strip(), folder)
        elif assigned and name.startswith(("cmd_", "savedcmd_")):
            command = value.strip()
        elif line.startswith("  ") and "$(" not in line:
            words.append(relative(line.removesuffix("\\").strip(), folder))
    return Object(path, source, command, frozenset({*words, source} - {""}))


def relative(word: str, folder: Path) -> str:
    """A path of the build as a person knows it: relative to the module's folder where it lies inside."""
    # By texts alone: there are tens of thousands of headers, and a Path for each takes longer than all other checks together.
    plain = str(PurePath(word)) if "./" in word or "//" in word else word
    return plain.removeprefix(f"{folder}/")


def users(objects: list[Object] | str, symbol: str) -> str:
    """` (used by a.c, b.c)`: the sources whose objects need a symbol; empty where that is not known."""
    if isinstance(objects, str):
        return ""
    names = [each.source or each.path.name for each in objects if _needs(each, symbol)]
    return f" (used by {', '.join(names)})" if names else ""


def _needs(each: Object, symbol: str) -> bool:
    facts = module_file.read(each.path)
    return not isinstance(facts, str) and symbol in facts.undefined
