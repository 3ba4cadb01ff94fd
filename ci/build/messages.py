# SPDX-License-Identifier: Apache-2.0
"""Warnings and first errors out of compiler output."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# GCC and clang: file:line[:column]: severity: text. Linkers and modpost say "ERROR: modpost: …" without a place.
_PLACED = re.compile(r"^(?P<file>[^\s:][^:]*):(?P<line>\d+)(?::\d+)?:\s+(?P<severity>fatal error|error|warning):\s+(?P<text>.*)$")
_BARE = re.compile(r"^(?:.*\b)?(?P<severity>ERROR|error|WARNING|\*\*\*)(?:\s*:|\s)\s*(?P<text>.*)$")
# A tool that make could not start, or a rule that failed without a word from a compiler.
_MAKE = re.compile(
    r"^(?:/bin/sh: \d+: (?P<missing>.+: not found)"
    r"|make(?:\[\d+\])?: (?P<absent>[^*:\s][^:]*: (?:No such file or directory|Permission denied))"
    r"|make(?:\[\d+\])?: \*\*\* (?P<rule>\[.*\] Error \d+|No rule to make target .*|.*: No such file or directory)(?:\.  Stop\.)?)$"
)
LEAST_FREE_BYTES = 1 << 20
# Said by every out-of-tree build where the distribution ships no vmlinux; nothing that a module could change.
_NOT_OURS = ("Skipping BTF generation", "the compiler differs from the one used to build the kernel")


@dataclass(frozen=True)
class Message:
    """One message of a compiler: `place` is `file:line`, or empty."""

    severity: str
    place: str
    text: str

    def __str__(self) -> str:
        return f"{self.place}: {self.text}" if self.place else self.text


def from_log(text: str, rename: tuple[str, str] = ("", "")) -> list[Message]:
    """The messages of a make log, each once, in the order of their first appearance.

    `rename` replaces the build folder by the folder that a person edits.
    """
    found: dict[Message, None] = {}
    for raw in text.splitlines():
        if any(phrase in raw for phrase in _NOT_OURS):
            continue
        line = raw.replace(*rename) if rename[0] else raw
        placed = _PLACED.match(line)
        if placed:
            severity = "warning" if placed["severity"] == "warning" else "error"
            found[Message(severity, f"{placed['file']}:{placed['line']}", placed["text"])] = None
            continue
        rule = _MAKE.match(line)
        if rule:
            found[Message("error", "", rule["missing"] or rule["absent"] or rule["rule"])] = None
            continue
        bare = _BARE.match(line)
        if bare and not line.startswith("make"):
            severity = "warning" if bare["severity"] == "WARNING" else "error"
            found[Message(severity, "", line.strip())] = None
    return list(found)


def cargo_messages(path: Path) -> list[dict[str, Any]]:
    """Cargo's JSON messages, one a line; other lines (a build script's output) are left out."""
    rows = []
    for line in path.read_text(errors="backslashreplace").splitlines():
        if line.startswith("{"):
            rows.append(json.loads(line))
    return rows


def from_cargo(rows: list[dict[str, Any]], folder: str) -> list[Message]:
    """The compiler's messages out of cargo's, places relative to the project through `folder`."""
    found: dict[Message, None] = {}
    for row in rows:
        if row.get("reason") != "compiler-message":
            continue
        message = row["message"]
        if message["level"] not in ("error", "warning") or not message["spans"]:
            continue
        span = next((s for s in message["spans"] if s["is_primary"]), message["spans"][0])
        found[Message(message["level"], f"{folder}/{span['file_name']}:{span['line_start']}", message["message"])] = None
    return list(found)


def disk_full(text: str, folder: Path) -> bool:
    """True where a build in `folder` failed because nothing more could be written: no fault of the sources.

    Not every tool says so (a linker that writes through a mapping dies of SIGBUS), so the disk itself is asked too.
    """
    space = os.statvfs(folder)
    return "No space left on device" in text or "os error 28" in text or space.f_bavail * space.f_frsize < LEAST_FREE_BYTES


def first_errors(messages: list[Message], limit: int = 3) -> list[Message]:
    """The compiler's first errors: later ones are most often consequences."""
    return [m for m in messages if m.severity == "error"][:limit]


def last_line(log: Path) -> str:
    """The end of a growing log in at most 80 characters, for a live line; only its tail is read, many times a second."""
    with open(log, "rb") as file:
        file.seek(0, os.SEEK_END)
        file.seek(max(0, file.tell() - 400))
        lines = file.read().decode(errors="replace").strip().splitlines()
    return lines[-1].strip()[:80] if lines else ""


def last_words(log: Path) -> str:
    """The last line of a log for a message, or that there is none."""
    lines = log.read_text(errors="backslashreplace").strip().splitlines()
    return lines[-1].strip() if lines else "it said nothing"
