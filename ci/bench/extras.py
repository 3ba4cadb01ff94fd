# SPDX-License-Identifier: Apache-2.0
"""The Python environments of what is measured beside: made when first asked for, from hash-locked files, apart from .venv.

It lies in the cache under the hash of its lock files, so that all clones of one state share it. What numpy alone can do runs on the
tool's own Python where that has numpy.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from ci import store
from ci.errors import InfrastructureError
from ci.process import Limits, run, scratch_file

CLIENT_LOCK = "requirements-bench-client.txt"
ENGINES_LOCK = "requirements-bench.txt"
DATA_LOCK = "requirements-bench-data.txt"
TOOLS_LOCK = "requirements-bench-tools.txt"
_SECONDS = 1800.0
_LIGHT = {"client", "numpy"}
_READY = "vexci-ready"


def python(root: Path, engines: Iterable[str], say: Callable[[str], None]) -> str:
    """A Python that has the libraries of these engines; InfrastructureError with pip's own words where it cannot be made."""
    light = set(engines) <= _LIGHT
    if light and importlib.util.find_spec("numpy") is not None:
        return sys.executable
    return str(_environment(root, (CLIENT_LOCK if light else ENGINES_LOCK,), say) / "bin" / "python")


def engines(root: Path, say: Callable[[str], None]) -> str:
    """The Python that has all engines, and what encodes sentences."""
    return str(_environment(root, (ENGINES_LOCK,), say) / "bin" / "python")


def virtme(root: Path, say: Callable[[str], None]) -> Path:
    """The program vng of virtme-ng; InfrastructureError with pip's own words where it cannot be installed."""
    return _environment(root, (TOOLS_LOCK,), say) / "bin" / "vng"


def data_packages(root: Path, say: Callable[[str], None]) -> Path:
    """The folder site-packages that holds the files of the data packages; what these ask for is not installed."""
    folder = _environment(root, (DATA_LOCK,), say)
    return next((folder / "lib").glob("python*/site-packages"))


def _environment(root: Path, locks: tuple[str, ...], say: Callable[[str], None]) -> Path:
    """An environment is never moved, so it is made where it stays, and its mark is written last."""
    key = store.sha256_text(*((root / name).read_text() for name in locks), sys.version)[:24]
    folder = store.cache_dir() / "bench" / key
    with store.lock(store.cache_dir() / "locks" / f"bench-{key}"):
        if (folder / _READY).is_file():
            return folder
        say(f"installing what {', '.join(locks)} locks, once")
        _must([sys.executable, "-m", "venv", "--clear", folder], "making a Python environment")
        for name in locks:
            how = ["--no-deps"] if name == DATA_LOCK else []
            pip: list[str | Path] = [folder / "bin" / "python", "-m", "pip", "install", "--require-hashes", "--only-binary", ":all:"]
            _must([*pip, *how, "-r", root / name], f"installing what {name} locks")
        store.atomic_write(folder / _READY, "\n".join(locks))
    return folder


def _must(argv: list[str | Path], what: str) -> None:
    log = scratch_file("pip.log")
    environment = {**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1", "PYTHONNOUSERSITE": "1"}
    done = run(argv, limits=Limits(_SECONDS), log=log, env=environment)
    if not done.ok:
        tail = done.text().strip().splitlines()[-3:]
        raise InfrastructureError(f"{what}: {done.how}: {' / '.join(tail)}")
