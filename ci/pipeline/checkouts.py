# SPDX-License-Identifier: Apache-2.0
"""Checkouts of other people's suites: built once in a guest that has compilers, kept in the cache, put into the guests that run them.

The guests of suites have no compiler, so that they stay small and start within a second; the machine `builder` of the manifest has one.
Both are of the same distribution, and the tests lie at the same path in both.
"""

from __future__ import annotations

import hashlib
import os
import tarfile
from pathlib import Path

from ci import console, images, process, store
from ci.errors import InfrastructureError
from ci.guest import Guest
from ci.manifest import SuiteSpec
from ci.pipeline.pool import Pool
from ci.store import RunFolder
from ci.validate import adapters

MACHINE = "builder"
BUILD_SECONDS = 7200.0
COMMAND_SECONDS = 300.0
_BUILT = "built.tar"
_VERSION = "1"


def deploy(pool: Pool, suite: SuiteSpec) -> SuiteSpec:
    """The suite with all that its guest is told; its tests lie in the pool's guest, built."""
    root = pool.session.manifest.root
    folder = adapters.checkout(suite, root)
    if folder is None:  # a command that any guest has
        return adapters.told(suite, root, "")
    place = f"{adapters.PLACE}/{suite.name}"
    key = _key(pool, suite, folder)
    built = store.cached("checkouts", key, lambda made: _build(pool, suite, folder, made)) / _BUILT
    guest = pool.guest()
    mark = f"{place}.key"
    if guest.run(["cat", mark], deadline=COMMAND_SECONDS).stdout.strip() != key:
        _unpack(guest, built, place)
        guest.run(["sh", "-c", 'echo "$1" >"$2"', "sh", key, mark], deadline=COMMAND_SECONDS)
    installed = f"{place}/{adapters.INSTALLED}"
    there = guest.run(["test", "-d", installed], deadline=COMMAND_SECONDS).returncode == 0
    return adapters.told(suite, root, installed if there else place)


def _key(pool: Pool, suite: SuiteSpec, folder: Path) -> str:
    """The hash of every file of the checkout, of how it is built, and of the image that it is built in."""
    manifest = pool.session.manifest
    spec = manifest.image(pool.of(MACHINE).spec.image)
    image = images.build(spec, manifest.root, log=pool.session.record.run.file("image", f"{spec.name}.log"), say=console.note)
    rows = []
    for path in files(folder):
        content = os.readlink(path) if path.is_symlink() else store.sha256_file(path)
        rows.append(f"{path.relative_to(folder)} {path.lstat().st_mode:o} {content}")
    commands = [" ".join(words) for words in adapters.commands(suite)]
    return hashlib.sha256("\0".join([_VERSION, suite.name, image.key, *commands, *rows]).encode()).hexdigest()[:32]


def files(folder: Path) -> list[Path]:
    """Everything in the checkout but git's own folder, sorted; links are not followed."""
    found = []
    for place, below, names in os.walk(folder):
        below[:] = sorted(name for name in below if name != ".git")
        links = [name for name in below if Path(place, name).is_symlink()]
        found += [Path(place, name) for name in (*names, *links) if name != ".git"]
    return sorted(found)


def _build(pool: Pool, suite: SuiteSpec, folder: Path, made: Path) -> None:
    """Build the checkout in a guest of the machine `builder`, and keep what is there then as `built.tar` in `made`."""
    place = f"{adapters.PLACE}/{suite.name}"
    console.line(f"building {suite.name} from {folder} in a guest of the machine {MACHINE}")
    packed = process.scratch_file(f"{suite.name}.tar")
    with tarfile.open(packed, "w") as archive:
        for path in files(folder):
            archive.add(path, arcname=str(path.relative_to(folder)), recursive=False)
    with pool.of(MACHINE) as builder:
        guest = builder.guest()
        _unpack(guest, packed, place)
        for words in adapters.commands(suite):
            _step(guest, suite, tuple(word.replace("{place}", place) for word in words), place, pool.session.record.run)
        proof = adapters.ADAPTERS[suite.name].proof
        candidates = [f"{place}/{proof}", f"{place}/{adapters.INSTALLED}/{proof}"]
        if proof and not any(guest.run(["test", "-e", path], deadline=COMMAND_SECONDS).returncode == 0 for path in candidates):
            raise InfrastructureError(f"{suite.name} was built, but there is no {proof}", hint="is this its checkout, and its build?")
        guest.run(["tar", "--create", "--file=/var/tmp/built.tar", f"--directory={place}", "."], deadline=BUILD_SECONDS, check=True)
        guest.get("/var/tmp/built.tar", made / _BUILT)


def _step(guest: Guest, suite: SuiteSpec, words: tuple[str, ...], place: str, run: RunFolder) -> None:
    """One command of the build, its output in the run's folder."""
    log = run.file("checkouts", f"{suite.name}.log")
    result = guest.run(["env", "-C", place, *words], deadline=BUILD_SECONDS)
    with open(log, "a") as file:
        file.write(f"$ {' '.join(words)}\n{result.stdout}{result.stderr}")
    if result.returncode != 0:
        said = " / ".join((result.stderr or result.stdout).strip().splitlines()[-3:]) or "nothing"
        raise InfrastructureError(f"{suite.name}: '{' '.join(words)}' in the guest: exit {result.returncode}: {said}", evidence=(log,))


def _unpack(guest: Guest, archive: Path, place: str) -> None:
    remote = "/var/tmp/checkout.tar"
    guest.put(archive, remote)
    for words in (
        ["rm", "-rf", place],
        ["mkdir", "-p", place],
        ["tar", "--extract", f"--file={remote}", f"--directory={place}", "--no-same-owner"],
        ["rm", remote],
    ):
        result = guest.run(words, deadline=COMMAND_SECONDS)
        if result.returncode != 0:
            raise InfrastructureError(f"'{' '.join(words)}' in the guest: exit {result.returncode}: {result.stderr.strip()}")
