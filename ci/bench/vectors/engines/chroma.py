# SPDX-License-Identifier: Apache-2.0
"""ChromaDB, the same calls embedded (`PersistentClient`) and against its own server. Embeddings are given: nothing is downloaded.

A collection's `ef_search` is read when its index is loaded, and a changed one is only written down (1.5.9): the index that is loaded
goes on with the old one. So each change is followed by opening everything again, and for the server that is a new process.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from ci.bench.vectors.engine import DURABLE, STAYS, Engine, EngineError, Ids, Vectors, Where

NAME = "vexci-bench"
EFFORT = 100  # ChromaDB's own default
AGAIN_SECONDS = 60.0


class Embedded(Engine):
    """HNSW that is built while inserting; each add is in SQLite's log, synced, when it returns."""

    exact = False
    durability = DURABLE
    _client: Any = None
    _collection: Any = None
    _effort = 0

    def __init__(self, where: Where) -> None:
        super().__init__(where)
        import chromadb

        self._chroma: Any = chromadb

    def _connect(self) -> Any:
        return self._chroma.PersistentClient(path=str(self.where.folder), settings=self._settings())

    def _settings(self) -> Any:
        from chromadb.config import Settings

        return Settings(anonymized_telemetry=False)

    def version(self) -> str:
        self._client = self._connect()
        return f"chroma {self._client.get_version()}, {self._where_it_runs()}"

    def _where_it_runs(self) -> str:
        return "embedded"

    def create(self, dimension: int) -> None:
        how = {"hnsw": {"space": "l2", "ef_search": EFFORT}}
        self._collection = self._client.create_collection(NAME, embedding_function=None, configuration=how)
        self._effort = EFFORT

    def insert(self, ids: Ids, vectors: Vectors) -> None:
        self._collection.add(ids=[str(number) for number in ids.tolist()], embeddings=vectors)

    def search(self, query: Vectors, k: int, ef: int) -> Ids:
        if ef and ef != self._effort:
            self._collection.modify(configuration={"hnsw": {"ef_search": ef}})
            self._load_again()
            self._effort = ef
        found = self._collection.query(query_embeddings=query[None, :], n_results=k, include=[])
        return np.array([int(name) for name in found["ids"][0]], np.int64)

    def _load_again(self) -> None:
        self.reopen()

    def delete(self, ids: Ids) -> None:
        self._collection.delete(ids=[str(number) for number in ids.tolist()])

    def reopen(self) -> None:
        self.close()
        self._client = self._connect()
        self._collection = self._client.get_collection(NAME, embedding_function=None)

    def count(self) -> int:
        return int(self._collection.count())

    def close(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = self._collection = None


class Server(Embedded):
    """`chroma run` beside this process, over HTTP on loopback. To open again is to connect again: the server stays."""

    opened = STAYS

    def _connect(self) -> Any:
        address = urlsplit(self.where.url)
        if not address.hostname or not address.port:
            raise EngineError(f"'{self.where.url}' is no address of a server")
        return self._chroma.HttpClient(host=address.hostname, port=address.port, settings=self._settings())

    def _where_it_runs(self) -> str:
        return "server"

    def create(self, dimension: int) -> None:
        if NAME in {each.name for each in self._client.list_collections()}:
            self.drop()
        super().create(dimension)

    def efforts(self, asked: tuple[int, ...]) -> tuple[int, ...]:
        """One that was given is not ours to start anew, and keeps the effort with which the collection was made."""
        return asked if self.where.process else (EFFORT,)

    def _load_again(self) -> None:
        """Let the process beside this one start its server anew, and wait for that one's answer."""
        before, end = self._running(), time.monotonic() + AGAIN_SECONDS
        self.close()  # a server that is asked to end waits for its connections
        os.kill(self.where.process, signal.SIGHUP)
        while True:
            try:
                if self._running().isdisjoint(before):
                    self.reopen()
                    return
                seen = "the old one still runs"
            except (OSError, ValueError, self._chroma.errors.ChromaError) as error:
                seen = str(error)
            if time.monotonic() > end:
                raise EngineError(f"ChromaDB's server did not come back within {AGAIN_SECONDS:g} s with another effort: {seen}")
            time.sleep(0.05)

    def _running(self) -> set[int]:
        """The servers below the process beside this one; OSError where there is none, or that process has ended."""
        tasks = Path(f"/proc/{self.where.process}/task").iterdir()
        found = {int(child) for task in tasks for child in (task / "children").read_text().split()}
        if not found:
            raise ProcessLookupError("no server runs")
        return found

    def drop(self) -> None:
        self._client.delete_collection(NAME)

    def unseen(self) -> dict[str, str]:
        if self.where.process:
            return {}
        return dict.fromkeys(("memory", "disk"), "the server was given by its address: what it takes cannot be seen from here")

    def worker(self) -> Engine:
        other = Server(self.where)
        other._client = other._connect()
        other._collection = other._client.get_collection(NAME, embedding_function=None)
        other._effort = self._effort
        return other
