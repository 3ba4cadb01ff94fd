# SPDX-License-Identifier: Apache-2.0
"""Makes an image: mmdebstrap in the foreground of a deadline, as root or in a user namespace."""

from __future__ import annotations

import io
import os
import re
import shlex
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path

from ci import process, store
from ci.errors import Hang, InfrastructureError, UsageError
from ci.images import cloud
from ci.images.definition import FILE, FINISH, Definition, read
from ci.images.sources import keyring_options, mirror_lines
from ci.manifest import ImageSpec
from ci.model import Image

DEADLINE = 900.0
SILENCE = 180.0
_DISK = "root.ext4"

Say = Callable[[str], None]


def build(spec: ImageSpec, root: Path, *, log: Path, say: Say) -> Image:
    """The image of a definition, or a cloud image: at once where it is unchanged, else made (about half a minute).

    `root` is the project's folder, from which `say` shows paths. Raises UsageError where the definition is
    wrong or a program is missing, InfrastructureError where the machine or the network failed; nothing half-made stays.
    """
    if spec.cloud is not None:
        return cloud.build(spec.name, spec.cloud, say=say)
    assert spec.folder is not None, "an image has a folder or is a cloud image (ci/config.py)"
    definition = read(spec.folder)
    image = cached_image(spec, definition)
    if image is not None:
        return image
    _check_programs()

    def make(folder: Path) -> None:
        shown = definition.folder.relative_to(root) if definition.folder.is_relative_to(root) else definition.folder
        say(f"making the image {spec.name} from {shown}")
        _make(definition, folder, log)

    store.cached("images", definition.key, make)
    image = cached_image(spec, definition)
    assert image is not None
    return image


def cached_image(spec: ImageSpec, definition: Definition) -> Image | None:
    """The image if it is in the cache."""
    disk = store.cache_dir() / "images" / definition.key / _DISK
    try:
        size = disk.stat().st_blocks * 512
    except FileNotFoundError:
        return None
    return Image(spec.name, definition.key, disk, size, f"{definition.distribution} {definition.suite}")


def _check_programs() -> None:
    process.find_program("mmdebstrap", hint="apt-get install mmdebstrap")
    process.find_program("mkfs.ext4", hint="apt-get install e2fsprogs")
    if os.geteuid() != 0:
        process.find_program("newuidmap", hint="apt-get install uidmap (mmdebstrap needs it to work without root)")


def _make(definition: Definition, folder: Path, log: Path) -> None:
    log.unlink(missing_ok=True)  # what went wrong is read from it, so it must be of this build alone
    payload = folder / "payload.tar"
    payload.write_bytes(_payload(definition))
    done = _mmdebstrap(definition, payload, folder, log)
    stream = folder / "stream.tar"
    if done.ok and stream.exists():
        done = process.run(["tar", "-C", folder, "--sparse", "-xf", stream], limits=process.Limits(300), log=log)
        stream.unlink()
    if not done.ok:
        raise _failure(definition, done, folder, log)
    payload.unlink()


def _mmdebstrap(definition: Definition, payload: Path, folder: Path, log: Path) -> process.Completed:
    argv = [
        # Mounts of our own, which vanish with the processes, however they end. A slave's: what the host unmounts meanwhile goes.
        *(["unshare", "--mount", "--propagation", "slave"] if os.geteuid() == 0 else []),
        process.find_program("mmdebstrap"),
        "--format=null",
        "--variant=essential",
        f"--include={','.join(definition.packages)}",
        *keyring_options(),
        f"--customize-hook=upload {shlex.quote(str(payload))} /vexci.tar",
        *_mode(folder),
        definition.suite,
        "/dev/null",
        *mirror_lines(definition.suite),
    ]
    env = {**os.environ, "LC_ALL": "C.UTF-8", "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"}
    if os.geteuid() == 0:
        # What a killed build leaves behind then lies in the cache entry that is being made, and goes with it. Without
        # root the folder must be one that the namespace's users can reach, which a home usually is not.
        env["TMPDIR"] = str(folder)
    try:
        return process.run(argv, limits=process.Limits(DEADLINE, silence=SILENCE), log=log, env=env, what="mmdebstrap")
    except Hang as error:
        raise InfrastructureError(error.message, hint=error.hint, evidence=(log,)) from error


def _mode(folder: Path) -> list[str]:
    """As root the last step writes the disk where it belongs; in a user namespace it must be handed out."""
    finish = 'tar -C "$1" -xf "$1/vexci.tar" && rm "$1/vexci.tar" && sh "$1/vexci/finish.sh" "$1"'
    if os.geteuid() == 0:
        return ["--mode=root", f"--customize-hook={finish} {shlex.quote(str(folder))}"]
    return [
        "--mode=unshare",
        f"--customize-hook={finish}",
        f"--customize-hook=download /vexci.tar {shlex.quote(str(folder / 'stream.tar'))}",
    ]


def _payload(definition: Definition) -> bytes:
    """A tar with the definition's files and scripts, all owned by root."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for files in definition.files:
            tar.add(files, "vexci/files", filter=_owned_by_root)
        for name, script in definition.scripts:
            tar.add(script, f"vexci/scripts/{name}", filter=_owned_by_root)
        tar.add(FINISH, "vexci/finish.sh", filter=_owned_by_root)
        _add_lines(tar, "vexci/size", [str(definition.size)])
        _add_lines(tar, "vexci/mask", definition.mask)
        _add_lines(tar, "vexci/enable", definition.enable)
        _add_lines(tar, "vexci/scripts.list", [name for name, _ in definition.scripts])
    return out.getvalue()


def _owned_by_root(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = "root"
    # A checkout's umask must not decide what a guest's users can read.
    entry.mode = 0o755 if entry.isdir() or entry.mode & 0o100 else 0o644
    return entry


def _add_lines(tar: tarfile.TarFile, name: str, lines: Sequence[str]) -> None:
    data = "".join(f"{line}\n" for line in lines).encode()
    entry = tarfile.TarInfo(name)
    entry.size = len(data)
    tar.addfile(entry, io.BytesIO(data))


def _failure(definition: Definition, done: process.Completed, folder: Path, log: Path) -> UsageError | InfrastructureError:
    text = log.read_text(errors="backslashreplace")
    if "No space left on device" in text:
        return InfrastructureError(
            f"the disk is full at {folder.parent}", hint="free space, or './inv clean --cache', or set VEXCI_CACHE", evidence=(log,)
        )
    mistake = _mistake(definition, text)
    if mistake:
        return UsageError(mistake, hint=f"read {log}", where=str(definition.folder / FILE), evidence=(log,))
    lines = [line for line in text.splitlines() if line.startswith("E: ")] or text.strip().splitlines()
    return InfrastructureError(f"mmdebstrap: {done.how}: {' / '.join(lines[:2])}", hint=f"read {log}", evidence=(log,))


def _mistake(definition: Definition, text: str) -> str:
    """What in the definition made the build fail, with its key; empty where it was something else."""
    missing = sorted(set(re.findall(r"E: Unable to locate package (\S+)", text)))
    if missing:
        return f"packages: {definition.distribution} {definition.suite} has no package called {', '.join(missing)}"
    wrong = re.search(r"^vexci: WRONG: (.*)$", text, re.MULTILINE)
    if wrong:
        return wrong.group(1)
    if "Could not allocate" in text:
        return f"size: the packages and files do not fit on a disk of {definition.size} MiB"
    return ""
