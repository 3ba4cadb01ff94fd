# SPDX-License-Identifier: Apache-2.0
"""Workloads, one tool a file: which command runs in the guest, and what its own result file says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ci.bench.workloads.fio import Fio
from ci.bench.workloads.metadata import METADATA, TREE
from ci.bench.workloads.metric import Metric, Setting
from ci.bench.workloads.vectors import Vectors
from ci.errors import UsageError
from ci.manifest import WorkloadSpec


class Tool(Protocol):
    """What a workload's tool must offer. `options` are always the complete ones."""

    raw: str

    def options(self, given: Mapping[str, str]) -> dict[str, str]:
        """The defaults with the manifest's options over them; UsageError where one is wrong."""
        ...

    def metrics(self, options: Mapping[str, str]) -> tuple[Metric, ...]: ...

    def command(self, options: Mapping[str, str], setting: Setting) -> list[str]: ...

    def values(self, path: Path, options: Mapping[str, str]) -> dict[str, float]:
        """The value of each metric from the raw result file; ProductFailure where it shows an error or no work."""
        ...

    def absent(self, path: Path) -> dict[str, str]:
        """The metrics that this system does not have, each with the reason."""
        ...

    def dimensions(self, options: Mapping[str, str], metric: Metric, facts: Mapping[str, str]) -> dict[str, str]:
        """What the metric depends on besides the options; `facts` are what the system said of itself."""
        ...


_TOOLS: dict[str, Tool] = {"fio": Fio(), "metadata": METADATA, "tree": TREE, "vectors": Vectors()}


@dataclass(frozen=True)
class Workload:
    """One workload with its complete options, checked."""

    name: str
    tool_name: str
    tool: Tool
    options: dict[str, str]

    @property
    def metrics(self) -> tuple[Metric, ...]:
        return self.tool.metrics(self.options)

    @property
    def stated(self) -> str:
        """The complete options in one line, as they stand in the fingerprint."""
        return " ".join(f"{key}={value}" for key, value in sorted(self.options.items()))


def workload(spec: WorkloadSpec) -> Workload:
    """The checked workload; UsageError names the workload and what is wrong."""
    tool = _TOOLS.get(spec.tool)
    if tool is None:
        raise UsageError(f"workload '{spec.name}': the tool '{spec.tool}' is not known", hint=f"tools: {', '.join(_TOOLS)}")
    try:
        return Workload(spec.name, spec.tool, tool, tool.options(dict(spec.options)))
    except UsageError as error:
        raise UsageError(f"workload '{spec.name}': {error.message}", hint=error.hint) from error


__all__ = ["Metric", "Setting", "Tool", "Workload", "workload"]
