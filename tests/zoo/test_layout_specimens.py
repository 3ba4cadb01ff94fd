# SPDX-License-Identifier: Apache-2.0
"""A layout that drifts between a C header and another language is found, whatever drifted (V7)."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ci import store
from ci.manifest import LayoutSpec
from ci.model import Artifact, Check, Kind
from ci.store import RunFolder
from ci.verify import layout
from ci.verify.subject import Subject
from tests import builds

pytestmark = pytest.mark.zoo

PLACE = Path(__file__).with_name("layouts")


def checked(folder: Path, text: str, header: str = "", command: tuple[str, ...] = ("cat", "{artifact}")) -> Check:
    """The check of `layouts/wire.h` (or of `header`) against a program that prints `text`."""
    wire, printed = folder / "wire.h", folder / "printed.json"
    shutil.copy(PLACE / "wire.h", wire)
    if header:
        wire.write_text(header)
    printed.write_text(text)
    sha256 = store.sha256_file(printed)
    made = Artifact("thing", Kind.DAEMON, printed, sha256, 1, (), builds.TRIPLE, None, "unknown", True, "", 0, 0, 0, False, "log")
    spec = replace(builds.DAEMON, layouts=(LayoutSpec("wire", wire, command),))
    (found,) = layout.checks(Subject(made, spec, None, "", RunFolder(folder)))
    assert found.id == "V7"
    return found


def good() -> dict[str, Any]:
    content: dict[str, Any] = json.loads((PLACE / "good.json").read_text())
    return content


def test_two_sides_that_agree_pass(tmp_path: Path) -> None:
    found = checked(tmp_path, json.dumps(good()))
    assert found.verdict.ok and found.detail == "2 structures, 2 numbers", found


def _set(*path: str | int, value: object) -> Callable[[dict[str, Any]], None]:
    def change(content: dict[str, Any]) -> None:
        at: Any = content
        for name in path[:-1]:
            at = at[name]
        at[path[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (_set("structs", "wire_reply", "size", value=36), "struct wire_reply has 40 bytes in C and 36 on the other side"),
        (_set("structs", "wire_reply", "fields", "at", "offset", value=12), "wire_reply.at is at 8 with 32 bytes in C, at 12 with 32"),
        (_set("structs", "wire_reply", "fields", "flags", "size", value=2), "wire_reply.flags is at 4 with 4 bytes in C, at 4 with 2"),
        (_set("structs", "wire_disk", "fields", "magic", "order", value="native"), "wire_disk.magic is little-endian in C and native"),
        (_set("structs", "wire_disk", "fields", "version", "order", value="big"), "wire_disk.version is little-endian in C and big"),
        (_set("constants", "WIRE_GET", value=2150127362), "WIRE_GET is 0x80285701 in C and 0x80285702 on the other side"),
        (_set("constants", "WIRE_MAGIC", value=1), "WIRE_MAGIC is 0x57495245 in C and 0x1 on the other side"),
        (_set("constants", "WIRE_PUT", value=1), "does not compile with what the other side names"),
        (lambda c: c["structs"].pop("wire_disk"), "struct wire_disk is only on the C side"),
        (lambda c: c["structs"]["wire_reply"]["fields"].pop("flags"), "wire_reply.flags is only on the C side"),
        (_set("structs", "wire_more", value={"size": 1, "fields": {}}), "struct wire_more is only on the other side"),
        (_set("structs", value=[]), "prints no layout"),
        (_set("constants", "x;int y", value=1), "is no name in C"),
    ],
)
def test_whatever_drifts_is_named_with_both_values(tmp_path: Path, change: Callable[[dict[str, Any]], None], says: str) -> None:
    content = good()
    change(content)
    found = checked(tmp_path, json.dumps(content))
    assert not found.verdict.ok and says in found.detail, found.detail


def test_a_field_that_grew_in_the_header_alone_is_found(tmp_path: Path) -> None:
    header = (PLACE / "wire.h").read_text().replace("__u32 flags;", "__u64 flags;")
    found = checked(tmp_path, json.dumps(good()), header)
    assert not found.verdict.ok and "wire_reply has 48 bytes in C and 40" in found.detail
    assert f"change {tmp_path / 'wire.h'} and the other side together" in found.detail


@pytest.mark.parametrize(
    ("command", "text", "says"),
    [
        (("cat", "{artifact}"), "no JSON", "prints no layout as docs/manifest.md describes it"),
        (("false",), "", "'false': exit 1"),
        (("vexci-no-such-program",), "", "is not installed"),
    ],
)
def test_a_side_that_says_nothing_does_not_pass(tmp_path: Path, command: tuple[str, ...], text: str, says: str) -> None:
    found = checked(tmp_path, text, command=command)
    assert not found.verdict.ok and says in found.detail


def test_a_header_that_does_not_compile_is_said_with_the_compilers_words(tmp_path: Path) -> None:
    found = checked(tmp_path, json.dumps(good()), "struct wire_reply { unknown_type x; };\n")
    assert not found.verdict.ok and "unknown type name" in found.detail
