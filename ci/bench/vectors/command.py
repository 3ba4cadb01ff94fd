# SPDX-License-Identifier: Apache-2.0
"""`vectors …` measures one engine, `vectors-data …` makes a data set, `vectors-sentences …` the vectors of texts for one.

Each ends with exit 1 and a sentence where it cannot.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from ci.bench.vectors import data
from ci.bench.vectors.engine import EngineError, Where
from ci.bench.vectors.measure import Measurement, Plan


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(","))


def main(arguments: list[str]) -> int:
    """Measure; the result goes to --output."""
    parser = argparse.ArgumentParser(prog="vectors")
    parser.add_argument("--engine", required=True)
    parser.add_argument("--directory", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--phases", required=True)
    parser.add_argument("--ks", type=_numbers, required=True)
    parser.add_argument("--efforts", type=_numbers, required=True)
    parser.add_argument("--threads", type=_numbers, required=True)
    parser.add_argument("--singles", type=int, required=True)
    parser.add_argument("--floor", type=float, required=True)
    parser.add_argument("--url", default="")
    parser.add_argument("--process", type=int, default=0)
    parser.add_argument("--module", type=Path)
    parser.add_argument("--stored", type=Path)
    parser.add_argument("--slowed", action="store_true")
    given = parser.parse_args(arguments)
    where = Where(given.directory, given.url, given.process, given.module, given.stored)
    plan = Plan(tuple(given.phases.split(",")), given.ks, given.efforts, given.threads, given.singles, given.floor, given.slowed)
    try:
        measurement = Measurement(given.engine, where, data.load(given.data), plan, lambda text: print(text, flush=True))
        result = measurement.run()
    except EngineError as error:
        print(f"vectors: {error}", flush=True)
        return 1
    given.output.write_text(json.dumps(result, indent=1) + "\n")
    return 0


def prepare(arguments: list[str]) -> int:
    """Make a data set and print its fingerprint as the last line."""
    parser = argparse.ArgumentParser(prog="vectors-data")
    parser.add_argument("--name", required=True)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--dimension", type=int, required=True)
    parser.add_argument("--queries", type=int, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--source", type=Path)
    parser.add_argument("--output", type=Path, required=True)
    given = parser.parse_args(arguments)
    try:
        data.make(given.name, given.count, given.dimension, given.queries, given.seed, given.source, given.output)
    except EngineError as error:
        print(f"vectors-data: {error}", flush=True)
        return 1
    print(data.fingerprint(given.output), flush=True)
    return 0


def sentences(arguments: list[str]) -> int:
    """Encode the lines of a file with the model of a folder, and write them as .npy."""
    parser = argparse.ArgumentParser(prog="vectors-sentences")
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--texts", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    given = parser.parse_args(arguments)
    from ci.bench.vectors.sentences import Encoder

    texts = given.texts.read_text().splitlines()
    try:
        found = Encoder(given.model).encode(texts, lambda done: print(f"{done} of {len(texts)}", flush=True))
    except (EngineError, ImportError) as error:
        print(f"vectors-sentences: {error}", flush=True)
        return 1
    np.save(given.output, found)
    return 0
