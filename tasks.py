# SPDX-License-Identifier: Apache-2.0
"""The tasks of vexci as Invoke finds them. What each does is in ci/tasks."""

from __future__ import annotations

from typing import Any

from invoke.collection import Collection
from invoke.tasks import Task

from ci.tasks import artifacts, guests, project, records, releases, running, whole


def _collection(name: str, default: Task[Any], *others: Task[Any]) -> Collection:
    """Tasks of one name, of which the first is called by that name alone."""
    made = Collection(name, *others)
    made.add_task(default, default=True)
    return made


ns = Collection(
    artifacts.build,
    artifacts.verify,
    artifacts.kernels,
    running.dev,
    running.deploy,
    running.validate,
    running.bisect,
    running.bench,
    records.report,
    records.runs,
    records.clean,
    project.doctor,
    project.test,
    project.lint,
)
ns.add_collection(_collection("ci", whole.ci, whole.ci_matrix, whole.ci_farm, whole.ci_cost))
ns.add_collection(_collection("release", releases.release, releases.release_verify, releases.release_prove))
ns.add_collection(Collection("image", guests.image_build, guests.image_list))
ns.add_collection(Collection("vm", guests.vm_up, guests.vm_list, guests.vm_ssh, guests.vm_console, guests.vm_down, guests.vm_prune))
