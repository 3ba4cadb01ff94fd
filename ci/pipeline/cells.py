# SPDX-License-Identifier: Apache-2.0
"""What a farm runs: cells of a kernel, a suite and a shard, each a command of its own on a machine of its own.

A cell is named `KERNEL:SUITE:SHARD/SHARDS`, with `:SEED` behind it where the suite's seed is not the manifest's. The name is all that a
machine needs to run it (`./inv validate --cell NAME`); the same manifest gives it the same meaning everywhere.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from ci.errors import UsageError
from ci.manifest import ArtifactSpec, Manifest, SuiteSpec
from ci.model import Kind
from ci.pipeline import matrix
from ci.reader import nearest
from ci.validate import TOGETHER, adapters

NOT_BOOTED = ("host", "tree")  # providers of kernels that can be built for and not booted
# What no guest runs. What is none of these and belongs to no artifact may change anything.
HARMLESS = ("docs/", "tests/", "examples/", "LICENSES/", "packaging/", ".github/")
HARMLESS_SUFFIXES = (".md",)
_SEED_BITS = 31


@dataclass(frozen=True)
class Cell:
    """One suite in one kernel, on these of its artifacts. `seed` is empty for the manifest's own."""

    kernel: str
    suite: str
    shard: int
    shards: int
    artifacts: tuple[str, ...]
    seed: str = ""

    @property
    def name(self) -> str:
        """What the command line calls it."""
        return f"{self.kernel}:{self.suite}:{self.shard}/{self.shards}" + (f":{self.seed}" if self.seed else "")

    @property
    def slug(self) -> str:
        """Its name where a file has it."""
        return self.name.replace(":", "-").replace("/", "of")

    def facts(self) -> dict[str, object]:
        """What `strategy.matrix` and a record hold of it."""
        return {
            "cell": self.name,
            "slug": self.slug,
            "kernel": self.kernel,
            "suite": self.suite,
            "shard": f"{self.shard}/{self.shards}",
            "artifacts": ",".join(self.artifacts),
            "seed": self.seed,
        }


def cells(manifest: Manifest, *, kernel: str = "", suite: str = "", shards: int = 1, fresh: bool = False) -> list[Cell]:
    """Every cell that is asked for (names `a,b` or `all`; without a name what is not on request), each suite in up to so many shards."""
    if shards < 1:
        raise UsageError(f"--shards {shards}: a suite runs in one shard at least", hint="--shards 2")
    found = []
    for kernel_name in _kernels(manifest, kernel):
        for spec in _suites(manifest, suite):
            found += _of_suite(manifest, kernel_name, spec, shards, fresh=fresh)
    if not found:
        raise UsageError("the manifest has no suite for a kernel that can be booted", hint="define one under 'suites:' in vexci.yaml")
    return found


def find(manifest: Manifest, name: str) -> Cell:
    """The cell of that name; UsageError says what is wrong with a name that is none."""
    words = name.split(":")
    shard, slash, shards = words[2].partition("/") if len(words) in (3, 4) else ("", "", "")
    if not (slash and shard.isdigit() and shards.isdigit() and int(shards) and 1 <= int(shard) <= int(shards)):
        raise UsageError(f"'{name}' is no cell", hint="KERNEL:SUITE:SHARD/SHARDS, as './inv ci.matrix' prints them")
    kernel, suite = words[:2]
    possible = [cell for cell in cells(manifest, kernel=kernel, suite=suite, shards=int(shards)) if cell.shard == int(shard)]
    if not possible or possible[0].shards != int(shards):
        raise UsageError(f"the suite '{suite}' cannot be divided into {shards} shards", hint="./inv ci.matrix shows into how many")
    seed = words[3] if len(words) == 4 else ""
    return Cell(kernel, suite, int(shard), int(shards), possible[0].artifacts, seed)


def builds(manifest: Manifest, kernel: str = "") -> list[dict[str, str]]:
    """The cells of the build matrix: one for each kernel that modules are built for."""
    return [{"kernel": name} for name in _kernels(manifest, kernel)]


def needed(manifest: Manifest, todo: Sequence[Cell], changed: Sequence[str]) -> tuple[list[Cell], dict[str, str]]:
    """Those of the cells that these changed files concern, and of each other one (by its name) why it is left out."""
    everything, touched = _touched(manifest, changed)
    kept, left_out = [], {}
    for cell in todo:
        reason = everything or next((touched[name] for name in _made_of(manifest, cell) if name in touched), "")
        if reason:
            kept.append(cell)
        else:
            count = f"{len(changed)} file{'s' if len(changed) != 1 else ''} changed"
            left_out[cell.name] = f"{count}, none of which goes into {', '.join(cell.artifacts)}, the kernel {cell.kernel} or the tool"
    return kept, left_out


def _touched(manifest: Manifest, changed: Sequence[str]) -> tuple[str, dict[str, str]]:
    """A file that concerns every cell (empty where there is none), and by name of an artifact or kernel one that concerns that."""
    found: dict[str, str] = {}
    for file in changed:
        if file.startswith(HARMLESS) or file.endswith(HARMLESS_SUFFIXES):
            continue
        owners = [spec.name for spec in manifest.artifacts if _below(manifest, file, spec)]
        owners += [spec.name for spec in manifest.kernels if manifest.root / file in spec.fragments]
        if not owners:
            return file, found
        found.update((owner, file) for owner in owners if owner not in found)
    return "", found


def _below(manifest: Manifest, file: str, spec: ArtifactSpec) -> bool:
    path = manifest.root / file
    return path.is_relative_to(spec.folder) or any(path == layout.header for layout in spec.layouts) or path == spec.vectors


def _made_of(manifest: Manifest, cell: Cell) -> list[str]:
    """Its artifacts, its kernel, and the tools that every guest has: what is not mounted makes the volumes of what is."""
    tools = [spec.name for spec in manifest.artifacts if not spec.mount]
    return [*cell.artifacts, cell.kernel, *tools]


def _kernels(manifest: Manifest, given: str) -> list[str]:
    """Kernels that can be booted and that some module is built for."""
    used = {name for spec in manifest.artifacts for name in spec.kernels}
    usable = [spec for spec in manifest.kernels if spec.name in used and spec.provider not in NOT_BOOTED]
    known = [spec.name for spec in usable]
    if given:
        return matrix.names(given, known, "kernel that can be booted")
    return [spec.name for spec in usable if not spec.on_request]


def _suites(manifest: Manifest, given: str) -> list[SuiteSpec]:
    known = [spec.name for spec in manifest.suites]
    for name in given.split(",") if given and given != matrix.ALL else ():
        if name not in known:
            raise UsageError(f"the suite '{name}' is not defined{nearest(name, [*known, matrix.ALL])}")
    if given == matrix.ALL:
        return [spec for spec in manifest.suites if not adapters.missing(spec, manifest.root)]
    return [spec for spec in manifest.suites if (spec.name in given.split(",") if given else not spec.on_request)]


def _of_suite(manifest: Manifest, kernel: str, suite: SuiteSpec, shards: int, *, fresh: bool) -> list[Cell]:
    """Its artifacts dealt to the shards in turn; a suite that compares them with each other stays whole."""
    fitting = [name for name in suite.artifacts if _fits(manifest.artifact(name), kernel)]
    if not fitting:
        return []
    count = 1 if suite.name in TOGETHER else min(shards, len(fitting))
    has_seed = "seed" in dict(suite.options)
    return [
        Cell(
            kernel,
            suite.name,
            number + 1,
            count,
            tuple(fitting[number::count]),
            str(secrets.randbits(_SEED_BITS)) if fresh and has_seed else "",
        )
        for number in range(count)
    ]


def _fits(spec: ArtifactSpec, kernel: str) -> bool:
    return spec.kind is not Kind.KERNEL_MODULE or kernel in spec.kernels
