# SPDX-License-Identifier: Apache-2.0
"""The host's end of `guest/differ.py`: systems mounted side by side in one guest, and sequences that are sent to them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from ci.errors import Hang, InfrastructureError, ProductFailure
from ci.guest import Guest
from ci.manifest import ArtifactSpec, SuiteSpec
from ci.model import Artifact
from ci.process import scratch_file
from ci.validate import plan
from ci.validate.differential.differences import Answers
from ci.validate.differential.sequences import Operation

REFERENCE = "ext4"
SILENCE_SECONDS = 45.0


class Systems:
    """The reference and the product's mounts in a guest, from `begin` to `end`."""

    def __init__(self, machine: Guest, suite: SuiteSpec, subjects: Sequence[tuple[ArtifactSpec, Artifact]]) -> None:
        self._machine = machine
        self._suite = suite
        self._agent = plan.install_agent(machine)
        self._plans = [plan.reference(suite, REFERENCE), *(plan.make(suite, spec, artifact) for spec, artifact in subjects)]
        self.names = tuple(str(facts["artifact"]) for facts in self._plans)
        self.operations = 0

    def begin(self) -> None:
        """Mount all; ProductFailure or Hang where one does not mount."""
        self._ask("begin")

    def end(self) -> None:
        """Unmount all, and check their volumes where the manifest says how."""
        self._ask("end")

    def run(self, sequences: Sequence[list[Operation]], *, remount: bool = False, say: Callable[[str], None] | None = None) -> list[Any]:
        """For each sequence the answers of each system, by its name."""
        told: list[dict[str, Answers]] = []

        def event(message: dict[str, Any]) -> None:
            if message["event"] == "sequence":
                told.append(message["systems"])
                if say is not None:
                    say(f"{len(told)}/{len(sequences)}")
            elif message["event"] == "again":
                told[message["number"]][message["system"]]["again"] = message["tree"]

        self._ask("run", event, sequences=list(sequences), remount=remount)
        if len(told) != len(sequences):
            raise InfrastructureError(f"the agent answered {len(told)} of {len(sequences)} sequences")
        self.operations += sum(map(len, sequences))
        return told

    def _ask(self, step: str, event: Callable[[dict[str, Any]], None] | None = None, **more: Any) -> None:
        local = scratch_file("differ.json")
        local.write_text(json.dumps({"systems": self._plans, **more}))
        remote = f"{plan.WORK_FOLDER}/differ-{step}.json"
        self._machine.put(local, remote)
        problems: list[dict[str, Any]] = []
        done: list[bool] = []

        def on_line(line: str) -> None:
            message = json.loads(line)
            if message["event"] == "problem":
                problems.append(message)
            elif message["event"] == "done":
                done.append(True)
            elif event is not None:
                event(message)

        argv = ["python3", self._agent, "differ", step, remote]
        result = self._machine.run(argv, deadline=self._suite.deadline, silence=SILENCE_SECONDS, on_line=on_line)
        if problems:
            raise _error(problems[0])
        if result.returncode != 0 or not done:
            last = result.stderr.strip().splitlines()[-1:] or ["it said nothing"]
            raise InfrastructureError(f"the agent in the guest ended early (exit {result.returncode}): {last[0]}")


def _error(problem: dict[str, Any]) -> ProductFailure:
    sentence = f"{problem['system']}: {problem['text']}" if problem["system"] else str(problem["text"])
    return Hang(sentence) if problem["verdict"] == "hang" else ProductFailure(sentence)
