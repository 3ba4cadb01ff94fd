# SPDX-License-Identifier: Apache-2.0
"""One measurement as the agent in the guest gets it, and what comes back."""

from __future__ import annotations

import base64
import io
import json
import tarfile
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath

from ci.bench.guest.agent import RESULT_MARK, Job
from ci.bench.system import SIZE, System
from ci.bench.workloads import Setting, Workload
from ci.errors import InfrastructureError
from ci.guest import Guest, GuestResult
from ci.manifest import BenchmarkSpec
from ci.model import Verdict

STEP_SECONDS = 60.0
# The agent watches its steps itself; the host only steps in where the agent does not.
GRACE_SECONDS = 120.0


@dataclass(frozen=True)
class Place:
    """Where things lie in the guest: the payload, and the folder under which each measurement gets its own.

    `agent` is the Python that runs the agent, `python` the one that runs what the payload is asked beside it; `data` is the data set of
    each vector workload, with its sha256, and `missing` the reason where it could not be made; `spy` is py-spy. `tidy` means that the
    folder of a measurement is removed behind it. `inside` are words before the agent's command.
    """

    payload: str = "/opt/vexci/bench/bench.pyz"
    work: str = "/var/tmp/vexci-bench"
    python: str = "python3"
    data: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    missing: Mapping[str, str] = field(default_factory=dict)
    spy: str = ""
    tidy: bool = False
    inside: tuple[str, ...] = ()
    agent: str = "python3"


@dataclass(frozen=True)
class Outcome:
    """How one measurement ended. `folder` holds what the agent found; `leftover` what it could not clean away."""

    verdict: Verdict
    detail: str
    phase: str
    leftover: tuple[str, ...]
    folder: Path


def job(spec: BenchmarkSpec, system: System, workload: Workload, place: Place, label: str, *, warm_up: bool) -> Job:
    """The complete job of one system, workload and round; `label` names its folder in the guest."""
    folder = f"{place.work}/{label}"
    mountpoint = f"{folder}/mnt"

    def filled(words: tuple[str, ...]) -> list[str]:
        fields = {
            "{mountpoint}": mountpoint,
            "{work}": folder,
            "{artifact}": system.guest_path,
            "{python}": place.python,
            SIZE: f"{spec.size}M",
        }
        for key, value in fields.items():
            words = tuple(word.replace(key, value) for word in words)
        return list(words)

    return Job(
        system=system.name,
        filesystem=system.filesystem,
        folder=folder,
        mountpoint=mountpoint,
        setup=[filled(words) for words in system.setup],
        mount=filled(system.mount),
        foreground=system.foreground,
        below=filled(system.below),
        command=workload.tool.command(
            workload.options,
            Setting(
                directory=mountpoint,
                output=f"{folder}/out/{workload.tool.raw}",
                payload=place.payload,
                warm_up=warm_up,
                slowed=system.slowed,
                python=place.python,
                data=place.data.get(workload.name, ("", ""))[0],
                engine=system.engine,
                module=system.module,
                stored=filled((system.stored,))[0],
                url=system.url,
            ),
        ),
        raw=workload.tool.raw,
        artifact=system.guest_path,
        artifact_sha256=system.artifact.sha256 if system.artifact else "",
        step_deadline=min(STEP_SECONDS, spec.deadline),
        deadline=spec.deadline,
        silence=spec.silence,
        ready=filled(system.ready),
        after=[filled(words) for words in system.after],
        spy=place.spy,
    )


def perform(guest: Guest, job: Job, place: Place, folder: Path) -> Outcome:
    """Run the job in the guest and unpack what it found into `folder`. Raises what the guest raises where it is lost."""
    with tempfile.TemporaryDirectory(prefix="vexci-job-") as scratch:
        local = Path(scratch) / "job.json"
        local.write_text(json.dumps(asdict(job), indent=1) + "\n")
        guest.put(local, f"{job.folder}/job.json")
    deadline = job.deadline + job.step_deadline * (len(job.setup) + 6) + GRACE_SECONDS
    try:
        done = guest.run([*place.inside, place.agent, place.payload, "agent", f"{job.folder}/job.json"], deadline=deadline)
    finally:
        if place.tidy:
            guest.run(["rm", "-rf", "--one-file-system", job.folder], deadline=STEP_SECONDS)
    return _outcome(done, folder)


def _outcome(done: GuestResult, folder: Path) -> Outcome:
    line = next((line for line in reversed(done.stdout.splitlines()) if line.startswith(RESULT_MARK)), None)
    if line is None:
        words = (done.stderr or done.stdout).strip().splitlines()[-1:] or ["it said nothing"]
        raise InfrastructureError(f"the benchmark agent in the guest gave no verdict (exit {done.returncode}): {words[0]}")
    answer = json.loads(line[len(RESULT_MARK) :])
    unpack(base64.b64decode(answer["files"]), folder)
    result = answer["result"]
    return Outcome(Verdict(result["verdict"]), result["detail"], result["phase"], tuple(result["leftover"]), folder)


def unpack(data: bytes, folder: Path) -> None:
    """Write the regular files of a gzipped tar below `folder`; a name that leads elsewhere is refused."""
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as archive:
        for member in archive.getmembers():
            name = PurePosixPath(member.name)
            if not member.isfile():
                continue
            if name.is_absolute() or ".." in name.parts:
                raise InfrastructureError(f"the guest sent a file with the name {member.name!r}")
            content = archive.extractfile(member)
            assert content is not None  # of a regular file there always is one
            path = folder.joinpath(*name.parts)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.read())
