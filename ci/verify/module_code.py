# SPDX-License-Identifier: Apache-2.0
"""Instructions and relocations of a module (V2): what kernel code may not do, and what the loader cannot apply."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from elftools.elf.enums import ENUM_RELOC_TYPE_x64

from ci import process
from ci.errors import InfrastructureError
from ci.model import Check
from ci.process import Limits
from ci.verify.module_file import ModuleFile
from ci.verify.module_objects import Object
from ci.verify.subject import Subject

# What apply_relocate_add() in arch/x86/kernel/module.c applies; every other type is "Unknown rela relocation", ENOEXEC.
X86_APPLIED = {
    ENUM_RELOC_TYPE_x64[f"R_X86_64_{name}"] for name in ("NONE", "64", "32", "32S", "PC32", "PLT32", "PC64")
}  # the same set in 6.1 and in 6.12 to 6.18
_X86_NAMES = {number: name for name, number in ENUM_RELOC_TYPE_x64.items() if isinstance(number, int)}
_X86 = "x86_64"

# One line of objdump's AT&T listing whose instruction touches an x87, MMX, SSE or AVX register, or is one of x87 ('f…', of which
# 'fs' is a prefix) or of the vector state without operands.
_VECTOR = re.compile(
    r"^ *[0-9a-f]+:\t((?:(?:data16|rex\S*|lock|repn?z?|[c-gs]s) +)*"
    r"(?:f(?!s\b)[a-z0-9]+\b.*|v?(?:ld|st)mxcsr\b.*|emms\b.*|vzero(?:upper|all)\b.*|[^#\n<]*%(?:[xyz]mm\d|mm[0-7]|st\b|k[0-7]\b|tmm\d).*))$",
    re.MULTILINE,
)
_FILE = re.compile(r"^(\S.*):     file format \S+$", re.MULTILINE)
_FUNCTION = re.compile(r"^[0-9a-f]+ <([^>]+)>:$", re.MULTILINE)
_ENTER = ("kernel_fpu_begin_mask", "kernel_fpu_begin")


def checks(subject: Subject, module: ModuleFile, objects: list[Object] | str) -> list[Check]:
    """Floating point only in the files declared for it; relocations of the kinds that the loader knows."""
    if subject.kernel is None or subject.kernel.arch != _X86:
        return [subject.skip("V2", "instructions and relocations", f"known for {_X86} only, this is {subject.artifact.target}")]
    return [_floating_point(subject, module, objects), _relocations(subject, module)]


def vector_use(*paths: Path) -> list[Counter[tuple[str, str]]]:
    """For each object file, how often each (function, first such instruction of it) has floating point or vector instructions."""
    errors = process.scratch_file("objdump.err")
    argv: list[str | Path] = ["objdump", "-d", "--no-show-raw-insn", *paths]  # one process for all
    done = process.run(argv, limits=Limits(60), log=process.scratch_file("objdump"), stderr=errors, what="objdump")
    if not done.ok:
        raise InfrastructureError(f"objdump cannot read {paths[0]} ({done.how}): {done.error_text().strip()[:200]}")
    parts = _FILE.split(done.text())[1:]
    if parts[::2] != [str(path) for path in paths]:
        raise InfrastructureError(f"objdump answered for other files than {', '.join(path.name for path in paths)}")
    return [_counted(text) for text in parts[1::2]]


def _counted(text: str) -> Counter[tuple[str, str]]:
    starts = [(match.start(), match[1]) for match in _FUNCTION.finditer(text)]
    if not starts:
        return Counter()
    found: Counter[str] = Counter()
    first: dict[str, str] = {}
    position = 0
    for match in _VECTOR.finditer(text):
        while position + 1 < len(starts) and starts[position + 1][0] < match.start():
            position += 1
        function = starts[position][1]
        found[function] += 1
        first.setdefault(function, " ".join(match[1].split("#")[0].split()))
    return Counter({(function, first[function]): count for function, count in found.items()})


def _floating_point(subject: Subject, module: ModuleFile, objects: list[Object] | str) -> Check:
    title = "floating point and vector instructions only where declared"
    declared = subject.spec.floating_point
    if isinstance(objects, str) and declared:
        return subject.check("V2", title, False, objects)
    known = [] if isinstance(objects, str) else objects
    unknown = sorted(set(declared) - {each.source for each in known})
    if unknown:
        return subject.check("V2", title, False, f"floating_point in the manifest names {', '.join(unknown)}, which is not in this module")
    (used,) = vector_use(module.path)
    if not used:
        return subject.check("V2", title, True, "none in its code" + (f", although declared for {', '.join(declared)}" if declared else ""))
    uses = vector_use(*(each.path for each in known)) if known else []
    places = {each.source or each.path.name: of for each, of in zip(known, uses, strict=True)}
    listing = [f"{source}\t{function}\t{count}\t{code}" for source, of in places.items() for (function, code), count in of.items()]
    evidence = subject.keep("floating-point", "".join(f"{line}\n" for line in listing or map(str, used.items())))
    good, detail = _judge(declared, used, places, module)
    return subject.check("V2", title, good, detail, evidence)


def _judge(
    declared: tuple[str, ...], used: Counter[tuple[str, str]], places: dict[str, Counter[tuple[str, str]]], module: ModuleFile
) -> tuple[bool, str]:
    wrong = [(source, key) for source, of in places.items() if source not in declared for key in of]
    cure = "use integers, or move it to a file of its own that 'floating_point:' names, between kernel_fpu_begin() and kernel_fpu_end()"
    if not wrong and used.total() != sum(of.total() for of in places.values()):
        wrong = [("a file that is not known", key) for key in used]
    if wrong:
        source, (function, code) = wrong[0]
        more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
        return False, f"'{code}' in {function}() of {source}{more}: it would destroy the registers of user space; {cure}"
    if not module.undefined & set(_ENTER):
        return False, f"{used.total()} instructions in {', '.join(declared)}, and the module never calls kernel_fpu_begin()"
    return True, f"{used.total()} instructions, all in {', '.join(declared)}; kernel_fpu_begin() is called"


def _relocations(subject: Subject, module: ModuleFile) -> Check:
    wrong = [each for each in module.relocations if each.type not in X86_APPLIED]
    detail = f"{len(module.relocations)} relocations of the kinds that the loader applies"
    if wrong:
        first = wrong[0]
        kind = _X86_NAMES.get(first.type, f"type {first.type}")
        place = module.place(first.section, first.offset)
        more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
        detail = (
            f"{kind} for '{first.symbol}' in {place}{more}: insmod would say 'Unknown rela relocation'; build with the kernel's own flags"
        )
    return subject.check("V2", "the loader can apply every relocation", not wrong, detail)
