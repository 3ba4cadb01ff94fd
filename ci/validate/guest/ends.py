# SPDX-License-Identifier: Apache-2.0
"""Files that were cut off within a block and grow again: what the disk still has behind their old end must not come back.

The bytes between a file's size and the end of its block may be anything on the disk (docs/format.md, section 7). Where the new size is
durable before the new contents are, they are read: then they have to be zeros.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from .checker import judge
from .context import Context, Failed
from .fileops import pattern, read

_FIRST, _CUT, _BEGIN, _SIZE = 13_300, 11_765, 3_542, 54_983
_LATER, _LONGER, _SHORTER = 40_000, 63_525, 45_414
_SECTOR = 512


class _Way(NamedTuple):
    """How a file grows: from where it is written, the size that it then has, and where a sector is written once more with O_DSYNC."""

    begin: int
    size: int
    later: int = 0


_WAYS = {
    "longer": _Way(_BEGIN, _LONGER),
    "shorter": _Way(_BEGIN, _SHORTER),
    "appended": _Way(_CUT, _SHORTER),
    "synced": _Way(_BEGIN, _BEGIN + _SIZE, later=_LATER),
}


def change(t: Context) -> None:
    """Make the files, cut them off, which is promised, and let each grow in its own way, of which the sizes are promised."""
    for name in _WAYS:
        with _opened(t, name, os.O_CREAT) as file:
            _write(t, file, 0, _old(name))
            os.fsync(file)
            os.ftruncate(file, _CUT)
            os.fsync(file)
    for name, way in _WAYS.items():
        t.op(f"let {name} grow")
        with _opened(t, name) as file:
            _grow(t, name, way, file)
    t.op(f"fsync the directory {t.plan.mountpoint}")
    folder = os.open(t.plan.mountpoint, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def check(t: Context) -> str:
    """Compare the files with what they may be now; says what was seen. Raises Failed."""
    zeros, wrong = 0, list[str]()
    for name, way in _WAYS.items():
        data = read(t, t.path(name))
        written, sector = _new(name, way.begin), slice(way.later, way.later + _SECTOR)
        past = [_old(name)[:_CUT], written, written.ljust(way.size, b"\0")[: way.size]]
        if problem := judge(data, past):
            wrong.append(f"{name}, cut off at {_CUT} and grown to {way.size}: {problem}")
        elif way.later and data[sector] != written[sector]:
            wrong.append(f"{name}: what was written with O_DSYNC at {way.later} is not there")
        else:
            zeros += data[_CUT] == 0
    if wrong:
        raise Failed("; ".join(wrong))
    return f"{len(_WAYS)} files grew, {zeros} of them have zeros behind their old ends"


def _grow(t: Context, name: str, way: _Way, file: int) -> None:
    new = _new(name, way.begin)
    _write(t, file, way.begin, new[way.begin :])
    if way.later:
        with _opened(t, name, os.O_DSYNC) as other:
            _write(t, other, way.later, new[way.later : way.later + _SECTOR])
    else:
        os.ftruncate(file, way.size)


def _old(name: str) -> bytes:
    return pattern(f"old {name}", _FIRST)


def _new(name: str, begin: int) -> bytes:
    """The whole contents after the write at `begin`."""
    return _old(name)[:begin] + pattern(f"new {name}", _SIZE)


@contextmanager
def _opened(t: Context, name: str, flags: int = 0) -> Iterator[int]:
    file = os.open(t.path(name), os.O_WRONLY | flags, 0o600)
    try:
        yield file
    finally:
        os.close(file)


def _write(t: Context, file: int, offset: int, data: bytes) -> None:
    t.equal(f"write at {offset}", os.pwrite(file, data, offset), len(data))
