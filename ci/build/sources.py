# SPDX-License-Identifier: Apache-2.0
"""Which files a build reads, and the copy of them in the tool's own build folder."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

from ci import store

KBUILD_SUFFIXES = (".c", ".h", ".S")
KBUILD_NAMES = ("Kbuild", "Makefile")
# What builds leave beside the sources of a tree; a copy of it would be taken for what was built.
_PRODUCTS = (".o", ".a", ".ko", ".mod", ".mod.c", ".cmd", ".su", ".order", ".symvers")
LOCK = ".vexci-lock"
_LIST = ".vexci-sources.json"


def kbuild_files(folder: Path) -> list[Path]:
    """Everything in a module's folder that Kbuild may read, without what it generates (`*.mod.c`, `.*`)."""
    return sorted(_walk(folder))


def _walk(folder: Path) -> Iterator[Path]:
    for path in folder.iterdir():
        if path.name.startswith("."):
            continue
        if path.is_dir() and not path.is_symlink():
            yield from _walk(path)
        elif path.name in KBUILD_NAMES or (path.suffix in KBUILD_SUFFIXES and not path.name.endswith(".mod.c")):
            yield path


def all_files(folder: Path) -> list[Path]:
    """Everything in a foreign tree but hidden files and what builds leave: its Makefile may read any of it."""
    return sorted(_walk_all(folder))


def _walk_all(folder: Path) -> Iterator[Path]:
    for path in folder.iterdir():
        if path.name.startswith(".") or path.name in ("target", "__pycache__"):
            continue
        if path.is_dir() and not path.is_symlink():
            yield from _walk_all(path)
        elif path.is_file() and not path.name.endswith(_PRODUCTS):
            yield path


def mirror(source: Path, target: Path, *, everything: bool = False) -> list[Path]:
    """Make `target` hold the sources of `source` (`everything` in a foreign tree); returns the sources.

    A file whose content changed gets the present time, whatever its own says, so that make rebuilds what
    depends on it; an unchanged one is not touched; one that vanished is removed.
    """
    target.mkdir(parents=True, exist_ok=True)
    files = all_files(source) if everything else kbuild_files(source)
    before: dict[str, list[int]] = _read_list(target)
    now: dict[str, list[int]] = {}
    for file in files:
        name = str(file.relative_to(source))
        info = file.stat()
        now[name] = [info.st_size, info.st_mtime_ns]
        copy = target / name
        if before.get(name) == now[name] and copy.is_file():
            continue
        if not copy.is_file() or copy.read_bytes() != file.read_bytes():
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.unlink(missing_ok=True)  # it may be a read-only file, or a link, of the time before
            shutil.copyfile(file, copy)
            copy.chmod(0o644 | (info.st_mode & 0o111))
    for name in before.keys() - now.keys():
        (target / name).unlink(missing_ok=True)
    if before != now:
        store.atomic_write(target / _LIST, json.dumps(now))
    return files


def mirrored(target: Path) -> bool:
    """Whether a build folder was in use before."""
    return (target / _LIST).exists()


def _read_list(target: Path) -> dict[str, list[int]]:
    try:
        return dict(json.loads((target / _LIST).read_text()))
    except FileNotFoundError:
        return {}
    except ValueError:
        shutil.rmtree(target)  # a damaged list: start from nothing rather than trust what lies there
        target.mkdir(parents=True)
        return {}


def empty(folder: Path) -> None:
    """Remove what a build folder holds, but not the lock that the caller has on it."""
    for path in folder.iterdir():
        if path.name == LOCK:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
