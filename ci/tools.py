# SPDX-License-Identifier: Apache-2.0
"""Versions of the programs on this machine, as they say themselves, remembered until a program changes."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from ci import packages, process, store
from ci.errors import VexciError

PROBE_SECONDS = 20.0
DOTTED = r"(\d+(?:\.\d+)+[\w.+~-]*)"
NUMBER = r"(\d[\w.+~-]*)"  # where it is known what stands before it, the number needs no dot


class Tool(NamedTuple):
    """How a program is asked for its version: arguments, and what stands before the number in its answer."""

    program: str
    args: tuple[str, ...] = ("--version",)
    before: str = ""


TOOLS: dict[str, Tool] = {
    "git": Tool("git"),
    "gcc": Tool("gcc", ("-dumpfullversion",)),
    "clang": Tool("clang", before="version "),
    "lld": Tool("ld.lld", before="LLD "),
    "ld": Tool("ld", before=r"Binutils[^)]*\) "),
    "make": Tool("make", before="Make "),
    "pahole": Tool("pahole", before="v"),
    "kmod": Tool("modinfo", before="version "),
    "sparse": Tool("sparse"),
    "rustc": Tool("rustc"),
    "cargo": Tool("cargo"),
    "rustfmt": Tool("rustfmt"),
    "clippy": Tool("cargo-clippy"),
    "qemu": Tool("qemu-system-x86_64", before="version "),
    "libvirtd": Tool("libvirtd"),
    "mmdebstrap": Tool("mmdebstrap"),
    "mke2fs": Tool("mke2fs", ("-V",)),
    "ssh": Tool("ssh", ("-V",), before="OpenSSH_"),
    "fusermount3": Tool("fusermount3"),
    "fio": Tool("fio", before="fio-"),
    "chromium": Tool("chromium"),
    "docker": Tool("docker"),
    "podman": Tool("podman"),
}
RUSTUP_PROXIES = {"rustc", "cargo", "rustfmt", "cargo-clippy"}


def versions(names: Iterable[str]) -> dict[str, str]:
    """Version by name of those tools that are on this machine and answer. Only what changed is asked again."""
    file = store.cache_dir() / "host" / "versions.json"
    known = _load(file)
    found: dict[str, str] = {}
    fresh: dict[str, str] = {}
    for name in names:
        path = packages.which(TOOLS[name].program)
        if path is None:
            continue
        key = _identity(path)
        answer = known.get(key)
        if answer is None:
            answer = ask(TOOLS[name], path)
            if answer:  # that it did not answer once, on a busy machine, is nothing to remember
                fresh[key] = answer
        if answer:
            found[name] = answer
    if fresh:
        store.atomic_write(file, json.dumps({**_load(file), **fresh}, indent=1, sort_keys=True))
    return found


def ask(tool: Tool, path: str) -> str:
    """The version that the program at `path` prints, or "" where it prints none or fails."""
    environment = {**os.environ, "LC_ALL": "C.UTF-8", "RUSTUP_AUTO_INSTALL": "0"}  # a question downloads nothing
    try:
        done = process.run([path, *tool.args], limits=process.Limits(PROBE_SECONDS), env=environment)
    except VexciError:
        return ""  # a program that cannot answer for its version is reported as one without
    match = re.search(tool.before + NUMBER if tool.before else DOTTED, done.text()) if done.ok else None
    return match.group(1) if match else ""


def _load(file: Path) -> dict[str, str]:
    try:
        content = json.loads(file.read_text())
    except (FileNotFoundError, ValueError):
        return {}  # nothing remembered: everything is asked again
    return content if isinstance(content, dict) else {}


def _identity(path: str) -> str:
    """Changes when the program does. A rustup proxy stays as it is when its toolchain changes, so that counts too."""
    info = os.stat(path)
    parts = [os.path.realpath(path), os.path.basename(path), info.st_mtime_ns, info.st_size]
    if os.path.basename(path) in RUSTUP_PROXIES:
        home = Path(os.environ.get("RUSTUP_HOME") or Path.home() / ".rustup")
        parts.append(os.environ.get("RUSTUP_TOOLCHAIN", ""))
        for place in (home / "settings.toml", home / "toolchains", *sorted(home.glob("update-hashes/*"))):
            parts.append(place.stat().st_mtime_ns if place.exists() else 0)
    return store.sha256_text(*map(str, parts))
