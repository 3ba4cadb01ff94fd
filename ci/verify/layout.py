# SPDX-License-Identifier: Apache-2.0
"""Structures and numbers of a C header, against what a program of another language says of them (V7).

The C side is what the C compiler made of the header: sizes, offsets and byte orders from DWARF, numbers from an object's data.
The other side is JSON that the program prints:

    {"structs": {"name": {"size": 16, "fields": {"ino": {"offset": 0, "size": 8, "order": "little"}}}},
     "constants": {"NAME": 2}}

`size` and `order` (little, big or native) of a field may be left out; what the other side says must agree.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from elftools.dwarf.die import DIE
from elftools.elf.elffile import ELFFile

from ci import process
from ci.errors import VexciError
from ci.manifest import LayoutSpec
from ci.model import Check, Evidence
from ci.process import Limits
from ci.verify.subject import Subject

_SECONDS = 60.0
# What kernel headers use and programs do not have, for headers of the kernel's own side.
_KERNEL_SIDE = Path(__file__).with_name("kernel_side")
_NAME = re.compile(r"[A-Za-z_]\w*")
_ORDERS = {"__le16": "little", "__le32": "little", "__le64": "little", "__be16": "big", "__be32": "big", "__be64": "big"}
_WRAPPERS = ("DW_TAG_typedef", "DW_TAG_const_type", "DW_TAG_volatile_type", "DW_TAG_array_type")


@dataclass(frozen=True)
class Field:
    """A member: offset and size in bytes, None where that is not said; `order` is little, big, or empty where the type does not say."""

    offset: int
    size: int | None
    order: str = ""


@dataclass(frozen=True)
class Layout:
    """Sizes and fields of structures, values of numbers."""

    structs: dict[str, tuple[int, dict[str, Field]]]
    constants: dict[str, int]


def checks(subject: Subject) -> list[Check]:
    """One check for each of the artifact's `layouts`."""
    return [_check(subject, spec) for spec in subject.spec.layouts]


def _check(subject: Subject, spec: LayoutSpec) -> Check:
    title = f"{spec.name}: the same layout as {spec.header.name}"
    try:
        theirs, evidence = _printed(subject, spec)
        ours = compiled(spec, [*theirs.constants])
    except VexciError as error:
        return subject.check("V7", title, False, f"{error.message}{'; ' + error.hint if error.hint else ''}")
    except _Unreadable as error:
        return subject.check("V7", title, False, str(error))
    problems = differences(ours, theirs, spec.ignore)
    if problems:
        more = f" (and {len(problems) - 3} more)" if len(problems) > 3 else ""
        said = "; ".join(problems[:3])
        kept = subject.keep(f"{spec.name}-differences", "".join(f"{line}\n" for line in problems))
        return subject.check("V7", title, False, f"{said}{more}; change {spec.header} and the other side together", evidence, kept)
    detail = f"{len(theirs.structs)} structures, {len(theirs.constants)} numbers"
    return subject.check("V7", title, True, detail, evidence)


class _Unreadable(Exception):
    """A side that says nothing which could be compared."""


def _printed(subject: Subject, spec: LayoutSpec) -> tuple[Layout, Evidence]:
    argv = [word.replace("{artifact}", str(subject.artifact.path)) for word in spec.command]
    log = subject.run.file("verify", f"{subject.artifact.name}.{spec.name}.json")
    err = process.scratch_file("layout.err")
    log.unlink(missing_ok=True)
    done = process.run(argv, limits=Limits(_SECONDS, log_bytes=16 << 20), log=log, stderr=err, what=spec.name)
    shown = " ".join(spec.command)
    if not done.ok:
        raise _Unreadable(f"'{shown}': {done.how}: {(done.error_text().strip().splitlines() or ['it said nothing'])[-1]}")
    try:
        return _parse(json.loads(done.text())), subject.run.evidence("layout", log)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _Unreadable(f"'{shown}' prints no layout as docs/manifest.md describes it ({type(error).__name__}: {error})") from error


def _parse(content: Any) -> Layout:
    structs = {}
    for name, row in content["structs"].items():
        fields = {field: _field(of) for field, of in row["fields"].items()}
        structs[str(name)] = (int(row["size"]), fields)
    constants = {str(name): int(value) for name, value in content.get("constants", {}).items()}
    wrong = [name for name in (*structs, *constants) if not _NAME.fullmatch(name)]
    if wrong:
        raise ValueError(f"'{wrong[0]}' is no name in C")
    if not structs and not constants:
        raise ValueError("it names nothing")
    return Layout(structs, constants)


def _field(of: Any) -> Field:
    return Field(int(of["offset"]), int(of["size"]) if "size" in of else None, str(of.get("order", "")))


def compiled(spec: LayoutSpec, constants: list[str]) -> Layout:
    """What the C compiler makes of the header. Raises InfrastructureError with its words where it does not compile."""
    source = process.scratch_file("layout.c")
    result = source.with_suffix(".o")
    values = "".join(f"const unsigned long long vexci_value_{name} = (unsigned long long)({name});\n" for name in constants)
    source.write_text(f'#include "{spec.header}"\n{values}')
    include = [*(f"-I{folder}" for folder in spec.include), f"-idirafter{_KERNEL_SIDE}"]
    flags = ["-std=gnu11", "-g", "-gdwarf-4", "-fno-eliminate-unused-debug-types", "-fno-lto", "-w"]
    done = process.run(["gcc", *flags, *include, "-c", "-o", result, source], limits=Limits(_SECONDS))
    if not done.ok:
        errors = [line for line in done.text().splitlines() if "error:" in line] or done.text().strip().splitlines()[-1:]
        raise _Unreadable(f"{spec.header.name} does not compile with what the other side names: {'; '.join(errors[:2])}")
    with open(result, "rb") as file:
        elf = ELFFile(file)
        return Layout(_structs(elf, spec.header), {name: _value(elf, name) for name in constants})


def _structs(elf: ELFFile, header: Path) -> dict[str, tuple[int, dict[str, Field]]]:
    """The named structures that the header itself defines."""
    found = {}
    dwarf = elf.get_dwarf_info()
    for unit in dwarf.iter_CUs():
        lines = dwarf.line_program_for_CU(unit)
        files = lines["file_entry"] if lines else []
        for die in unit.get_top_DIE().iter_children():
            if die.tag != "DW_TAG_structure_type" or "DW_AT_name" not in die.attributes or "DW_AT_byte_size" not in die.attributes:
                continue
            number = die.attributes["DW_AT_decl_file"].value
            if files[number - 1].name.decode().rpartition("/")[2] == header.name:
                found[_text(die)] = (die.attributes["DW_AT_byte_size"].value, _fields(die))
    return found


def _text(die: DIE) -> str:
    return str(die.attributes["DW_AT_name"].value.decode())


def _fields(struct: DIE) -> dict[str, Field]:
    found = {}
    for member in struct.iter_children():
        if member.tag != "DW_TAG_member" or "DW_AT_name" not in member.attributes:
            continue
        kind = member.get_DIE_from_attribute("DW_AT_type")
        at = member.attributes["DW_AT_data_member_location"].value if "DW_AT_data_member_location" in member.attributes else 0
        found[_text(member)] = Field(at, _size(kind), _order(kind))
    return found


def _size(kind: DIE) -> int:
    if "DW_AT_byte_size" in kind.attributes:
        return int(kind.attributes["DW_AT_byte_size"].value)
    if kind.tag == "DW_TAG_array_type":
        count = 1
        for bound in kind.iter_children():
            upper = bound.attributes.get("DW_AT_upper_bound")
            count *= upper.value + 1 if upper is not None else 0  # a flexible array takes nothing
        return count * _size(kind.get_DIE_from_attribute("DW_AT_type"))
    return _size(kind.get_DIE_from_attribute("DW_AT_type")) if "DW_AT_type" in kind.attributes else 0


def _order(kind: DIE) -> str:
    while kind.tag in _WRAPPERS:
        if kind.tag == "DW_TAG_typedef" and _text(kind) in _ORDERS:
            return _ORDERS[_text(kind)]
        if "DW_AT_type" not in kind.attributes:
            return ""
        kind = kind.get_DIE_from_attribute("DW_AT_type")
    return ""


def _value(elf: ELFFile, name: str) -> int:
    (symbol,) = elf.get_section_by_name(".symtab").get_symbol_by_name(f"vexci_value_{name}")
    section = elf.get_section(symbol["st_shndx"])
    if section["sh_type"] == "SHT_NOBITS":
        return 0
    return int.from_bytes(section.data()[symbol["st_value"] : symbol["st_value"] + 8], "little")


def differences(ours: Layout, theirs: Layout, ignore: tuple[str, ...] = ()) -> list[str]:
    """What differs, one sentence each. What only one side has is a difference too."""
    found = []
    for name in sorted(ours.structs.keys() | theirs.structs.keys()):
        if name in ignore and name not in theirs.structs:
            continue
        if name not in theirs.structs or name not in ours.structs:
            found.append(f"struct {name} is only on the {'C' if name in ours.structs else 'other'} side")
            continue
        (size, fields), (other_size, other_fields) = ours.structs[name], theirs.structs[name]
        if size != other_size:
            found.append(f"struct {name} has {size} bytes in C and {other_size} on the other side")
        found += [f"{name}.{sentence}" for sentence in _field_differences(fields, other_fields)]
    for name, value in theirs.constants.items():
        if value % (1 << 64) != ours.constants[name]:
            found.append(f"{name} is {ours.constants[name]:#x} in C and {value % (1 << 64):#x} on the other side")
    return found


def _field_differences(ours: dict[str, Field], theirs: dict[str, Field]) -> list[str]:
    found = []
    for name in [*ours, *(n for n in theirs if n not in ours)]:
        if name not in ours or name not in theirs:
            found.append(f"{name} is only on the {'C' if name in ours else 'other'} side")
            continue
        one, other = ours[name], theirs[name]
        if one.offset != other.offset or other.size not in (None, one.size):
            size = "" if other.size is None else f" with {other.size}"
            found.append(f"{name} is at {one.offset} with {one.size} bytes in C, at {other.offset}{size} on the other side")
        elif other.order and (one.order or "native") != other.order:
            found.append(f"{name} is {one.order or 'native'}-endian in C and {other.order} on the other side")
    return found
