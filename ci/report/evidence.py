# SPDX-License-Identifier: Apache-2.0
"""Links to the files that a record names, each looked at before it is linked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote

from ci.store import sha256_file


@dataclass(frozen=True)
class Link:
    """A file as a reader finds it. `href` is relative to the run folder; empty where there is nothing to open.

    `state` is "" where the file is there and has the recorded hash, else the sentence that says what is wrong.
    """

    kind: str
    path: str
    sha256: str
    href: str
    state: str

    @property
    def name(self) -> str:
        return PurePosixPath(self.path).name or self.path


class Files:
    """Resolves evidence against one run folder; each file is hashed once. Those of a page that lies elsewhere are named, neither looked
    at nor linked."""

    def __init__(self, folder: Path, *, elsewhere: bool = False) -> None:
        self.folder = folder.resolve()
        self._elsewhere = elsewhere
        self._seen: dict[tuple[str, str], Link] = {}

    def link(self, item: Mapping[str, Any]) -> Link:
        """The link of one Evidence of a record."""
        key = (str(item["path"]), str(item["sha256"]))
        if key not in self._seen:
            self._seen[key] = self._look(str(item["kind"]), *key)
        found = self._seen[key]
        return Link(str(item["kind"]), found.path, found.sha256, found.href, found.state)

    def links(self, items: Sequence[Mapping[str, Any]]) -> tuple[Link, ...]:
        return tuple(self.link(item) for item in items)

    @property
    def wrong(self) -> list[Link]:
        """All files that were asked for and are not as recorded."""
        return [link for link in self._seen.values() if link.state]

    def _look(self, kind: str, path: str, sha256: str) -> Link:
        if self._elsewhere:
            return Link(kind, path, sha256, "", "")
        full = (self.folder / path).resolve()
        if PurePosixPath(path).is_absolute() or not full.is_relative_to(self.folder):
            # It lies outside the run folder, so a link would break as soon as the folder is copied.
            return Link(kind, path, sha256, "", "" if full.is_file() else "missing")
        if not full.is_file():
            return Link(kind, path, sha256, "", "missing")
        state = "" if sha256_file(full) == sha256 else "changed since it was recorded"
        return Link(kind, path, sha256, quote(path), state)
