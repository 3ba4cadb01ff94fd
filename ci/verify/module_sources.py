# SPDX-License-Identifier: Apache-2.0
"""A source file that no build file mentions is never compiled, however good the fix in it (B7)."""

from __future__ import annotations

import os
from fnmatch import fnmatch
from pathlib import Path

from ci.model import Check
from ci.verify import module_objects
from ci.verify.subject import Subject

_SUFFIXES = (".c", ".S", ".h")


def check(subject: Subject) -> Check:
    """Every source is compiled, or read by the compiler for one that is, as Kbuild's dependency files say."""
    title = "every source file is compiled or included"
    objects = module_objects.of_all(subject.folder)
    if isinstance(objects, str):
        return subject.check("B7", title, False, objects)
    read = {name for each in objects for name in each.read}
    files = sources(subject.sources)
    unused = [name for name in files if name not in read and not any(fnmatch(name, pattern) for pattern in subject.spec.not_compiled)]
    if not files:
        return subject.check("B7", title, False, f"{subject.sources} holds no source file")
    detail = f"{len(files)} files" + (f", apart from {', '.join(subject.spec.not_compiled)}" if subject.spec.not_compiled else "")
    if unused:
        shown = ", ".join(unused[:5]) + (f" and {len(unused) - 5} more" if len(unused) > 5 else "")
        cure = "name its object in Kbuild, include it, delete it, or list it under 'not_compiled:' in the manifest"
        detail = f"no object is made from {shown}, and nothing includes it: {cure}"
    return subject.check("B7", title, not unused, detail)


def sources(folder: Path) -> list[str]:
    """The sources in a module's folder, relative to it, without hidden folders and what modpost generates."""
    found = []
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            if name.endswith(_SUFFIXES) and not name.startswith(".") and not name.endswith(".mod.c"):
                found.append(os.path.relpath(Path(place, name), folder))
    return sorted(found)
