# SPDX-License-Identifier: Apache-2.0
"""Files that last: content hashes, atomic writes, locks, cache entries and the run folders."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from ci import leftovers
from ci.errors import DiskFull, InfrastructureError
from ci.model import Evidence

RUNS_FOLDER = ".runs"
# What the system says of a write where there is no room, and where nobody may write.
FULL = (errno.ENOSPC, errno.EDQUOT)
READ_ONLY = (errno.EROFS, errno.EACCES)


def sha256_file(path: Path) -> str:
    """SHA-256 of a file's bytes, as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def sha256_text(*parts: str) -> str:
    """SHA-256 of strings, each length-prefixed so that no two lists of parts collide."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode()
        digest.update(f"{len(data)}:".encode() + data)
    return digest.hexdigest()


def sha256_tree(root: Path, files: Iterable[Path], *parameters: str) -> str:
    """SHA-256 over the relative names and contents of `files` and over `parameters`; order does not matter."""
    rows = sorted(f"{file.relative_to(root)}={sha256_file(file)}" for file in files)
    return sha256_text(*rows, *parameters)


def atomic_write(path: Path, data: bytes | str) -> None:
    """Replace `path` as a whole: temporary file beside it, fsync, rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = data.encode() if isinstance(data, str) else data
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def cache_dir() -> Path:
    """Where images, kernels and other rebuildable things are kept (`VEXCI_CACHE`, else the XDG cache)."""
    base = os.environ.get("VEXCI_CACHE")
    if base:
        return Path(base).absolute()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vexci"


@contextmanager
def lock(path: Path) -> Iterator[None]:
    """An exclusive lock between processes. The kernel drops it when the holder dies, so none is left behind."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def cached(kind: str, key: str, make: Callable[[Path], None]) -> Path:
    """The cache entry `kind/key`, made by `make(folder)` where it is absent. An entry is whole or absent.

    Two processes that want the same entry make it once. A full disk is reported as such, and the
    half-made folder is removed on every way out (after a `kill -9` by the next start).
    """
    final = cache_dir() / kind / key
    if final.is_dir():
        os.utime(final)
        return final
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        with lock(cache_dir() / "locks" / f"{kind}-{key}"):
            if final.is_dir():
                return final
            temporary = final.parent / f".making-{key[:16]}-{secrets.token_hex(4)}"
            with leftovers.entry("folder", temporary.name, {"path": str(temporary)}):
                temporary.mkdir()
                try:
                    make(temporary)
                    os.rename(temporary, final)
                finally:
                    shutil.rmtree(temporary, ignore_errors=True)
    except OSError as error:
        raise disk_error(error, final.parent) from error
    return final


def disk_error(error: OSError, place: Path) -> InfrastructureError:
    """What a failed write to `place` means, with the way out, which depends on whose disk that is: the cache's or the project's."""
    cache = cache_dir()
    cached_there = place.is_relative_to(cache)
    if error.errno in FULL:
        if cached_there:
            return DiskFull(f"the disk is full at {place}", hint="free space, or './inv clean --cache', or set VEXCI_CACHE")
        also = ", './inv clean --cache' the cache, which lies on the same disk" if _one_disk(place, cache) else ""
        return DiskFull(
            f"the disk is full at {place}",
            hint=f"free space there; './inv clean' removes what builds made in the project, '--runs' with it the records of runs{also}",
        )
    if error.errno in READ_ONLY:
        way = (
            "set VEXCI_CACHE to a folder that can" if cached_there else "make it writable: builds and records are kept beside the manifest"
        )
        return InfrastructureError(f"{place} cannot be written: {error.strerror}", hint=way)
    return InfrastructureError(f"{error.filename or place}: {error.strerror}")


def in_the_way(error: OSError, *places: Path) -> InfrastructureError | None:
    """What `error` means where a file or a dangling link lies at one of `places`, or below, in which the tool keeps folders."""
    if error.errno not in (errno.ENOTDIR, errno.EEXIST) or not error.filename:
        return None
    file = Path(error.filename)
    for path in (file, *file.parents):
        if os.path.lexists(path) and not path.is_dir() and any(path.is_relative_to(place) for place in places):
            return InfrastructureError(f"{path} is no folder, and the tool keeps a folder there", hint="move it away")
    return None


def _one_disk(one: Path, other: Path) -> bool:
    """Whether both lie on one file system; a path that is not there counts as its nearest folder."""
    found = [next(at for at in (path.absolute(), *path.absolute().parents) if at.exists()).stat().st_dev for path in (one, other)]
    return found[0] == found[1]


def now() -> str:
    """The time as in records: UTC, ISO 8601 with seconds."""
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


class RunFolder:
    """The folder of one run, `.runs/<UTC time>-<short id>/`, with its logs, evidence and record."""

    def __init__(self, root: Path) -> None:
        stamp = datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%SZ")
        self.id = f"{stamp}-{secrets.token_hex(3)}"
        self.path = root / RUNS_FOLDER / self.id
        try:
            self.path.mkdir(parents=True)
        except OSError as error:
            raise disk_error(error, self.path) from error

    def file(self, *parts: str) -> Path:
        """A path inside the folder whose parent exists."""
        path = self.path.joinpath(*parts)
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def evidence(self, kind: str, path: Path) -> Evidence:
        """Name a file as evidence; inside the run folder its path is kept relative."""
        inside = path.is_relative_to(self.path)
        return Evidence(kind, str(path.relative_to(self.path) if inside else path), sha256_file(path))

    def write_record(self, record: dict[str, Any]) -> None:
        """Replace record.json as a whole, and point `.runs/latest` here."""
        atomic_write(self.path / "record.json", json.dumps(record, indent=2) + "\n")
        temporary = self.path.parent / f".latest-{secrets.token_hex(4)}"
        temporary.symlink_to(self.id)
        os.replace(temporary, self.path.parent / "latest")


def read_records(root: Path) -> list[dict[str, Any]]:
    """All readable records, oldest first. One whose process is gone while it says `running` is `interrupted`."""
    found = []
    for path in sorted((root / RUNS_FOLDER).glob("*/record.json")):
        if path.parent.is_symlink():
            continue
        record: dict[str, Any] = json.loads(path.read_text())
        if record["verdict"] == "running" and not leftovers.alive(record["process"]):
            record["verdict"] = "interrupted"
        found.append(record)
    return found
