# SPDX-License-Identifier: Apache-2.0
"""What is measured: an engine that holds vectors under numbers from 0, and what it must say of itself."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]
Ids = NDArray[np.int64]

DURABLE = "durable before the clock stops"
LOGGED = "in a log that is synced some seconds later"
NOT_DURABLE = "none: gone when the process ends"

FROM_FILES = "the engine, from its files"
WRITTEN = "an index that is written to a file for it"
STAYS = "a connection; the server stays"
MOUNTED = "a collection; the file system stays mounted"


class EngineError(Exception):
    """The engine did not do what was asked, or is not what it should be; the sentence says what was seen."""


@dataclass(frozen=True)
class Where:
    """Where an engine lives: its empty `folder`, its `url` if it is a server, `process` that runs beside this one (0 if none).

    `module` is the file of a client library where the adapter loads one. `stored` is what holds the data where that is not the
    folder: the file of a mounted volume.
    """

    folder: Path
    url: str = ""
    process: int = 0
    module: Path | None = None
    stored: Path | None = None


class Engine(ABC):
    """One engine with one collection; distances are squared Euclidean (or order as these do).

    `exact` engines have no `ef`. `durability` says what holds when `commit` has returned; it is part of the fingerprint of
    every time that includes a write. `separate_index` is False where the index is built while inserting. `opened` says what `reopen`
    opens: those that differ in it are not compared by its time.
    """

    exact = True
    durability = NOT_DURABLE
    separate_index = False
    opened = FROM_FILES

    def __init__(self, where: Where) -> None:
        self.where = where

    @abstractmethod
    def version(self) -> str:
        """The version of what really runs, asked of itself."""

    @abstractmethod
    def create(self, dimension: int) -> None:
        """An empty collection."""

    @abstractmethod
    def insert(self, ids: Ids, vectors: Vectors) -> None:
        """Add vectors of shape (n, dimension) under new ids."""

    @abstractmethod
    def search(self, query: Vectors, k: int, ef: int) -> Ids:
        """The ids of the k nearest, nearest first; `ef` is the effort of an approximate engine, 0 for an exact one."""

    def efforts(self, asked: tuple[int, ...]) -> tuple[int, ...]:
        """Which of the efforts that are asked for a search can have; others where the engine cannot change its own."""
        return asked

    @abstractmethod
    def delete(self, ids: Ids) -> None:
        """Take vectors away."""

    @abstractmethod
    def reopen(self) -> None:
        """Close everything and open it again from what is stored."""

    @abstractmethod
    def count(self) -> int:
        """Vectors held, asked of the engine."""

    def commit(self) -> None:
        """Make everything before it as durable as `durability` says; nothing to do where each call does."""
        return None

    def index(self) -> str:
        """Build the index; a sentence that proves it from the engine's own answer."""
        return ""

    def worker(self) -> Engine:
        """The engine for one more thread that searches; itself where it may be shared."""
        return self

    def close(self) -> None:
        """Release everything; nothing to do for what lives in this process alone."""
        return None

    def drop(self) -> None:
        """Leave nothing in a server that goes on running; nothing to do where everything goes with the measurement's folder."""
        return None

    def unseen(self) -> dict[str, str]:
        """What cannot be measured of it from here (`memory`, `disk`), each with the reason."""
        return {}

    def stored(self) -> list[Path]:
        """The files or folders that hold the data, for the disk they take."""
        return [self.where.stored or self.where.folder]
