# SPDX-License-Identifier: Apache-2.0
"""Asks apt for packages without root: the machine's own package lists, or a private copy of them that can be brought up to date."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ci import process, store
from ci.errors import Hang, InfrastructureError

_DEADLINE = 60.0
_DOWNLOAD_DEADLINE = 900.0
_SILENCE = 120.0
# Only the package lists proper, all files in our own folder, and none of the machine's hooks, which clean up the
# machine's own folders and want root.
_PRIVATE = """\
Dir::State::Lists "{folder}/lists";
Dir::Cache "{folder}";
Dir::Cache::Archives "{folder}/archives";
APT::Sandbox::User "root";
APT::Update::Error-Mode "any";
Acquire::Languages "none";
Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled "false";
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
"""
# Instead of the machine's sources. None of the machine's keys is trusted: each line names its own.
_OWN_SOURCES = """\
Dir::Etc::SourceList "{folder}/sources.list";
Dir::Etc::SourceParts "/dev/null";
Dir::Etc::Trusted "/dev/null";
Dir::Etc::TrustedParts "/dev/null";
Dir::Etc::Preferences "/dev/null";
Dir::Etc::PreferencesParts "/dev/null";
"""


class GoneError(InfrastructureError):
    """The archive no longer has what the package lists say that it has."""


@dataclass(frozen=True)
class Package:
    """The candidate version of one package; `size` is that of the archive in bytes."""

    name: str
    version: str
    depends: tuple[str, ...]
    sha256: str
    size: int


@dataclass(frozen=True)
class Lists:
    """Package lists to ask: `options` go to every call of apt; `private` is the folder of a private copy, `sources` are its own.

    What is installed on the machine plays no part: it would look like an offer that cannot be downloaded.
    """

    options: tuple[str, ...] = ("-oDir::State::status=/dev/null",)
    private: Path | None = None
    sources: tuple[str, ...] = ()

    def names(self, prefix: str) -> list[str]:
        """All package names that begin so; also names that are only mentioned by other packages."""
        return process.output(["apt-cache", *self.options, "pkgnames", prefix], deadline=_DEADLINE).split()

    def show(self, names: Iterable[str]) -> dict[str, Package]:
        """The packages among `names` that can be had, by name."""
        wanted = sorted(set(names))
        if not wanted:
            return {}
        # It exits 100 where not one of them can be had, which is an answer and not an error.
        errors = process.scratch_file("apt-cache.err")
        done = process.run(
            ["apt-cache", *self.options, "show", "--no-all-versions", *wanted], limits=process.Limits(_DEADLINE), stderr=errors
        )
        return {package.name: package for package in parse_packages(done.text())}

    def download(self, packages: Iterable[Package], folder: Path) -> list[Path]:
        """Download exactly these versions into `folder`, verified by apt; InfrastructureError if one cannot be had."""
        pins = [f"{package.name}={package.version}" for package in packages]
        argv = ["apt-get", *self.options, "-o", "APT::Sandbox::User=root", "download", *pins]
        _run(argv, "downloading kernel packages", folder)
        return sorted(folder.glob("*.deb"))

    def update(self) -> None:
        """Bring a private copy up to date; InfrastructureError if a source failed (the others are up to date then)."""
        assert self.private is not None, "the machine's own lists are not ours to change"
        for name in ("lists/partial", "archives/partial"):
            (self.private / name).mkdir(parents=True, exist_ok=True)
        own = _OWN_SOURCES.format(folder=self.private) if self.sources else ""
        store.atomic_write(self.private / "sources.list", "".join(f"{line}\n" for line in self.sources))
        store.atomic_write(self.private / "apt.conf", _PRIVATE.format(folder=self.private) + own)
        _run(["apt-get", *self.options, "update"], "updating a private copy of the package lists", self.private)
        (self.private / "updated").touch()

    @property
    def updated(self) -> float:
        """When a private copy was last brought up to date, in epoch seconds; 0 if never."""
        assert self.private is not None
        stamp = self.private / "updated"
        return stamp.stat().st_mtime if stamp.is_file() else 0.0


def private_lists(sources: tuple[str, ...] = ()) -> Lists:
    """Lists of our own in the cache, from the machine's own sources, or from `sources` (lines of a sources.list) alone."""
    folder = store.cache_dir() / (f"apt-{store.sha256_text(*sources)[:16]}" if sources else "apt")
    return Lists((f"-c={folder}/apt.conf", *Lists.options), folder, sources)


def parse_packages(text: str) -> list[Package]:
    """The stanzas of `apt-cache show`."""
    found = []
    for stanza in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in stanza.splitlines() if ": " in line and not line.startswith(" "))
        if "Package" in fields and "SHA256" in fields:
            depends = tuple(re.findall(r"(?:^|, )([a-z0-9][a-z0-9+.-]+)", fields.get("Depends", "")))
            found.append(Package(fields["Package"], fields["Version"], depends, fields["SHA256"], int(fields["Size"])))
    return found


def _run(argv: Sequence[str], what: str, folder: Path) -> None:
    log = process.scratch_file("apt.log")
    env = {**os.environ, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}
    try:
        done = process.run(argv, limits=process.Limits(_DOWNLOAD_DEADLINE, silence=_SILENCE), log=log, cwd=folder, env=env, what=what)
    except Hang as error:  # the network's silence says nothing about the product
        raise InfrastructureError(error.message, hint=error.hint, evidence=error.evidence) from error
    if not done.ok:
        raise failed(what, done, folder)


def failed(what: str, done: process.Completed, folder: Path) -> InfrastructureError:
    """The error for a failed helper program: a full disk is named as such, else the program's own last words."""
    text = done.error_text()
    if "No space left on device" in text:
        return store.disk_error(OSError(errno.ENOSPC, "No space left on device"), folder)
    errors = [line for line in text.splitlines() if line.startswith("E:")]
    said = next((line for line in errors if "Failed to fetch" in line), (errors or text.strip().splitlines() or ["it said nothing"])[-1])
    log = store.cache_dir() / "logs" / "kernels.log"  # the scratch file goes with the run
    store.atomic_write(log, text)
    kind = GoneError if re.search(r"\b404\b", text) else InfrastructureError
    return kind(f"{what}: {done.how}: {said.removeprefix('E:').strip()}", hint=f"all of it: {log}", evidence=(done.stderr,))
