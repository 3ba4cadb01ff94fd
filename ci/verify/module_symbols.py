# SPDX-License-Identifier: Apache-2.0
"""Symbols that a module needs, against what the target kernel exports (V1, and V2 for the compiler's helpers).

Rules as in kernel/module/main.c and version.c: resolve_symbol(), verify_namespace_is_imported(), check_version().
`Module.symvers` has a line a symbol: CRC, name, exporter, EXPORT_SYMBOL or EXPORT_SYMBOL_GPL, namespace.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from ci.model import Check
from ci.verify import module_objects
from ci.verify.module_file import ModuleFile
from ci.verify.module_objects import Object
from ci.verify.subject import Subject

# include/linux/license.h, license_is_gpl_compatible()
GPL_COMPATIBLE = ("GPL", "GPL v2", "GPL and additional rights", "Dual BSD/GPL", "Dual MIT/GPL", "Dual MPL/GPL")
# libgcc's integer and soft-float routines (GCC internals, "The GCC low-level runtime library").
_HELPER = re.compile(
    r"__(?:u?(?:div|mod|divmod)[sdt]i[34]|(?:mul|ashl|ashr|lshr|neg)[sdt]i[23]|(?:u?cmp|clz|ctz|ffs|parity|popcount|bswap)[sdt]i2"
    r"|(?:add|sub|mul|div|neg|eq|ne|lt|le|gt|ge|cmp|unord)[shdtx]f[23]|pow[sdtx]fi2"
    r"|fix(?:uns)?[shdtx]f[sdt]i|float(?:un)?[sdt]i[shdtx]f|(?:extend|trunc)[shdtx]f[shdtx]f2)"
)
_SHOWN = 4


@dataclass(frozen=True)
class Export:
    """One exported symbol."""

    crc: int
    gpl: bool
    namespace: str


def checks(subject: Subject, module: ModuleFile, info: dict[str, list[str]], objects: list[Object] | str) -> list[Check]:
    """Resolved, allowed, and of the right version; without the kernel's list nothing of that can be said to be good."""
    tables = _tables(subject)
    if isinstance(tables, str):
        return [subject.check("V1", "its symbols are the target kernel's", False, tables)]
    try:
        exports = {name: export for table in tables for name, export in _read(table)}
    except ValueError as error:
        return [subject.check("V1", "its symbols are the target kernel's", False, f"a list of symbols is damaged: {error}")]
    needed = module.undefined
    listing = "".join(f"{name}\t{exports.get(name, 'not exported')}\n" for name in sorted(needed))
    evidence = subject.keep("symbols", listing + "compared with:\n" + "".join(f"{table}\n" for table in tables))
    found = [
        ("V1", "every symbol that it needs is exported", *_resolved(subject, needed, exports, objects)),
        ("V2", "no compiler helper is called", *_helpers(needed, exports, objects)),
        ("V1", "symbol namespaces are imported", *_namespaces(needed, exports, info, objects)),
        ("V1", "GPL-only symbols are allowed to it", *_gpl(needed, exports, info)),
        ("V1", "modversions CRCs are the target's", *_crcs(subject, module, exports)),
    ]
    return [subject.check(*row, evidence) for row in found]


def _tables(subject: Subject) -> list[Path] | str:
    """The kernel's Module.symvers, those that the build was given, and that of the modules built beside it."""
    if subject.kernel is None:
        return "no target kernel is known to compare with"
    kernel = subject.kernel.headers / "Module.symvers"
    if not kernel.is_file():
        return f"{kernel} is not there: what {subject.kernel.release} exports is not known; the headers package brings it"
    extra = [Path(word) for key, value in subject.spec.variables if key == "KBUILD_EXTRA_SYMBOLS" for word in value.split()]
    return [kernel, *(path for path in (*extra, subject.folder / "Module.symvers") if path.is_file())]


def _read(table: Path) -> Iterator[tuple[str, Export]]:
    for number, line in enumerate(table.read_text().splitlines(), 1):
        crc, name, _, kind, *rest = [*line.split("\t"), "", "", ""]
        if not kind.startswith("EXPORT_SYMBOL"):
            raise ValueError(f"{table}:{number}: expected CRC, name, exporter, EXPORT_SYMBOL and namespace, got '{line[:60]}'")
        yield name, Export(int(crc, 16), kind.endswith("_GPL"), rest[0] if rest else "")


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _with_users(names: list[str], objects: list[Object] | str) -> str:
    return _some([f"'{name}'{module_objects.users(objects, name)}" if i < _SHOWN else name for i, name in enumerate(names)])


def _resolved(subject: Subject, needed: set[str], exports: dict[str, Export], objects: list[Object] | str) -> tuple[bool, str]:
    missing = sorted(name for name in needed - exports.keys() if not _HELPER.fullmatch(name))
    if not missing:
        return True, f"{len(needed)} symbols, all exported"
    release = subject.kernel.release if subject.kernel else ""
    return False, f"{release} does not export {_with_users(missing, objects)}: insmod would say 'Unknown symbol'; use what it exports"


def _helpers(needed: set[str], exports: dict[str, Export], objects: list[Object] | str) -> tuple[bool, str]:
    wrong = sorted(name for name in needed - exports.keys() if _HELPER.fullmatch(name))
    if not wrong:
        return True, "none of libgcc's routines is needed"
    return False, f"the compiler calls {_with_users(wrong, objects)}, which no kernel has: use integers, and div_u64() for 64-bit division"


def _namespaces(needed: set[str], exports: dict[str, Export], info: dict[str, list[str]], objects: list[Object] | str) -> tuple[bool, str]:
    imported, name = set(info.get("import_ns", [])), (info.get("name") or [""])[0]
    wrong: dict[str, list[str]] = {}
    for symbol in sorted(needed & exports.keys()):
        space = exports[symbol].namespace
        if space and space not in imported and not _for_module(space, name):
            wrong.setdefault(space, []).append(symbol)
    if not wrong:
        return True, f"imports {', '.join(sorted(imported)) or 'none'}, needs no other"
    said = [f"{_with_users(symbols, objects)} is in the namespace {space}: {_import(space)}" for space, symbols in wrong.items()]
    return False, "; ".join(said)


def _for_module(space: str, module: str) -> bool:
    """EXPORT_SYMBOL_FOR_MODULES writes `module:a,b*`: for these modules alone, without an import."""
    return space.startswith("module:") and any(fnmatchcase(module, pattern) for pattern in space[7:].split(","))


def _import(space: str) -> str:
    if space.startswith("module:"):
        return "it is only for the modules named there"
    return f"add MODULE_IMPORT_NS({space}), since 6.13 with quotes"


def _gpl(needed: set[str], exports: dict[str, Export], info: dict[str, list[str]]) -> tuple[bool, str]:
    only = sorted(name for name in needed & exports.keys() if exports[name].gpl)
    licenses = info.get("license", [])
    if all(each in GPL_COMPATIBLE for each in licenses) and licenses:
        return True, f"{len(only)} GPL-only symbols, license {licenses[0]}"
    shown = ", ".join(licenses) or "none"
    if not only:
        return True, f"no GPL-only symbol is needed (license {shown})"
    return False, f"license '{shown}' may not use the GPL-only {_some(only)}: insmod would say 'Unknown symbol'"


def _crcs(subject: Subject, module: ModuleFile, exports: dict[str, Export]) -> tuple[bool, str]:
    if not _configured(subject, "CONFIG_MODVERSIONS"):
        return True, "the kernel is built without CONFIG_MODVERSIONS"
    if module.versions is None:
        return False, "it carries no versions (no __versions section): built without the kernel's Module.symvers; build it anew"
    wanted = {name for name in (*module.undefined, "module_layout") if name in exports and exports[name].crc}
    missing = sorted(wanted - module.versions.keys())
    wrong = sorted(name for name in wanted & module.versions.keys() if module.versions[name] != exports[name].crc)
    if wrong:
        first = f"{wrong[0]} has {module.versions[wrong[0]]:#010x}, the kernel {exports[wrong[0]].crc:#010x}"
        return False, f"{_some(wrong)}: built against other headers ({first}): insmod would say 'disagrees about version of symbol'"
    if missing:
        return False, f"no CRC for {_some(missing)}: built with another Module.symvers; build it anew"
    return True, f"{len(wanted)} CRCs, all as in the kernel's Module.symvers"


def _configured(subject: Subject, option: str) -> bool:
    headers = subject.kernel.headers if subject.kernel else Path()
    for place in (headers / "include/config/auto.conf", headers / ".config"):
        if place.is_file():
            return f"\n{option}=y\n" in f"\n{place.read_text()}\n"
    return True  # not known: then the versions must be right
