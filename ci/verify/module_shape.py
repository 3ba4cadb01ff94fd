# SPDX-License-Identifier: Apache-2.0
"""The shape of a module (V3): sections, stack frames by the compiler's own figures, debugging that was left on."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from ci.model import Check
from ci.verify import module_objects
from ci.verify.module_file import SHF_ALLOC, SHF_EXECINSTR, SHF_WRITE, ModuleFile
from ci.verify.module_objects import Object
from ci.verify.subject import Subject

FRAME_BYTES = 2048  # what 64-bit kernels warn of by default (CONFIG_FRAME_WARN); the whole stack has 16 KiB
# struct _ddebug of linux/dynamic_debug.h since 6.1: four pointers, then lineno:18 class_id:6 flags:8, then a static key of
# 16 bytes where there are jump labels. The lowest flag is _DPRINTK_FLAGS_PRINT.
_DESCRIPTOR_BYTES, _FLAGS_OFFSET, _PRINT = (56, 40), 35, 1
# What trace_printk() and ftrace_vprintk() expand to (linux/kernel.h); the kernel greets them with a banner.
_TRACE = {"__trace_printk", "__trace_bprintk", "__trace_puts", "__trace_bputs", "__ftrace_vprintk", "__ftrace_vbprintk"}
# A line of -fstack-usage: gcc gives a column behind the line, clang does not.
_FIGURE = re.compile(r"(?P<file>.+?):(?P<line>\d+):(?:\d+:)?(?P<function>[^:]+)\t(?P<bytes>\d+)\t(?P<kind>\S+)")
_SWITCHES = re.compile(r"(?<!\S)(-DDEBUG(?:=\S*)?|-O0|-Og|-fsanitize=\S+|-fprofile-arcs|--coverage)(?!\S)")
# What a sanitizer is called in the kernel's configuration; every other one is a kind of UBSAN.
_SANITIZERS = {"kernel-address": "KASAN", "kernel-memory": "KMSAN", "thread": "KCSAN", "kcfi": "CFI_CLANG", "address": "", "leak": ""}


@dataclass(frozen=True)
class Frame:
    """One function's stack use as GCC and clang write it with -fstack-usage; `kind` is static, dynamic or dynamic,bounded."""

    place: str
    function: str
    bytes: int
    kind: str


def checks(subject: Subject, module: ModuleFile, objects: list[Object] | str) -> list[Check]:
    """No section that is writable and executable, no frame over 2 KiB, no debugging left on."""
    return [_sections(subject, module), _stack(subject, objects), _debug(subject, module, objects)]


def _sections(subject: Subject, module: ModuleFile) -> Check:
    both = SHF_ALLOC | SHF_WRITE | SHF_EXECINSTR
    wrong = [section.name for section in module.sections if section.flags & both == both]
    detail = f"{len(module.sections)} sections, none is both"
    if wrong:
        detail = (
            f"{', '.join(wrong)}: writable and executable, which the loader refuses (ENOEXEC); take 'w' or 'x' from the section's flags"
        )
    return subject.check("V3", "no section is writable and executable", not wrong, detail)


def frames(objects: list[Object], folder: Path) -> list[Frame] | str:
    """The stack use of every function that was compiled from C, or a sentence that says for what there are no figures."""
    found = []
    for each in objects:
        if each.source.endswith(".S"):
            continue
        figures = each.path.with_suffix(".su")
        if not figures.is_file():
            return f"the compiler left no figures for {each.source or each.path.name} ({figures.name}); run './inv build'"
        for line in figures.read_text(errors="backslashreplace").splitlines():
            figure = _FIGURE.fullmatch(line)
            if figure is None:
                return f"{figures.name} has a line that is neither gcc's nor clang's: {line!r}"
            place = f"{module_objects.relative(figure['file'], folder)}:{figure['line']}"
            found.append(Frame(place, figure["function"], int(figure["bytes"]), figure["kind"]))
    return sorted(found, key=lambda frame: -frame.bytes)


def _stack(subject: Subject, objects: list[Object] | str) -> Check:
    title = f"no stack frame over {FRAME_BYTES} bytes"
    known = objects if isinstance(objects, str) else frames(objects, subject.folder)
    if isinstance(known, str):
        return subject.check("V3", title, False, known)
    evidence = subject.keep("stack", "".join(f"{f.bytes}\t{f.kind}\t{f.place}\t{f.function}\n" for f in known))
    wrong = [f for f in known if f.bytes > FRAME_BYTES or f.kind == "dynamic"]
    if wrong:
        said = "; ".join(f"{f.function}() at {f.place}: {_size(f)}" for f in wrong[:3])
        more = f" (and {len(wrong) - 3} more)" if len(wrong) > 3 else ""
        return subject.check("V3", title, False, f"{said}{more}; allocate it with kmalloc(), the kernel's stack has 16 KiB", evidence)
    largest = f"the largest of {len(known)} is {known[0].bytes} bytes, {known[0].function}()" if known else "no function at all"
    return subject.check("V3", title, bool(known), largest, evidence)


def _size(frame: Frame) -> str:
    return "a size that is known only when it runs" if frame.kind == "dynamic" else f"{frame.bytes} bytes"


def _debug(subject: Subject, module: ModuleFile, objects: list[Object] | str) -> Check:
    problems = []
    options = _options(subject)
    for each in [] if isinstance(objects, str) else objects:
        switches = sorted(switch for switch in set(_SWITCHES.findall(each.command)) if not _kernels_own(switch, options))
        if switches:
            problems.append(f"{each.source or each.path.name} is compiled with {' '.join(switches)}")
    on = _messages_on(module.debug_descriptors)
    if on:
        problems.append(f"{on} of its pr_debug() messages are printed without being asked for: DEBUG is defined in its sources")
    traced = sorted(module.undefined & _TRACE)
    if traced:
        problems.append(f"it calls trace_printk() ({', '.join(traced)}), which makes the kernel print a warning banner")
    detail = "; ".join(problems) + "; take that out" if problems else "no DEBUG, no debugging switches, no trace_printk()"
    return subject.check("V3", "no debugging is left on", not problems, detail)


def _options(subject: Subject) -> frozenset[str]:
    """The options that the target kernel was built with; none where its headers do not say."""
    config = subject.kernel.headers / "include/config/auto.conf" if subject.kernel else None
    return frozenset(re.findall(r"^CONFIG_(\w+)=y$", config.read_text(), re.MULTILINE)) if config and config.is_file() else frozenset()


def _kernels_own(switch: str, options: frozenset[str]) -> bool:
    """Whether Kbuild adds the switch to every module of a kernel with such checkers in it (scripts/Makefile.kasan, .ubsan, .gcov)."""
    name, _, kinds = switch.partition("=")
    if name != "-fsanitize":
        return switch == "-fprofile-arcs" and "GCOV_PROFILE_ALL" in options
    return all(_SANITIZERS.get(kind, "UBSAN") in options for kind in kinds.split(","))


def _messages_on(descriptors: bytes) -> int:
    """How many dynamic debug messages are switched on from the start."""
    size = next((size for size in _DESCRIPTOR_BYTES if len(descriptors) % size == 0), 0)
    return sum(1 for at in range(_FLAGS_OFFSET, len(descriptors), size) if descriptors[at] & _PRINT) if size else 0
