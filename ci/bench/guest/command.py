# SPDX-License-Identifier: Apache-2.0
"""What the payload can be asked to do inside a guest. Each command imports its own: under emulation an import is slow."""

from __future__ import annotations

import json


def main(arguments: list[str]) -> int:
    """`agent JOB.json`, `metadata …`, `tree …`, `vectors …`, `vectors-data …`, `vectors-sentences …`, or `facts`."""
    name, rest = arguments[0], arguments[1:]
    if name == "agent":
        from ci.bench.guest import agent

        return agent.main(rest)
    if name == "metadata":
        from ci.bench.guest import metadata

        return metadata.main(rest)
    if name == "tree":
        from ci.bench.guest import tree

        return tree.main(rest)
    if name == "vectors":
        from ci.bench.vectors import command

        return command.main(rest)
    if name == "vectors-data":
        from ci.bench.vectors import command

        return command.prepare(rest)
    if name == "vectors-sentences":
        from ci.bench.vectors import command

        return command.sentences(rest)
    if name == "facts":
        from ci.bench.guest import facts

        print(json.dumps(facts.facts()))
        return 0
    raise SystemExit(f"unknown command: {name}")
