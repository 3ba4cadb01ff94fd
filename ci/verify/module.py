# SPDX-License-Identifier: Apache-2.0
"""Checks of kernel modules, read from the ELF file itself."""

from __future__ import annotations

import re
from pathlib import Path

from ci.model import Check
from ci.verify import drift, elf, features, module_code, module_file, module_objects, module_shape, module_sources, module_symbols
from ci.verify.module_symbols import GPL_COMPATIBLE
from ci.verify.subject import Subject


def checks(subject: Subject) -> list[Check]:
    """What .modinfo says, then what the file holds; without a .modinfo it is no module, and that is all there is to say."""
    facts = elf.read(subject.artifact.path)
    info = elf.modinfo(facts.sections.get(".modinfo", b"")) if isinstance(facts, elf.Elf) else {}
    if not info:
        return [subject.check("V1", "has .modinfo", False, "no .modinfo section: this object is no kernel module")]
    listing = "".join(f"{key}: {value}\n" for key, values in sorted(info.items()) for value in values)
    evidence = subject.keep("modinfo", listing)
    good_license, license_detail = _license(subject, info)
    good_vermagic, vermagic_detail = _vermagic(subject, info)
    good_name, name_detail = _name(subject, info)
    return [
        subject.check("V1", "license is GPL-compatible and as declared", good_license, license_detail, evidence),
        subject.check("B8", "vermagic equals the target kernel's", good_vermagic, vermagic_detail, evidence),
        subject.check("V6", "module name", good_name, name_detail, evidence),
        _srcversion(subject, info),
        _identified(subject, info),
        *features.of_module(subject, info, evidence),
        *drift.module_checks(subject, info),
        *_contents(subject, info),
    ]


def _contents(subject: Subject, info: dict[str, list[str]]) -> list[Check]:
    """The families that read the file itself and what Kbuild noted of its objects."""
    module = module_file.read(subject.artifact.path)
    if isinstance(module, str):
        return [subject.check("B5", "its tables can be read", False, f"{module}; run './inv build'")]
    objects = module_objects.of_module(subject.artifact.path, subject.folder)
    return [
        *module_symbols.checks(subject, module, info, objects),
        *module_code.checks(subject, module, objects),
        *module_shape.checks(subject, module, objects),
        module_sources.check(subject),
    ]


def _license(subject: Subject, info: dict[str, list[str]]) -> tuple[bool, str]:
    seen = info.get("license", [])
    if len(seen) != 1:
        return False, f"expected one MODULE_LICENSE, found {seen or 'none'}"
    if seen[0] not in GPL_COMPATIBLE:
        return False, f"'{seen[0]}' is not GPL-compatible: the kernel would refuse its GPL-only symbols"
    if seen[0] != subject.spec.license:
        return False, f"'{seen[0]}', but the manifest declares '{subject.spec.license}'"
    return True, seen[0]


def _vermagic(subject: Subject, info: dict[str, list[str]]) -> tuple[bool, str]:
    seen = (info.get("vermagic") or [""])[0].strip()
    kernel = subject.kernel
    if kernel is None:
        return False, "no target kernel is known to compare with"
    if seen.split(" ")[0] != kernel.release:
        return False, f"built for '{seen}', the target is {kernel.release}: other headers were used"
    own = _kernel_vermagic(kernel.modules)
    if own is not None and own.strip() != seen:
        return False, f"'{seen}' differs from '{own.strip()}' of the kernel's own modules"
    source = "as the kernel's own modules" if own is not None else "release only: the kernel's own modules are not here"
    return True, f"'{seen}' ({source})"


def _kernel_vermagic(modules: Path | None) -> str | None:
    """The vermagic of the first of the kernel's own modules that can be read."""
    if modules is None:
        return None
    for path in sorted((modules / "kernel" / "fs").rglob("*.ko*")):
        if path.suffix in (".ko", ".xz"):
            return elf.module_bytes_vermagic(path)
    return None


def _name(subject: Subject, info: dict[str, list[str]]) -> tuple[bool, str]:
    seen = (info.get("name") or [""])[0]
    wanted = Path(subject.spec.output).stem.replace("-", "_")
    return seen == wanted, f"'{seen}'" if seen == wanted else f"'{seen}', the manifest says '{wanted}'"


def _srcversion(subject: Subject, info: dict[str, list[str]]) -> Check:
    """modpost's checksum of the sources, 23 or 24 hexadecimal digits (scripts/mod/sumversion.c)."""
    seen = info.get("srcversion", [])
    good = len(seen) == 1 and re.fullmatch(r"[0-9A-F]{23,24}", seen[0]) is not None
    detail = seen[0] if good else f"{', '.join(seen) or 'none'}: add MODULE_VERSION, which makes modpost write it"
    return subject.check("V1", "has a srcversion", good, detail)


def _identified(subject: Subject, info: dict[str, list[str]]) -> Check:
    """Without a srcversion or a build id nobody can prove later which build a guest runs."""
    facts = elf.read(subject.artifact.path)
    build_id = facts.build_id if isinstance(facts, elf.Elf) else ""
    srcversion = (info.get("srcversion") or [""])[0]
    detail = f"srcversion {srcversion or 'none'}, build id {build_id[:16] or 'none'}"
    good = bool(srcversion or build_id)
    return subject.check("M8", "can be identified when loaded", good, detail if good else f"{detail}: add MODULE_VERSION")
