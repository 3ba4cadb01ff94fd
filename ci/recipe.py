# SPDX-License-Identifier: Apache-2.0
"""The keys of an artifact in vexci.yaml that let the tool build and judge trees which were not written for it."""

from __future__ import annotations

import re
from pathlib import Path

from ci.manifest import Expectation, LayoutSpec, Recipe
from ci.reader import Section, nearest

CHECKERS: dict[str, tuple[str, ...]] = {
    "kbuild": ("compiler", "sparse", "checkpatch"),
    "cargo": ("clippy", "rustfmt"),
    "make": (),
}
# What a command or a make variable may hold; {headers}, {kernel} and {module_folder} only where there is a kernel.
PLACEHOLDERS = ("{folder}", "{headers}", "{kernel}")
_TRIPLE = re.compile(r"[a-z0-9_]+(-[a-z0-9_]+){1,3}")


def read(section: Section, builder: str, folder: Path) -> Recipe:
    """`work`, `before`, `goals`, `target`, `toolchain`, `disk`."""
    recipe = Recipe(
        work=section.text("work", ""),
        before=section.commands("before"),
        goals=section.texts("goals") if builder in ("kbuild", "make") else (),
        target=_target(section) if builder in ("cargo", "make") else "",
        toolchain=section.text("toolchain", "") if builder in ("cargo", "make") else "",
        disk=section.whole("disk", 8192, least=1),
    )
    if recipe.work and (Path(recipe.work).is_absolute() or ".." in Path(recipe.work).parts):
        section.problem("work", "expected a folder below 'folder:'")
    elif folder.is_dir() and not (folder / recipe.work).is_dir():
        section.problem("work", f"the folder {folder / recipe.work} does not exist")
    for command in recipe.before:
        placeholders(section, "before", command, PLACEHOLDERS)
    return recipe


def placeholders(section: Section, key: str, words: tuple[str, ...], known: tuple[str, ...]) -> None:
    """Report every `{…}` that is not one of `known`."""
    for word in words:
        rest = word
        for field in known:
            rest = rest.replace(field, "")
        if "{" in rest:
            section.problem(key, f"unknown placeholder in '{word}'; expected {' or '.join(known)}")


def _target(section: Section) -> str:
    given = section.text("target", "")
    if given and not _TRIPLE.fullmatch(given):
        section.problem("target", f"expected a target triple such as x86_64-unknown-linux-gnu, got '{given}'")
    return given


def output(section: Section) -> str:
    """Where make puts the program, below `work`."""
    given = section.text("output")
    if Path(given).is_absolute() or ".." in Path(given).parts:
        section.problem("output", "expected a path below the artifact's folder")
    return given


def expectation(section: Section, kernels: tuple[str, ...]) -> Expectation | None:
    """`expect: fail` with a `reason`, and the kernels that it is about."""
    if not section.has("expect"):
        for key in ("reason", "expect_kernels"):
            if section.has(key):
                section.texts(key) if key == "expect_kernels" else section.text(key)
                section.problem(key, "is given without 'expect: fail'")
        return None
    section.text("expect", choices=("fail",))
    reason = section.text("reason")
    of = section.texts("expect_kernels")
    for name in of:
        if name not in kernels:
            section.problem("expect_kernels", f"'{name}' is not among this artifact's kernels{nearest(name, kernels)}")
    return Expectation(reason, of)


def findings(section: Section, builder: str) -> tuple[tuple[str, int], ...]:
    """The static checkers to run, each with the number of findings that it may have."""
    below = section.section("findings", required=False)
    if below is None:
        return ()
    known = CHECKERS.get(builder, ())
    found = []
    for name in below.names():
        number = below.whole(name)
        if name not in known:
            said = nearest(name, known) or f": the builder {builder} has no static checkers"
            below.problem(name, f"is no static checker of the builder {builder}{said}")
        else:
            found.append((name, number))
    return tuple(found)


def layouts(section: Section, root: Path) -> tuple[LayoutSpec, ...]:
    """The C headers whose structures a program of another language must have alike."""
    found = []
    for name, below in section.sections("layouts", required=False):
        header = root / below.text("header")
        if below.has("header") and not header.is_file():
            below.problem("header", f"the file {header} does not exist")
        command = below.texts("command", None)
        placeholders(below, "command", command, ("{artifact}",))
        include = tuple(root / word for word in below.texts("include"))
        for folder in include:
            if not folder.is_dir():
                below.problem("include", f"the folder {folder} does not exist")
        found.append(LayoutSpec(name, header, command, include, below.texts("ignore")))
        below.finish()
    return tuple(found)
