# SPDX-License-Identifier: Apache-2.0
"""The rules by which modules and daemons are judged, on small objects that gcc makes here."""

from __future__ import annotations

import struct
import subprocess
from pathlib import Path

import pytest

from ci import config
from ci.model import Verdict
from ci.pipeline import budget
from ci.verify import drift, libraries, module_code, module_file, module_objects, module_shape, module_symbols

pytestmark = pytest.mark.unit


def compiled(folder: Path, source: str, *flags: str) -> Path:
    (folder / "object.c").write_text(source)
    command = ["gcc", "-c", "-O2", "-fno-asynchronous-unwind-tables", *flags, "-o", folder / "object.o", folder / "object.c"]
    subprocess.run(command, check=True, timeout=60)
    return folder / "object.o"


def facts_of(path: Path) -> module_file.ModuleFile:
    facts = module_file.read(path)
    assert not isinstance(facts, str)
    return facts


@pytest.mark.parametrize(
    "code",
    [
        "addss %xmm1, %xmm0",
        "vaddps %ymm1, %ymm2, %ymm3",
        "vpxord %zmm1, %zmm2, %zmm3",
        "paddd %mm1, %mm0",
        "fld1",
        "fstp %st(0)",
        "fninit",
        "fwait",
        "emms",
        "vzeroupper",
        "ldmxcsr (%rax)",
        "kmovw %eax, %k1",
        "movdqa %xmm8, (%rsp)",
        "cvtsi2sd %eax, %xmm3",
    ],
)
def test_an_instruction_that_touches_vector_state_is_found_in_its_function(tmp_path: Path, code: str) -> None:
    source = f'void first(void) {{ }}\nvoid second(void) {{ asm volatile("{code}"); }}\nvoid third(void) {{ }}\n'
    (used,) = module_code.vector_use(compiled(tmp_path, source))
    assert [function for function, _ in used] == ["second"] and used.total() == 1


@pytest.mark.parametrize(
    "code",
    ["movq %fs:0x28, %rax", "rep stosq", "lock incl (%rax)", "prefetcht0 (%rax)", "lfence", "andn %rax, %rbx, %rcx", "crc32b %al, %ebx"],
)
def test_an_instruction_of_the_integer_unit_is_no_floating_point(tmp_path: Path, code: str) -> None:
    assert not any(module_code.vector_use(compiled(tmp_path, f'void only(void) {{ asm volatile("{code}"); }}\n')))


def test_code_built_with_fpic_has_relocations_that_the_loader_refuses(tmp_path: Path) -> None:
    source = "extern int far; int use(void) { return far; }\n"
    position = facts_of(compiled(tmp_path, source, "-fPIC"))
    (refused,) = [each for each in position.relocations if each.type not in module_code.X86_APPLIED]
    assert refused.symbol == "far" and position.place(refused.section, refused.offset).startswith("use() (.text+0x")
    kernel = facts_of(compiled(tmp_path, source, "-fno-pic", "-mcmodel=kernel"))
    assert kernel.relocations and {each.type for each in kernel.relocations} <= module_code.X86_APPLIED


def test_relocations_of_what_is_not_loaded_and_weak_symbols_do_not_count(tmp_path: Path) -> None:
    source = "extern int far __attribute__((weak)); extern int needed; int use(void) { return &far ? needed : 0; }\n"
    facts = facts_of(compiled(tmp_path, source, "-g", "-fno-pic"))
    assert facts.undefined == {"needed"}
    assert {facts.sections[each.section].name for each in facts.relocations} == {".text"}


def test_tables_that_lead_nowhere_are_damage_and_no_traceback(tmp_path: Path) -> None:
    path = compiled(tmp_path, "extern int far; int use(void) { return far; }\n")
    facts, data = facts_of(path), path.read_bytes()
    name = next(symbol.name for symbol in facts.symbols if symbol.name == "far").encode()
    at = data.index(struct.pack("<I", data.index(b"\0" + name + b"\0") + 1 - data.index(b"\0object.c\0")))
    path.write_bytes(data[:at] + b"\xff\xff\xff\x7f" + data[at + 4 :])
    assert str(module_file.read(path)).startswith("it is a damaged ELF file (ValueError")


def test_a_damaged_list_of_symbols_is_named_with_its_line(tmp_path: Path) -> None:
    table = tmp_path / "Module.symvers"
    table.write_text("0x00000001\tgood\tvmlinux\tEXPORT_SYMBOL_GPL\tSPACE\n0x0000\tcut")
    with pytest.raises(ValueError, match=r"Module\.symvers:2: expected CRC"):
        dict(module_symbols._read(table))
    table.write_text("0x00000001\tgood\tvmlinux\tEXPORT_SYMBOL_GPL\tSPACE\n")
    assert dict(module_symbols._read(table)) == {"good": module_symbols.Export(1, True, "SPACE")}


def test_extended_versions_are_read_beside_the_plain_ones(tmp_path: Path) -> None:
    long = "a_name_that_is_longer_than_the_fifty_five_bytes_that_the_old_table_has"
    source = f"""
    #define IN(name) __attribute__((section(name)))
    IN("__versions") struct {{ unsigned long crc; char name[56]; }} plain[] = {{{{0x11111111, "short"}}, {{0x22222222, "both"}}}};
    IN("__version_ext_crcs") unsigned int crcs[] = {{0x22222222, 0x33333333}};
    IN("__version_ext_names") char names[] = "both\\0{long}";
    """
    assert facts_of(compiled(tmp_path, source)).versions == {"short": 0x11111111, "both": 0x22222222, long: 0x33333333}
    assert facts_of(compiled(tmp_path, "int x;\n")).versions is None


@pytest.mark.parametrize(
    "name", ["__udivdi3", "__divti3", "__umoddi3", "__fixunssfsi", "__floatsidf", "__adddf3", "__extendsfdf2", "__popcountdi2"]
)
def test_the_compilers_own_routines_are_known_by_name(name: str) -> None:
    assert module_symbols._HELPER.fullmatch(name)


@pytest.mark.parametrize("name", ["__fentry__", "__x86_return_thunk", "__kmalloc", "__fixed", "__stack_chk_fail", "__divide"])
def test_other_symbols_are_not_taken_for_them(name: str) -> None:
    assert not module_symbols._HELPER.fullmatch(name)


def test_an_export_for_named_modules_is_for_these_alone() -> None:
    assert module_symbols._for_module("module:kvm,kvm-*", "kvm-amd") and not module_symbols._for_module("module:kvm", "demo")
    assert not module_symbols._for_module("DMA_BUF", "DMA_BUF")


@pytest.mark.parametrize(("flags", "on"), [((0, 0), 0), ((1, 0), 1), ((2, 3), 1)])
def test_debug_messages_that_are_on_are_counted(flags: tuple[int, int], on: int) -> None:
    for size in (56, 40):
        table = b"".join(b"\0" * 35 + bytes([flag]) + b"\0" * (size - 36) for flag in flags)
        assert module_shape._messages_on(table) == on


@pytest.mark.parametrize(
    ("line", "known"),
    [
        ("src/demo.c:3:19:demo_init\t8\tstatic\n", ("src/demo.c:3", "demo_init", 8, "static")),  # gcc
        ("src/demo.c:3:demo_init\t4096\tdynamic\n", ("src/demo.c:3", "demo_init", 4096, "dynamic")),  # clang
        ("src/demo.c demo_init\n", "demo.su has a line that is neither gcc's nor clang's"),
    ],
)
def test_the_compilers_figures_of_stack_use_are_read(tmp_path: Path, line: str, known: tuple[object, ...] | str) -> None:
    (tmp_path / "demo.su").write_text(line)
    found = module_shape.frames([module_objects.Object(tmp_path / "demo.o", "src/demo.c", "", frozenset())], tmp_path)
    if isinstance(known, str):
        assert isinstance(found, str) and known in found
    else:
        assert found == [module_shape.Frame(*known)]  # type: ignore[arg-type]


def test_glibc_versions_are_compared_as_numbers() -> None:
    assert libraries._glibc("2.36", {"libc.so.6": ["GLIBC_2.4", "GLIBC_2.36"]})[0]
    newer = libraries._glibc("2.4", {"libc.so.6": ["GLIBC_2.4", "GLIBC_2.36"]})
    assert not newer[0] and "GLIBC_2.36 of libc.so.6" in newer[1]
    private = libraries._glibc("2.36", {"libc.so.6": ["GLIBC_PRIVATE"]})
    assert not private[0] and "private symbols of libc.so.6" in private[1]


def test_a_library_of_another_major_version_is_another_library(tmp_path: Path) -> None:
    (tmp_path / "fuse.c").write_text("int fuse_main(void) { return 0; }\n")
    (tmp_path / "main.c").write_text("int fuse_main(void); int main(void) { return fuse_main(); }\n")
    shared = ["gcc", "-shared", "-fPIC", "-Wl,-soname,libfuse.so.2", "-o", tmp_path / "libfuse.so", tmp_path / "fuse.c"]
    program = ["gcc", "-o", tmp_path / "daemon", tmp_path / "main.c", f"-L{tmp_path}", "-lfuse"]
    for command in (shared, program):
        subprocess.run(command, check=True, timeout=60)
    needed, versions = libraries.read(tmp_path / "daemon")
    assert needed == ["libfuse.so.2", "libc.so.6"] and versions["libc.so.6"]


def test_a_dkms_conf_is_read_as_the_shell_would_where_it_is_plain(tmp_path: Path) -> None:
    path = tmp_path / "dkms.conf"
    path.write_text(
        '# PACKAGE_NAME=no\nPACKAGE_NAME=\'demo\'\nPACKAGE_VERSION="#MODULE_VERSION#"\nBUILT_MODULE_NAME[0]=demo # it\nMAKE[0]="make all"\n'
    )
    assert drift._dkms(path) == {
        "PACKAGE_NAME": "demo",
        "PACKAGE_VERSION": "#MODULE_VERSION#",
        "BUILT_MODULE_NAME[0]": "demo",
        "MAKE[0]": "make all",
    }


def git(folder: Path, *words: str) -> None:
    who = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *who, *words], cwd=folder, check=True, timeout=30, capture_output=True)


def write_manifest(folder: Path, warnings: str) -> Path:
    path = folder / "vexci.yaml"
    path.write_text(f"version: 1\nproject: demo\nartifacts:\n  one:\n    builder: cargo\n    folder: .\n    binary: one\n{warnings}")
    return path


@pytest.mark.parametrize(
    ("now", "verdict", "says"),
    [
        ("    warnings: 2\n", Verdict.FAIL, "2, in the last commit 1: put 'warnings: 1' back"),
        ("", Verdict.FAIL, "no budget, in the last commit 1"),
        ("    warnings: 0\n", Verdict.PASS, "0, in the last commit 1"),
    ],
    ids=["grew", "gone", "shrunk"],
)
def test_the_budget_of_warnings_may_only_shrink(tmp_path: Path, now: str, verdict: Verdict, says: str) -> None:
    path = write_manifest(tmp_path, "    warnings: 1\n")
    assert budget.checks(config.read(path)) == []  # no commit, nothing to compare with
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "one")
    assert budget.checks(config.read(path)) == []
    (check,) = budget.checks(config.read(write_manifest(tmp_path, now)))
    assert check.id == "V9" and check.verdict is verdict and says in check.detail
    git(tmp_path, "commit", "-qam", "two")
    (committed,) = budget.checks(config.read(path))
    assert committed.verdict is verdict and "in the commit before 1" in committed.detail


def test_a_shallow_clone_says_that_it_cannot_see_the_commit_before(tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    write_manifest(tmp_path / "full", "    warnings: 1\n")
    for words in (("init", "-q"), ("add", "."), ("commit", "-qm", "one"), ("commit", "-q", "--allow-empty", "-m", "two")):
        git(tmp_path / "full", *words)
    git(tmp_path, "clone", "-q", "--depth=1", f"file://{tmp_path}/full", "shallow")
    (check,) = budget.checks(config.read(tmp_path / "shallow/vexci.yaml"))
    assert check.verdict is Verdict.SKIP and not check.required and "shallow" in check.detail
    git(tmp_path, "clone", "-q", "--depth=2", f"file://{tmp_path}/full", "deeper")
    assert budget.checks(config.read(tmp_path / "deeper/vexci.yaml")) == []


@pytest.mark.parametrize(
    ("switch", "options", "own"),
    [
        ("-fsanitize=kernel-address", {"KASAN"}, True),
        ("-fsanitize=kernel-address", {"UBSAN"}, False),
        ("-fsanitize=shift", {"KASAN"}, False),
        ("-fsanitize=shift,bounds-strict", {"UBSAN"}, True),
        ("-fsanitize=address", {"KASAN", "UBSAN"}, False),
        ("-fprofile-arcs", {"GCOV_PROFILE_ALL"}, True),
        ("-DDEBUG", {"KASAN", "UBSAN"}, False),
        ("-O0", {"KASAN"}, False),
    ],
)
def test_checkers_that_the_kernel_itself_has_are_no_debugging_that_was_left_on(switch: str, options: set[str], own: bool) -> None:
    assert module_shape._kernels_own(switch, frozenset(options)) is own
