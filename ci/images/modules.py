# SPDX-License-Identifier: Apache-2.0
"""Reads what depmod wrote: which modules a module needs, in the order in which they must be loaded."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ci.errors import InfrastructureError


def load_order(modules: Path, wanted: Sequence[str]) -> list[Path]:
    """The files to `insmod`, dependencies first, for the wanted module names; those built into the kernel need none.

    `modules` is lib/modules/<release> after depmod. Raises InfrastructureError where the kernel has no such module.
    """
    needs = _dependencies(modules)
    by_name = {_name(file): file for file in needs}
    builtin = _builtin(modules)
    soft = _soft(modules)
    order: list[str] = []
    for name in wanted:
        if name not in by_name:
            if name not in builtin:
                raise InfrastructureError(f"the kernel {modules.name} has no module '{name}', which a guest needs to boot")
            continue
        # modules.dep names a module's needs with what must come first at the end.
        chain = [*reversed(needs[by_name[name]]), by_name[name]]
        before = [by_name[first] for file in chain for first in soft.get(_name(file), ()) if first in by_name]
        order += [*(file for each in before for file in (*reversed(needs[each]), each)), *chain]
    return [modules / file for file in dict.fromkeys(order)]


def _soft(modules: Path) -> dict[str, list[str]]:
    """What a module asks the kernel for as it runs, which must be loaded before it (modules.softdep): ext4 asks for the algorithm
    crc32c. Several modules may offer it (modules.alias); the generic one does on every processor."""
    offers: dict[str, list[str]] = {}
    for words in _words(modules / "modules.alias", "alias"):
        offers.setdefault(words[0], []).append(_name(words[1]))
    found: dict[str, list[str]] = {}
    for name, *words in _words(modules / "modules.softdep", "softdep"):
        first = words[words.index("pre:") + 1 :] if "pre:" in words else []
        for each in first[: first.index("post:")] if "post:" in first else first:
            offered = offers.get(each, [_name(each)])
            found.setdefault(_name(name), []).extend([one for one in offered if one.endswith("_generic")] or offered)
    return found


def _words(path: Path, keyword: str) -> list[list[str]]:
    """The words behind the keyword in the lines of a file of depmod's; none where it wrote no such file."""
    lines = path.read_text().splitlines() if path.is_file() else []
    return [line.split()[1:] for line in lines if line.startswith(f"{keyword} ")]


def has(modules: Path, name: str) -> bool:
    """Whether the kernel has that module, or what it does built in; `modules` as for `load_order`."""
    return name in _builtin(modules) or name in map(_name, _dependencies(modules))


def device_nodes(modules: Path, wanted: Sequence[str]) -> list[str]:
    """`<path below /dev> <c or b> <major> <minor>` of modules that are loaded when their device is opened (modules.devname)."""
    nodes = []
    for line in (modules / "modules.devname").read_text().splitlines():
        fields = line.split()
        if len(fields) == 3 and fields[0] in wanted:
            major, _, minor = fields[2][1:].partition(":")
            nodes.append(f"{fields[1]} {fields[2][0]} {major} {minor}")
    return nodes


def _name(file: str) -> str:
    return file.rsplit("/", 1)[-1].split(".ko")[0].replace("-", "_")


def _builtin(modules: Path) -> set[str]:
    return {_name(line) for line in (modules / "modules.builtin").read_text().splitlines()}


def _dependencies(modules: Path) -> dict[str, list[str]]:
    table = {}
    for line in (modules / "modules.dep").read_text().splitlines():
        file, _, rest = line.partition(":")
        table[file] = rest.split()
    return table
