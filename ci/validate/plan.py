# SPDX-License-Identifier: Apache-2.0
"""Puts the agent into a guest and says what it is to do."""

from __future__ import annotations

import json
import secrets
import shlex
from collections.abc import Sequence

from ci import identity
from ci.errors import InfrastructureError
from ci.guest import Guest
from ci.manifest import ArtifactSpec, SuiteSpec
from ci.model import Artifact, Kind
from ci.process import scratch_file
from ci.validate import bundle
from ci.vm.boot import Provision

AGENT_FOLDER = "/opt/vexci/agent"
MOUNT_FOLDER = "/mnt/vexci"
WORK_FOLDER = "/run/vexci"
VOLUME_SIZE = "256M"
VOLUME_FOLDER = "/var/tmp"  # on the guest's disk: a volume may be larger than what memory is left
COMMAND_SECONDS = 30.0
REFERENCE = "reference"  # the kind of what is no artifact
REFERENCE_SIZE = "256M"


def install(machine: Guest, facts: dict[str, object]) -> tuple[str, ...]:
    """Put the plan, and the agent where these very bytes are not there yet; returns the argv that runs it."""
    agent = install_agent(machine)
    local = scratch_file("plan.json")
    local.write_text(json.dumps(facts, indent=1))
    remote = f"{AGENT_FOLDER}/{facts['suite']}-{facts['artifact']}.json"
    machine.put(local, remote)
    return "python3", agent, "run", remote


def install_agent(machine: Guest) -> str:
    """Put the agent where these very bytes are not there yet; returns its folder.

    It is unpacked, because Python keeps what it has compiled of files, but not of an archive: under emulation to compile the agent takes
    seconds, and it starts for each suite.
    """
    data, folder = _bundle()
    if machine.run(["test", "-e", f"{folder}/{bundle.ENTRY}"], deadline=COMMAND_SECONDS).returncode != 0:
        local = scratch_file("agent.zip")
        local.write_bytes(data)
        machine.put(local, f"{folder}.zip")
        unpacked = machine.run(_unpack(folder), deadline=COMMAND_SECONDS)
        if unpacked.returncode != 0:
            raise InfrastructureError(f"the guest cannot unpack the agent: {unpacked.stderr.strip()[-200:]}")
    return folder


def provision() -> Provision:
    """The agent as guests that are restored from memory have it: unpacked, compiled, and read once."""
    data, folder = _bundle()
    ready = f"{shlex.join(_unpack(folder))} && python3 -m compileall -q {folder} && cat $(find {folder} -name '*.pyc') > /dev/null"
    return Provision(data, f"{folder}.zip", ("sh", "-c", ready))


def _bundle() -> tuple[bytes, str]:
    """The agent, and the folder that these bytes have in a guest."""
    data = bundle.agent()
    return data, f"{AGENT_FOLDER}/{bundle.agent_name(data)}"


def _unpack(folder: str) -> list[str]:
    return ["python3", "-m", "zipfile", "-e", f"{folder}.zip", folder]


def make(
    suite: SuiteSpec,
    spec: ArtifactSpec,
    artifact: Artifact,
    only: tuple[str, ...] = (),
    others: Sequence[tuple[ArtifactSpec, Artifact]] = (),
    path: str = "",
) -> dict[str, object]:
    """What the agent is told, from the manifest alone; `Plan` in guest/context.py is the other end. `others` are deployed, too. `path`
    is where the artifact lies in the guest if that is not where deploy puts it."""
    path = path or identity.guest_path(artifact)
    marker = secrets.token_hex(8)
    mountpoint = f"{MOUNT_FOLDER}/{artifact.name}"
    work = f"{WORK_FOLDER}/{suite.name}-{artifact.name}-{marker}"
    volume = f"{VOLUME_FOLDER}/{suite.name}-{artifact.name}-{marker}.volume"
    module = artifact.kind is Kind.KERNEL_MODULE

    def filled(words: tuple[str, ...]) -> list[str]:
        fields = {"{artifact}": path, "{mountpoint}": mountpoint, "{volume}": volume, "{size}": VOLUME_SIZE}
        for field, value in fields.items():
            words = tuple(word.replace(field, value) for word in words)
        return list(words)

    return {
        "suite": suite.name,
        "artifact": artifact.name,
        "kind": artifact.kind.value,
        "file": path,
        "module": identity.module_name(artifact) if module else "",
        "expected_id": str(identity.built_ids(artifact.path)) if module else artifact.sha256,
        "filesystem": spec.filesystem,
        "prepare": [filled(command) for command in spec.prepare],
        "volume": volume,
        "mount": filled(spec.mount),
        "mountpoint": mountpoint,
        "work": work,
        "check": filled(spec.check),
        "repair": filled(spec.repair),
        "fsync": spec.fsync,
        "persistent": spec.persistent,
        "marker": marker,
        "deadline": suite.deadline,
        "operation_deadline": suite.operation_deadline,
        "only": list(only),
        "options": dict(suite.options),
        "lacks": dict(spec.lacks),
        "others": [make(suite, *other) for other in others],
    }


def reference(suite: SuiteSpec, filesystem: str, only: tuple[str, ...] = ()) -> dict[str, object]:
    """A plan for a file system of the guest's own kernel, on a volume of its own: what a suite asks for must be so there, too."""
    marker = secrets.token_hex(8)
    volume = f"{VOLUME_FOLDER}/{suite.name}-{filesystem}-{marker}.volume"
    mountpoint = f"{MOUNT_FOLDER}/{filesystem}"
    return {
        "suite": suite.name,
        "artifact": filesystem,
        "kind": REFERENCE,
        "file": "",
        "module": "",
        "expected_id": "",
        "filesystem": filesystem,
        # Blocks of 4 KiB, as the product has them: a small volume would get smaller ones.
        "prepare": [["truncate", "-s", REFERENCE_SIZE, volume], [f"mkfs.{filesystem}", "-q", "-b", "4096", volume]],
        "volume": volume,
        "mount": ["mount", "-t", filesystem, "-o", "loop", volume, mountpoint],
        "mountpoint": mountpoint,
        "work": f"{WORK_FOLDER}/{suite.name}-{filesystem}-{marker}",
        "persistent": True,
        "marker": marker,
        "deadline": suite.deadline,
        "operation_deadline": suite.operation_deadline,
        "only": list(only),
        "options": dict(suite.options),
    }
