# SPDX-License-Identifier: Apache-2.0
"""An image's declarative definition: `image.yaml` with the files and scripts beside it. vmimages/debian-12 uses every key."""

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
    """What image.yaml says. `size` is that of the disk in MiB; paths are absolute."""

    folder: Path
    distribution: str
    suite: str
    size: int
    packages: tuple[str, ...]
    files: Path | None
    mask: tuple[str, ...]
    enable: tuple[str, ...]
    scripts: tuple[str, ...]

    @property
    def key(self) -> str:
        """The hash of all that goes in: every file of the folder with its name and content, and the tool's own part."""
        rows = sorted(_row(self.folder, path) for path in _walk(self.folder))
        return store.sha256_text(TOOL_VERSION, store.sha256_file(FINISH), *rows)[:32]


def read(folder: Path) -> Definition:
    """The validated definition; ConfigError names file, line and key of every mistake at once."""
    top = load(folder / FILE)
    if top.whole("version", least=0) != FORMAT_VERSION and top.has("version"):
        top.problem("version", f"expected {FORMAT_VERSION}, the only format that this tool knows")
    definition = Definition(
        folder=folder,
        distribution=top.text("distribution", choices=DISTRIBUTIONS),
        suite=_matching(top, "suite", _SUITE, "the name of a suite, such as bookworm", (top.text("suite"),))[0],
        size=top.whole("size", least=256, most=1 << 16),
        packages=_matching(top, "packages", _PACKAGE, "the name of a package", top.texts("packages", None)),
        files=_files(top, folder),
        mask=_matching(top, "mask", _UNIT, "the name of a systemd unit, such as fstrim.timer", top.texts("mask")),
        enable=_matching(top, "enable", _UNIT, "the name of a systemd unit, such as ssh.service", top.texts("enable")),
        scripts=_scripts(top, folder),
    )
    for unit in sorted(set(definition.mask) & set(definition.enable)):
        top.problem("enable", f"'{unit}' is also masked")
    top.finish()
    if top.problems:
        raise ConfigError(folder / FILE, top.problems)
    return definition


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


def _files(top: Section, folder: Path) -> Path | None:
    if not top.has("files"):
        top.text("files", "")
        return None
    path = _inside(top, "files", folder, top.text("files"))
    if not path.is_dir():
        top.problem("files", f"the folder {path} does not exist")
    return path


def _scripts(top: Section, folder: Path) -> tuple[str, ...]:
    names = top.texts("scripts")
    for name in names:
        if not _inside(top, "scripts", folder, name).is_file():
            top.problem("scripts", f"the script {folder / name} does not exist")
    return names


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
