# SPDX-License-Identifier: Apache-2.0
"""The doctor looks at this machine itself, tells what is wrong with the command that fixes it, and is quick."""

from __future__ import annotations

import os
import pwd
import stat
import subprocess
from pathlib import Path

import pytest

from ci import host, packages, tools
from ci.host import LIMITED, MISSING, OK, Finding
from ci.model import Accelerator

pytestmark = pytest.mark.unit


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VEXCI_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def program(folder: Path, name: str, answer: str) -> Path:
    """A program on PATH whose answer is a shell script."""
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{answer}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is the whole PATH; programs in the system folders are not found either."""
    folder = tmp_path / "bin"
    folder.mkdir()

    def which(name: str) -> str | None:
        return str(folder / name) if (folder / name).exists() else None

    monkeypatch.setattr(packages, "which", which)
    return folder


def row(findings: list[Finding], id: str) -> Finding:
    return next(finding for finding in findings if finding.id == id)


class TestFacts:
    def test_they_are_this_machine_s(self) -> None:
        facts = host.facts()
        assert facts["kernel"] == os.uname().release
        assert facts["cores"] == len(os.sched_getaffinity(0))
        pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") >> 20
        assert abs(facts["memory_mib"] - pages) <= 1
        said = subprocess.run(["gcc", "-dumpfullversion"], capture_output=True, text=True, check=True).stdout.strip()
        assert facts["tools"]["gcc"] == said


class TestVersions:
    def test_a_program_that_changed_is_asked_again(self, only: Path) -> None:
        program(only, "gcc", "echo 1.2.3")
        assert tools.versions(["gcc"]) == {"gcc": "1.2.3"}
        os.utime(program(only, "gcc", "echo 1.2.4"), ns=(1, 1))
        assert tools.versions(["gcc"]) == {"gcc": "1.2.4"}

    def test_a_program_that_did_not_change_is_not(self, only: Path, tmp_path: Path) -> None:
        program(only, "gcc", f"echo asked >> {tmp_path}/asked; echo 1.2.3")
        for _ in range(3):
            tools.versions(["gcc"])
        assert (tmp_path / "asked").read_text() == "asked\n"

    def test_a_failing_or_silent_program_has_no_version_and_is_not_remembered(self, only: Path) -> None:
        path = program(only, "gcc", "echo 1.2.3; exit 1")
        program(only, "make", "exit 0")
        assert tools.versions(["gcc", "make"]) == {}
        info = path.stat()
        path.write_text("#!/bin/sh\necho 1.2.3; exit 0\n")
        os.utime(path, ns=(info.st_atime_ns, info.st_mtime_ns))
        assert tools.versions(["gcc"]) == {"gcc": "1.2.3"}

    def test_a_program_that_hangs_is_given_up(self, only: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(tools, "PROBE_SECONDS", 0.3)
        program(only, "gcc", "sleep 60")
        assert tools.versions(["gcc"]) == {}

    def test_another_toolchain_behind_the_same_rustup_proxy_is_noticed(
        self, only: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        home = tmp_path / "rustup"
        (home / "toolchains").mkdir(parents=True)
        (home / "settings.toml").write_text("1.80.0")
        monkeypatch.setenv("RUSTUP_HOME", str(home))
        program(only, "rustc", f"cat {home}/settings.toml")
        assert tools.versions(["rustc"]) == {"rustc": "1.80.0"}
        (home / "settings.toml").write_text("1.90.0")
        os.utime(home / "settings.toml", ns=(1, 1))
        assert tools.versions(["rustc"]) == {"rustc": "1.90.0"}

    def test_a_spoilt_memory_is_no_trouble(self, only: Path, cache: Path) -> None:
        (cache / "host").mkdir(parents=True)
        (cache / "host/versions.json").write_text('{"half')
        program(only, "gcc", "echo 1.2.3")
        assert tools.versions(["gcc"]) == {"gcc": "1.2.3"}

    def test_every_program_here_that_has_a_row_answers(self) -> None:
        here = {name for name, tool in tools.TOOLS.items() if packages.which(tool.program)}
        assert set(tools.versions(here)) == here


class TestSurvey:
    def test_it_says_something_of_every_area_and_of_nothing_twice(self) -> None:
        found = host.survey()
        ids = [finding.id for finding in found]
        assert len(ids) == len(set(ids))
        assert {"os", "cpu", "memory", "disk", "root", "python", "rust", "headers", "kvm", "fuse-device", "loop", "modules"} <= set(ids)
        assert all(finding.detail for finding in found)

    def test_what_is_not_here_is_named_with_the_command_that_brings_it(self, only: Path) -> None:
        found = host.survey()
        gcc = row(found, "gcc")
        assert gcc.state == MISSING
        assert gcc.fix is not None and gcc.fix[-1] == "gcc" and "apt-get" in gcc.fix
        assert row(found, "building").state == LIMITED

    def test_what_only_builds_kernels_from_their_source_limits_and_is_brought_too(self, only: Path) -> None:
        found = host.survey()
        flex = row(found, "flex")
        assert flex.state == LIMITED and flex.fix is not None and flex.fix[-1] == "flex"
        assert "from its source (optional)" in flex.needed_for
        assert any("flex" in command and "bison" in command for command in host.fixes(found))

    def test_without_rust_it_says_how_to_get_it_and_runs_nothing_for_it(self, only: Path) -> None:
        rust = row(host.survey(), "rust")
        assert rust.state == MISSING and "rustup.rs" in rust.advice
        assert rust.fix is None, "a script of the network is for a person to run"

    def test_a_rustup_without_toolchain_or_clippy_is_completed_by_rustup(self, only: Path) -> None:
        program(only, "rustup", "exit 0")
        program(only, "rustc", "echo error: no default is configured; exit 1")
        assert row(host.survey(), "rust").fix == ("rustup", "default", "stable")
        program(only, "rustc", "echo rustc 1.90.0")
        program(only, "cargo", "echo cargo 1.90.0")
        found = host.survey()
        assert row(found, "rust").state == OK
        assert row(found, "clippy").fix == ("rustup", "component", "add", "clippy")

    def test_nothing_is_ever_loaded_into_this_kernel(self) -> None:
        assert "refused, always" in row(host.survey(), "modules").detail


class TestFixes:
    def test_packages_are_installed_together_after_fresh_lists(self) -> None:
        apt = ("apt-get", "install", "-y", "--no-install-recommends")
        found = [
            Finding("a", "a", MISSING, "", (*apt, "gcc")),
            Finding("b", "b", OK, "", (*apt, "unneeded")),
            Finding("c", "c", MISSING, "", ("rustup", "default", "stable")),
            Finding("d", "d", LIMITED, "", (*apt, "make")),
        ]
        commands = host.fixes(found)
        assert [command[-3:] for command in commands][1:] == [("--no-install-recommends", "gcc", "make"), ("rustup", "default", "stable")]
        assert commands[0][-2:] == ("apt-get", "update")

    def test_where_nothing_is_wrong_nothing_is_run(self) -> None:
        assert host.fixes([Finding("a", "a", OK, "", ("apt-get", "install", "x"))]) == []


class TestKvm:
    def test_a_device_that_opens_is_not_called_working_when_no_guest_booted(self) -> None:
        if host.opens("/dev/kvm"):
            pytest.skip("there is no /dev/kvm that this user may open")
        found = row(host.survey(Accelerator("tcg", "qemu stops with internal-error")), "kvm")
        assert found.state == LIMITED
        assert "qemu stops with internal-error" in found.detail

    def test_before_any_boot_it_claims_no_more_than_that_the_device_opens(self) -> None:
        if host.opens("/dev/kvm"):
            pytest.skip("there is no /dev/kvm that this user may open")
        assert "is found out at the first VM" in row(host.survey(), "kvm").detail

    @pytest.mark.parametrize(
        ("mode", "uid", "gid", "expected"),
        [(0o600, 0, 0, False), (0o660, 0, 65534, True), (0o666, 0, 0, True), (0o606, 0, 65534, False), (0o600, 65534, 0, True)],
    )
    def test_who_may_open_it_is_read_as_the_kernel_reads_it(self, mode: int, uid: int, gid: int, expected: bool) -> None:
        info = os.stat_result((stat.S_IFCHR | mode, 0, 0, 1, uid, gid, 0, 0, 0, 0))
        assert host.may_open(info, pwd.getpwuid(65534)) is expected
        assert host.may_open(info, pwd.getpwuid(0)) is True

    def test_the_75_second_trap_is_explained_where_it_would_snap(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(host, "GUEST_USER", "nobody")
        real = os.stat

        def as_root_only(path: str | Path) -> os.stat_result:
            return os.stat_result((stat.S_IFCHR | 0o600, 0, 0, 1, 0, 0, 0, 0, 0, 0)) if str(path) == "/dev/kvm" else real(path)

        monkeypatch.setattr(os, "stat", as_root_only)
        (found,) = host._kvm_trap()
        assert "0:0 0600" in found.detail and "75 s" in found.detail and "nobody" in found.detail


def test_an_unwritable_device_is_told_with_the_reason(tmp_path: Path) -> None:
    assert host.opens(str(tmp_path / "none")) == "No such file or directory"
    assert host.opens("/dev/null") == ""
