# SPDX-License-Identifier: Apache-2.0
"""Runs in a guest: what a large volume, a large file and a large directory answer. `sizes_in_guest.py STEP [COUNT] MOUNT`."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

TIB = 1 << 40
BLOCK = 4096
PLACES = (0, TIB // 2, TIB - 2 * BLOCK)


def room(mount: str) -> dict[str, Any]:
    """How large the volume is, and which share of it is free."""
    status = os.statvfs(mount)
    return {"TiB": status.f_blocks * status.f_frsize / TIB, "free": status.f_bfree / status.f_blocks}


def text(place: int) -> bytes:
    return f"at {place}".encode().ljust(2 * BLOCK, b".")


def fill(mount: str) -> dict[str, Any]:
    """Two blocks at the begin, in the middle and at the end of 1 TiB."""
    handle = os.open(f"{mount}/large", os.O_CREAT | os.O_RDWR)
    for place in PLACES:
        os.pwrite(handle, text(place), place)
    os.fsync(handle)
    status = os.fstat(handle)
    os.close(handle)
    return {"size": status.st_size, "blocks": status.st_blocks // 8}


def look(mount: str) -> dict[str, Any]:
    """What is there, where the data are, and what is left when half of it is cut off."""
    handle = os.open(f"{mount}/large", os.O_RDWR)
    told: dict[str, Any] = {"right": all(os.pread(handle, 2 * BLOCK, place) == text(place) for place in PLACES), "data": []}
    at = 0
    while at < TIB:
        told["data"].append(os.lseek(handle, at, os.SEEK_DATA))
        at = os.lseek(handle, told["data"][-1], os.SEEK_HOLE)
    os.ftruncate(handle, TIB // 2 + BLOCK)
    os.ftruncate(handle, TIB // 2)
    os.fsync(handle)
    kept = os.pread(handle, 2 * BLOCK, PLACES[0]) == text(PLACES[0])
    status = os.fstat(handle)
    told["right"] = told["right"] and kept
    told["after the cut"] = [status.st_size, status.st_blocks // 8]
    os.close(handle)
    return told


def names(count: int, mount: str) -> dict[str, Any]:
    """Makes so many files in one directory."""
    folder = f"{mount}/many"
    os.mkdir(folder)
    for number in range(count):
        os.close(os.open(f"{folder}/name-{number}", os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    return {"listed": len(set(os.listdir(folder)))}


def found(count: int, mount: str) -> dict[str, Any]:
    """Finds each of them, and removes them all."""
    folder = f"{mount}/many"
    listed = set(os.listdir(folder))
    wrong = sum(f"name-{number}" not in listed or os.lstat(f"{folder}/name-{number}").st_size != 0 for number in range(count))
    for number in range(count):
        os.unlink(f"{folder}/name-{number}")
    left = len(os.listdir(folder))
    os.rmdir(folder)
    return {"listed": len(listed), "wrong": wrong, "left": left}


def main() -> None:
    step, *count, mount = sys.argv[1:]
    steps = {"room": room, "fill": fill, "look": look}
    told = steps[step](mount) if not count else {"names": names, "found": found}[step](int(count[0]), mount)
    print(json.dumps(told))


if __name__ == "__main__":
    main()
