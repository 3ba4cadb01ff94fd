# SPDX-License-Identifier: Apache-2.0
"""An image's declarative definition: `image.yaml` with the files and scripts beside it, perhaps on the base of another one."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ci import store
from ci.reader import ConfigError, Section, load

FILE = "image.yaml"
FORMAT_VERSION = 1
DISTRIBUTIONS = ("debian",)
# Changed together with how images are built, so that every image is made anew.
TOOL_VERSION = "1"
FINISH = Path(__file__).with_name("finish.sh")

_PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]+")
_SUITE = re.compile(r"[a-z][a-z0-9-]*")
_UNIT = re.compile(r"[A-Za-z0-9:_.\\@-]+\.(service|socket|timer|path|mount|automount|target|slice|swap|device)")


@dataclass(frozen=True)
class Definition:
    """What image.yaml and its base say together. `size` is that of the disk in MiB; paths are absolute.

    `files` are folders whose contents are put into the image, `scripts` the name in messages and the file of each, both in their order.
    """

    folder: Path
    distribution: str
    suite: str
    size: int
    packages: tuple[str, ...]
    files: tuple[Path, ...]
    mask: tuple[str, ...]
    enable: tuple[str, ...]
    scripts: tuple[tuple[str, Path], ...]
    base: Definition | None = None

    @property
    def key(self) -> str:
        """The hash of all that goes in: every file of the folder with its name and content, the base's hash, and the tool's own part."""
        rows = sorted(_row(self.folder, path) for path in _walk(self.folder))
        below = [self.base.key] if self.base is not None else []
        return store.sha256_text(TOOL_VERSION, store.sha256_file(FINISH), *below, *rows)[:32]


def read(folder: Path) -> Definition:
    """The validated definition; ConfigError names file, line and key of every mistake at once."""
    top = load(folder / FILE)
    if top.whole("version", least=0) != FORMAT_VERSION and top.has("version"):
        top.problem("version", f"expected {FORMAT_VERSION}, the only format that this tool knows")
    base = _base(top, folder)
    definition = Definition(
        folder=folder,
        distribution=top.text("distribution", base.distribution if base else None, choices=DISTRIBUTIONS),
        suite=_matching(top, "suite", _SUITE, "the name of a suite, such as bookworm", (top.text("suite", base.suite if base else None),))[
            0
        ],
        size=top.whole("size", base.size if base else None, least=256, most=1 << 16),
        packages=_added(
            top, "packages", _PACKAGE, "the name of a package", base.packages if base else (), top.texts("packages", () if base else None)
        ),
        files=(*(base.files if base else ()), *_files(top, folder)),
        mask=_added(top, "mask", _UNIT, "the name of a systemd unit, such as fstrim.timer", base.mask if base else (), top.texts("mask")),
        enable=_added(
            top, "enable", _UNIT, "the name of a systemd unit, such as ssh.service", base.enable if base else (), top.texts("enable")
        ),
        scripts=(*((f"base/{name}", path) for name, path in (base.scripts if base else ())), *_scripts(top, folder)),
        base=base,
    )
    for unit in sorted(set(definition.mask) & set(definition.enable)):
        top.problem("enable", f"'{unit}' is also masked")
    top.finish()
    if top.problems:
        raise ConfigError(folder / FILE, top.problems)
    return definition


def _base(top: Section, folder: Path) -> Definition | None:
    """The definition below this one, which may have none below itself; its own mistakes are raised as such."""
    if not top.has("base"):
        top.text("base", "")
        return None
    place = Path(os.path.normpath(folder / top.text("base")))
    if not (place / FILE).is_file():
        top.problem("base", f"the folder {place} has no {FILE}")
        return None
    if load(place / FILE).has("base"):
        top.problem("base", f"{place / FILE} has a base itself; a base stands alone")
        return None
    return read(place)


def _added(top: Section, key: str, form: re.Pattern[str], meaning: str, below: tuple[str, ...], values: tuple[str, ...]) -> tuple[str, ...]:
    """The base's values and then these, each once."""
    for value in sorted(set(below) & set(_matching(top, key, form, meaning, values))):
        top.problem(key, f"'{value}' is in the base already")
    return (*below, *values)


def _matching(top: Section, key: str, form: re.Pattern[str], meaning: str, values: tuple[str, ...]) -> tuple[str, ...]:
    for value in values:
        if value and not form.fullmatch(value):
            top.problem(key, f"'{value}' is not {meaning}")
    for value in sorted({value for value in values if values.count(value) > 1}):
        top.problem(key, f"'{value}' is given twice")
    return values


def _inside(top: Section, key: str, folder: Path, name: str) -> Path:
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        top.problem(key, f"'{name}' lies outside of {folder}, where it would not count for the image's hash")
    return path


def _files(top: Section, folder: Path) -> tuple[Path, ...]:
    if not top.has("files"):
        top.text("files", "")
        return ()
    path = _inside(top, "files", folder, top.text("files"))
    if not path.is_dir():
        top.problem("files", f"the folder {path} does not exist")
    return (path,)


def _scripts(top: Section, folder: Path) -> tuple[tuple[str, Path], ...]:
    names = top.texts("scripts")
    for name in names:
        if not _inside(top, "scripts", folder, name).is_file():
            top.problem("scripts", f"the script {folder / name} does not exist")
    return tuple((name, folder / name) for name in names)


def _walk(folder: Path) -> Iterator[Path]:
    for at, folders, files in os.walk(folder):
        for name in (*folders, *files):
            yield Path(at, name)


def _row(folder: Path, path: Path) -> str:
    # Of the mode only this bit reaches the image, so that a checkout's umask makes no difference.
    name = f"{path.relative_to(folder)}{'*' if path.lstat().st_mode & 0o100 else ''}"
    if path.is_symlink():
        return f"{name} -> {path.readlink()}"
    return f"{name}/" if path.is_dir() else f"{name} = {store.sha256_file(path)}"
