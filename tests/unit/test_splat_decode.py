# SPDX-License-Identifier: Apache-2.0
"""symbol+offset becomes file:line by the debug information of the build that ran, and by no other."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from ci import splat
from ci.identity import built_ids

pytestmark = pytest.mark.unit
# Two sections that both begin at 0, an inlined function, and two functions of one name in two files.
ONE = """\
extern volatile int cell;
static inline __attribute__((always_inline)) int inner(int *where)
{
	return *where + cell;
}
int __attribute__((noinline)) outer(int *where)
{
	return inner(where) * 3;
}
int __attribute__((section(".init.text"))) starts(int *where)
{
	cell++;
	return outer(where) + 1;
}
static __attribute__((used, noinline)) int twin(void) { return cell; }
"""
TWO = """\
volatile int cell;
static __attribute__((used, noinline)) int twin(void)
{
	return cell * cell * cell + 5;
}
"""


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Linked as a module is: relocatable, with a build id."""
    folder = tmp_path_factory.mktemp("module")
    for name, text in (("one.c", ONE), ("two.c", TWO)):
        (folder / name).write_text(text)
    subprocess.run(["gcc", "-g", "-O2", "-c", "one.c", "two.c"], cwd=folder, check=True)
    subprocess.run(["ld", "-r", "--build-id", "-o", "demo-fs.ko", "one.o", "two.o"], cwd=folder, check=True)
    return folder / "demo-fs.ko"


def sizes(path: Path, name: str) -> list[int]:
    with open(path, "rb") as file:
        table = ELFFile(file).get_section_by_name(".symtab")
        assert isinstance(table, SymbolTableSection)
        return [int(entry["st_size"]) for entry in table.iter_symbols() if entry.name == name]


def one(text: str, path: Path, build_id: str) -> splat.Splat:
    (found,) = splat.scan(text)
    return splat.decode(found, [splat.Decoder(path, build_id)])


def oops(path: Path, extra: str = "") -> str:
    (outer,), (starts,) = sizes(path, "outer"), sizes(path, "starts")
    rows = (
        "BUG: kernel NULL pointer dereference, address: 0000000000000000",
        f"RIP: 0010:outer+0x0/{outer:#x} [demo_fs{extra}]",
        "Call Trace:",
        " <TASK>",
        f" ? outer+0x5/{outer:#x} [demo_fs{extra}]",
        f" starts+{starts - 1:#x}/{starts:#x} [demo_fs{extra}]",
        " do_one_initcall+0x1/0x2",
        " </TASK>",
        "---[ end trace 0000000000000000 ]---",
    )
    return "".join(f"[    1.{number:06d}] {row}\n" for number, row in enumerate(rows))


def test_places_are_those_of_the_source_in_every_section_also_inlined(module: Path) -> None:
    seen = one(
        "[    0.500000] vexci: case list\n[    0.600000] vexci: operation readdir /mnt\n" + oops(module), module, built_ids(module).build_id
    )
    lines = seen.excerpt.splitlines()
    assert "RIP" in lines[1] and lines[1].endswith(("  <- one.c:4, inlined at one.c:8", "  <- one.c:7"))
    assert lines[5].rpartition("one.c:")[2] in ("13", "14") and "<-" in lines[5], "a section of its own, and the instruction before"
    assert "<-" not in lines[6], "the kernel's own functions are not in the module"
    assert "one.c:" in seen.place and seen.place.endswith("(outer+0x0)")
    assert seen.sentence == (
        f"K1 BUG: kernel NULL pointer dereference, address: 0000000000000000 at {seen.place} (during: case list: readdir /mnt)"
    )


def test_functions_of_one_name_are_told_apart_by_their_size(module: Path) -> None:
    small, large = sorted(sizes(module, "twin"))
    assert small != large
    decoder = splat.Decoder(module, built_ids(module).build_id)
    assert decoder.places("twin", 0, small, exact=True) == ["one.c:15"]
    assert decoder.places("twin", 0, large, exact=True) == ["two.c:4"]
    assert decoder.places("twin", 0, large + small, exact=True) == [], "neither: no place is better than a wrong one"


def test_another_build_decodes_nothing_and_says_so(module: Path, tmp_path: Path) -> None:
    seen = one(oops(module), module, "00" * 20)
    assert seen.place == "" and "<-" not in seen.excerpt
    assert seen.excerpt.splitlines()[-1].startswith(f"(not decoded: {module} is another build now (build id ")
    gone = one(oops(module), tmp_path / "demo-fs.ko", "00")
    assert "cannot be read" in gone.excerpt
    printed = one(oops(module, " 0123456789abcdef"), module, built_ids(module).build_id)
    assert "the guest ran demo_fs of build id 0123456789abcdef" in printed.excerpt


def test_a_stripped_module_is_said_to_have_no_debug_information(module: Path, tmp_path: Path) -> None:
    bare = tmp_path / "demo-fs.ko"
    subprocess.run(["strip", "--strip-debug", "-o", bare, module], check=True)
    assert one(oops(bare), bare, built_ids(bare).build_id).excerpt.endswith(f"(not decoded: {bare} has no debug information)")
