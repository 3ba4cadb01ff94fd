# SPDX-License-Identifier: Apache-2.0
"""A kernel's source tarball: a file or a URL, taken only where its hash is the declared one."""

from __future__ import annotations

import os
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from ci import store
from ci.errors import InfrastructureError, UsageError
from ci.manifest import KernelSpec

_TIMEOUT_SECONDS = 60.0
_BLOCK = 1 << 20


def is_url(text: str) -> bool:
    """Whether a manifest's `tarball` is to be downloaded."""
    return text.startswith(("https://", "http://"))


def tarball(spec: KernelSpec, say: Callable[[str], None]) -> Path:
    """The file. UsageError where a local one is missing or another than declared, InfrastructureError where it cannot be had."""
    if not is_url(spec.tarball):
        path = Path(spec.tarball)
        if not path.is_file():
            raise UsageError(f"kernels.{spec.name}.tarball: {path} does not exist")
        _check(spec, store.sha256_file(path))
        return path

    def make(folder: Path) -> None:
        say(f"downloading {spec.tarball}")
        target = folder / _name(spec)
        _fetch(spec.tarball, target)
        _check(spec, store.sha256_file(target))

    return store.cached("downloads", spec.sha256, make) / _name(spec)


def _name(spec: KernelSpec) -> str:
    return os.path.basename(spec.tarball.partition("?")[0]) or "source.tar"


def _fetch(url: str, target: Path) -> None:
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT_SECONDS) as answer, open(target, "wb") as file:
            while block := answer.read(_BLOCK):
                file.write(block)
    except urllib.error.URLError as error:
        raise InfrastructureError(f"{url} cannot be downloaded: {error.reason}") from error
    except TimeoutError as error:
        raise InfrastructureError(f"{url} was silent for {_TIMEOUT_SECONDS:g} s") from error


def _check(spec: KernelSpec, found: str) -> None:
    if found != spec.sha256:
        raise UsageError(
            f"kernels.{spec.name}.sha256: {spec.tarball} is another file than declared (its sha256 is {found})",
            hint="if that is the file that you mean, write its hash into vexci.yaml",
        )
