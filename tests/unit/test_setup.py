# SPDX-License-Identifier: Apache-2.0
"""The launcher: what it needs, that a setup is whole or absent, and that it says what a person must do.

Environments here are real ones, made by the real venv and pip from hash-locked files, without the network: the
locked library is the installed Invoke, packed into a wheel again.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import psutil
import pytest

from ci import packages

PROJECT = Path(__file__).resolve().parents[2]
LOCKS = sorted(PROJECT.glob("requirements*.txt"))
TASKS = """
import os, sys
from invoke import task

@task
def build(ctx, artifact=""):
    "Build."
    print("ran build in", os.getcwd(), sys.argv[1:])

@task
def fails(ctx):
    "Fail."
    sys.exit(7)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The installed Invoke as a wheel."""
    found = distribution("invoke")
    path = tmp_path_factory.mktemp("wheels") / f"invoke-{found.version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for file in found.files or []:
            if file.parts[0] != ".." and file.suffix != ".pyc" and file.name not in ("INSTALLER", "REQUESTED", "direct_url.json"):
                archive.write(str(file.locate()), str(file))
    return path


@pytest.fixture
def clone(tmp_path: Path, wheel: Path) -> Path:
    """A folder with the launcher, two tasks, and a lock file that the wheel satisfies."""
    root = tmp_path / "a project"
    (root / "ci").mkdir(parents=True)
    shutil.copy2(PROJECT / "inv", root / "inv")
    for name in ("__init__.py", "__main__.py", "setup.py", "program.py", "bootstrap.py", "packages.py"):
        shutil.copy2(PROJECT / "ci" / name, root / "ci" / name)
    (root / "tasks.py").write_text(TASKS)
    lock(root, wheel)
    return root


def lock(root: Path, wheel: Path, digest: str = "") -> None:
    digest = digest or hashlib.sha256(wheel.read_bytes()).hexdigest()
    (root / "requirements.txt").write_text(f"invoke=={wheel.name.split('-')[1]} --hash=sha256:{digest}\n")


def environment(wheel: Path, **more: str) -> dict[str, str]:
    """This process's environment, with pip confined to the folder of the wheel."""
    return {**os.environ, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheel.parent), **more}


def call(root: Path, wheel: Path, *words: str, cwd: Path | None = None, **more: str) -> subprocess.CompletedProcess[str]:
    argv = [str(root / "inv"), *words]
    return subprocess.run(
        argv, cwd=cwd, env=environment(wheel, **more), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, check=False
    )


def assert_nothing_half_made(root: Path) -> None:
    """`.venv` is absent or whole: a link to a stamped environment, the only one there is."""
    link = root / ".venv"
    if link.is_symlink():
        assert (link / "vexci-ready").is_file()
    else:
        assert not link.exists()


def environments(root: Path) -> list[str]:
    return [path.name for path in (root / ".vexci").glob("venv-*")]


@pytest.mark.integration  # makes environments, seconds each
class TestFirstAndSecondCall:
    def test_the_first_call_sets_up_and_runs_the_task_where_it_was_called(self, clone: Path, wheel: Path, tmp_path: Path) -> None:
        done = call(clone, wheel, "build", "--artifact", "a b", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert done.stdout == f"ran build in {tmp_path} ['build', '--artifact', 'a b']\n"
        assert "making .venv" in done.stderr

        again = call(clone, wheel, "build", cwd=tmp_path)
        assert (again.returncode, again.stderr) == (0, ""), "the second call sets up nothing and says nothing"

    def test_through_a_link_and_with_the_task_s_own_exit_code(self, clone: Path, wheel: Path, tmp_path: Path) -> None:
        (tmp_path / "bin").mkdir()
        (tmp_path / "bin" / "vexci").symlink_to(os.path.relpath(clone / "inv", tmp_path / "bin"))
        done = subprocess.run([tmp_path / "bin" / "vexci", "fails"], env=environment(wheel), capture_output=True, timeout=120, check=False)
        assert done.returncode == 7
        assert (clone / ".venv").is_symlink(), "the environment belongs to the project, not to the link's folder"

    def test_tab_completion_sets_up_nothing(self, clone: Path, wheel: Path) -> None:
        done = call(clone, wheel, "--complete", "--", "inv bu")
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        assert not (clone / ".venv").exists()


@pytest.mark.integration  # makes environments, seconds each
class TestWhenTheEnvironmentIsNotTheLockedOne:
    def test_a_changed_lock_file_makes_it_anew_even_with_an_old_time_stamp(self, clone: Path, wheel: Path) -> None:
        assert call(clone, wheel, "build").returncode == 0
        before = environments(clone)
        path = clone / "requirements.txt"
        path.write_text(path.read_text() + "# other\n")
        os.utime(path, (0, 0))
        done = call(clone, wheel, "build")
        assert done.returncode == 0 and "making .venv" in done.stderr
        after = environments(clone)
        assert len(after) == 1 and after != before

    def test_a_moved_project_makes_it_anew(self, clone: Path, wheel: Path) -> None:
        assert call(clone, wheel, "build").returncode == 0
        moved = clone.rename(clone.with_name("moved"))
        done = call(moved, wheel, "build")
        assert done.returncode == 0 and "making .venv" in done.stderr
        assert str(moved) in (moved / ".venv/bin/invoke").read_text().splitlines()[0]

    def test_an_environment_whose_python_is_gone_is_made_anew(self, clone: Path, wheel: Path) -> None:
        assert call(clone, wheel, "build").returncode == 0
        python = clone / ".venv/bin/python"
        python.unlink()
        python.symlink_to("/nonexistent/python3")
        done = call(clone, wheel, "build")
        assert done.returncode == 0, done.stderr
        assert "making .venv" in done.stderr

    def test_somebody_s_own_venv_is_left_alone(self, clone: Path, wheel: Path) -> None:
        (clone / ".venv").mkdir()
        (clone / ".venv" / "mine").write_text("precious")
        done = call(clone, wheel, "build")
        assert done.returncode == 2
        assert "move it away" in done.stderr
        assert (clone / ".venv" / "mine").read_text() == "precious"

    def test_a_library_that_is_not_the_locked_one_is_refused(self, clone: Path, wheel: Path) -> None:
        lock(clone, wheel, "0" * 64)
        done = call(clone, wheel, "build")
        assert done.returncode == 3
        assert "is not the one that was locked" in done.stderr
        assert_nothing_half_made(clone)
        assert environments(clone) == []

    def test_an_unreachable_archive_is_said_in_a_sentence(self, clone: Path, wheel: Path) -> None:
        more: dict[str, Any] = {"PIP_NO_INDEX": "0", "PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_RETRIES": "1", "PIP_FIND_LINKS": ""}
        done = call(clone, wheel, "build", **more)
        assert done.returncode == 3
        assert "is this machine offline" in done.stderr
        assert_nothing_half_made(clone)

    def test_a_folder_that_cannot_be_written_is_said_in_a_sentence(self, clone: Path, wheel: Path) -> None:
        (clone / ".vexci").write_text("a file where the folder should be")
        done = call(clone, wheel, "build")
        assert done.returncode == 3
        assert "cannot set up in" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.integration  # makes environments, seconds each
class TestTwoAtOnceAndKilled:
    def test_two_at_once_make_one_environment_and_both_run(self, clone: Path, wheel: Path) -> None:
        argv: list[str | Path] = [clone / "inv", "build"]
        both = [subprocess.Popen(argv, env=environment(wheel), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
        answers = [process.communicate(timeout=120) for process in both]
        assert [process.returncode for process in both] == [0, 0], answers
        assert sum("making .venv" in stderr for _, stderr in answers) == 1
        assert sum("waiting for it" in stderr for _, stderr in answers) <= 1
        assert len(environments(clone)) == 1

    # Ctrl-C and SIGTERM go one way in the code: each is tried at one of the moments, and the other pairs where time does not count.
    @pytest.mark.parametrize(
        ("number", "moment"),
        [
            (signal.SIGKILL, "pip"),
            (signal.SIGTERM, "folder"),
            (signal.SIGINT, "pip"),
            pytest.param(signal.SIGKILL, "folder", marks=pytest.mark.soak),
            pytest.param(signal.SIGTERM, "pip", marks=pytest.mark.soak),
            pytest.param(signal.SIGINT, "folder", marks=pytest.mark.soak),
        ],
    )
    def test_killed_in_the_middle_nothing_looks_complete_and_the_next_call_works(
        self, clone: Path, wheel: Path, number: signal.Signals, moment: str
    ) -> None:
        process = subprocess.Popen([clone / "inv", "build"], env=environment(wheel), stderr=subprocess.PIPE, start_new_session=True)
        wait_for(clone, moment)
        children = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(number)
        process.communicate(timeout=60)
        assert process.returncode == (-9 if number == signal.SIGKILL else 130)
        assert not (clone / ".venv").exists()
        if number == signal.SIGKILL:
            for child in children:  # whatever it had started ends by itself
                child.wait(60)
        else:
            assert not any(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in children)
            assert environments(clone) == [], "a setup that could clean up did"

        done = call(clone, wheel, "build")
        assert done.returncode == 0, done.stderr
        assert len(environments(clone)) == 1, "what the killed one left is gone"


def wait_for(root: Path, moment: str) -> None:
    """Until the environment's folder is there, or until pip works in it."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        kept = list((root / ".vexci").glob("venv-*/locked/requirements.txt"))
        if kept if moment == "pip" else environments(root):
            return
        time.sleep(0.002)
    raise AssertionError(f"the setup never came to {moment}")


ASK = """
import sys
sys.path.insert(0, {root!r})
from ci import packages
packages.NEEDS["gcc"] = packages.Need("gcc", "compiles", ("no-such-program-of-vexci",){more})
from ci.setup import main
main({words!r})
"""


def ask(root: Path, path: Path, *, user: str = "", more: str = "", words: tuple[str, ...] = ("build",)) -> subprocess.CompletedProcess[str]:
    """Call the launcher's second half where one needed program is not on the machine."""
    prefix = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups"] if user else []
    python = "/usr/bin/python3" if user else sys.executable
    script = ASK.format(root=str(root), more=more, words=list(words))
    env = {**os.environ, "PATH": f"{path}:{os.environ['PATH']}", "PIP_NO_INDEX": "1"}
    return subprocess.run([*prefix, python, "-c", script], env=env, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture
def apt(tmp_path: Path) -> Iterator[Path]:
    """A folder for PATH with an apt-get that writes down its arguments and answers as `answer` says."""
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "apt-get"
    program.write_text(f'#!/bin/sh\necho "$*" >> {tmp_path}/calls\n. {tmp_path}/answer\n')
    program.chmod(0o755)
    (tmp_path / "answer").write_text("exit 0\n")
    yield folder


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user, which takes root")


@pytest.mark.unit
class TestSystemPackages:
    @needs_root
    def test_without_root_it_prints_the_one_command_and_stops_with_2(self, clone: Path, apt: Path, tmp_path: Path) -> None:
        for folder in [clone, *clone.parents]:
            if folder.owner() == "root" and any(part.startswith("pytest-") for part in folder.parts):
                folder.chmod(0o777)
        done = ask(clone, apt, user="65534")
        assert done.returncode == 2, done.stderr
        assert "sudo sh -c 'apt-get update && apt-get install -y --no-install-recommends gcc" in done.stderr
        assert not (tmp_path / "calls").exists(), "nothing was started"
        assert not (clone / ".venv").exists()

    @needs_root
    def test_apt_s_own_last_words_are_shown_with_exit_3(self, clone: Path, apt: Path, tmp_path: Path) -> None:
        (tmp_path / "answer").write_text("echo 'E: Unable to locate package gcc'; exit 100\n")
        done = ask(clone, apt)
        assert done.returncode == 3
        assert "E: Unable to locate package gcc" in done.stderr
        calls = (tmp_path / "calls").read_text().splitlines()
        assert "update" in calls, "an install that fails is tried again with fresh lists"
        assert [call for call in calls if call.startswith("install")][-1].endswith(" gcc")

    @needs_root
    def test_no_network_is_said_in_a_sentence(self, clone: Path, apt: Path, tmp_path: Path) -> None:
        (tmp_path / "answer").write_text("echo \"Temporary failure resolving 'deb.debian.org'\"; exit 100\n")
        done = ask(clone, apt)
        assert done.returncode == 3
        assert "is this machine offline" in done.stderr

    @needs_root
    def test_an_apt_that_says_yes_and_brings_nothing_is_not_believed(self, clone: Path, apt: Path) -> None:
        done = ask(clone, apt)
        assert done.returncode == 3
        assert "not where it should be" in done.stderr

    @needs_root
    def test_what_apt_takes_away_for_another_package_is_brought_back(self, clone: Path, apt: Path, tmp_path: Path) -> None:
        replaced = apt / "replaced-program-of-vexci"
        replaced.touch(mode=0o755)
        bring = f"[ -e {apt}/no-such-program-of-vexci ] && {{ touch {replaced}; chmod 755 {replaced}; exit; }}"
        first = f"rm {replaced}; touch {apt}/no-such-program-of-vexci; chmod 755 {apt}/no-such-program-of-vexci"
        said = "echo 'Removing replaced:amd64 (1:10.0.2) ...'"
        (tmp_path / "answer").write_text(f"{bring}\n{first}\n{said}\n")
        done = ask(clone, apt, more='); packages.NEEDS["git"] = packages.Need("git", "the commit", ("replaced-program-of-vexci",)')
        calls = (tmp_path / "calls").read_text().splitlines()
        assert [call.split()[-1] for call in calls if "install" in call] == ["gcc", "git"], done.stderr
        assert replaced.exists() and "not where it should be" not in done.stderr
        assert "apt-get removed replaced:amd64, which did not go with them" in done.stderr


@needs_root
@pytest.mark.integration
def test_an_optional_thing_that_cannot_be_had_stops_nothing(clone: Path, apt: Path, tmp_path: Path, wheel: Path) -> None:
    assert call(clone, wheel, "build").returncode == 0
    (tmp_path / "answer").write_text("exit 100\n")
    done = ask(clone, apt, more=", optional=True")
    assert done.returncode == 0, done.stderr
    assert "going on without gcc" in done.stderr
    assert "ran build" in done.stdout


@pytest.mark.unit
class TestTheTable:
    def test_asking_for_help_or_a_list_needs_nothing(self) -> None:
        for words in (["--list"], ["-l"], ["--help", "bench"], ["build", "--help"], ["--version"], [], ["doctor"], ["runs", "report"]):
            assert packages.wanted(words) == packages.NOTHING, words

    def test_tasks_of_one_line_add_up(self) -> None:
        assert packages.wanted(["build", "verify"]).system == packages.BUILD
        both = packages.wanted(["build", "vm.up", "--name", "x"])
        assert set(both.system) == {*packages.BUILD, *packages.GUEST}
        assert both.python == ("base", "vm")

    def test_a_task_s_own_short_flag_is_not_taken_for_a_question(self) -> None:
        assert packages.wanted(["bench", "-l", "5"]) == packages.wanted(["bench"]) != packages.NOTHING

    @pytest.mark.parametrize("words", [["--version", "1.2.3"], ["--version=1.2.3"]])
    def test_the_version_of_a_release_is_not_taken_for_a_question(self, words: list[str]) -> None:
        assert packages.wanted(["release", *words]) == packages.wanted(["release"])
        assert "release" in packages.wanted(["release", *words]).python

    def test_what_follows_two_dashes_is_for_the_guest(self) -> None:
        assert packages.wanted(["vm.ssh", "--", "test", "--help"]) == packages.wanted(["vm.ssh"])

    def test_the_quick_tests_need_no_guest(self) -> None:
        quick = packages.wanted(["test", "--quick"])
        assert packages.wanted(["test", "-q"]) == quick
        assert "qemu" not in quick.system and "vm" not in quick.python
        assert "qemu" in packages.wanted(["test"]).system

    def test_a_kernel_that_is_fetched_may_be_one_that_is_built(self) -> None:
        assert packages.wanted(["kernels"]) == packages.NOTHING
        for words in (["kernels", "--fetch", "debug"], ["kernels", "--fetch=debug"], ["kernels", "-f", "debug"]):
            assert {"flex", "bison", "gcc"} <= set(packages.wanted(words).system), words

    def test_every_task_is_known_or_needs_nothing(self) -> None:
        listed = subprocess.run(
            [sys.executable, "-m", "invoke", "--list", "--list-format", "flat"], cwd=PROJECT, capture_output=True, text=True, check=True
        ).stdout
        names = set(re.findall(r"^  ([a-z][\w.-]*)", listed, re.MULTILINE))
        nothing = {"doctor", "runs", "report", "clean"}
        unknown = {name for name in names if name not in packages.TASKS and name.partition(".")[0] not in packages.TASKS} - nothing
        assert names and not unknown, f"ci/packages.py does not say what these need: {unknown}"
        stale = {name.split()[0] for name in packages.TASKS} - {part for name in names for part in (name, name.partition(".")[0])}
        assert not stale, f"ci/packages.py names tasks that do not exist: {stale}"

    def test_rows_name_only_things_that_are_in_the_table(self) -> None:
        used = {name for row in packages.TASKS.values() for name in row.system} | {n for row in packages.PYTHON_BUILD.values() for n in row}
        assert used == set(packages.NEEDS)

    def test_the_page_on_dependencies_names_every_package_and_every_library(self) -> None:
        page = (PROJECT / "docs/dependencies.md").read_text()
        libraries = [name for path in PROJECT.glob("requirements*.in") for name in re.findall(r"^([A-Za-z]\S*)", path.read_text(), re.M)]
        names = [need.package for need in packages.NEEDS.values()] + libraries
        absent = {name for name in names if re.split(r"[=<>~]", name)[0] not in page and not name.startswith("types-")}
        assert len(names) > 30 and not absent

    def test_systems_differ_by_name_only_in_the_table(self, tmp_path: Path) -> None:
        release = tmp_path / "os-release"
        release.write_text('NAME="Ubuntu"\nID=ubuntu\nVERSION_ID="24.04"\n')
        ubuntu = packages.system_name(str(release))
        assert ubuntu == ("ubuntu-24.04", "ubuntu")
        assert packages.package(packages.NEEDS["libelf"], ubuntu) == "libelf1t64"
        assert packages.package(packages.NEEDS["libelf"], ("debian-12", "debian")) == "libelf1"
        assert packages.package(packages.NEEDS["chromium"], ubuntu) == ""


@pytest.mark.unit
class TestTheLocks:
    @pytest.mark.parametrize("path", LOCKS, ids=lambda path: path.name)
    def test_every_library_is_pinned_and_hashed_and_no_address_is_named(self, path: Path) -> None:
        text = path.read_text()
        assert "://" not in text and "--index" not in text and "--find-links" not in text
        entries = [entry for entry in re.split(r"\n(?=[A-Za-z])", text) if re.match(r"[A-Za-z]", entry)]
        assert entries
        for entry in entries:
            assert re.match(r"[\w.-]+==\S+", entry), entry
            assert re.search(r"--hash=sha256:[0-9a-f]{64}", entry), entry

    @pytest.mark.parametrize("path", LOCKS, ids=lambda path: path.name)
    def test_the_lock_holds_all_that_was_asked_for(self, path: Path) -> None:
        asked = re.findall(r"^([A-Za-z][\w.-]*)(?:==(\S+))?", path.with_suffix(".in").read_text(), re.MULTILINE)
        locked = dict(re.findall(r"^([A-Za-z][\w.-]*)==(\S+)", path.read_text(), re.MULTILINE))
        for name, version in asked:
            found = locked.get(re.sub(r"[-_.]+", "-", name).lower())
            assert found and (not version or found == version), f"{path.name} does not lock {name} {version}"

    def test_no_two_locks_disagree(self) -> None:
        pins: dict[str, set[str]] = {}
        for path in LOCKS:
            for name, version, rest in re.findall(r"^([A-Za-z][\w.-]*)==(\S+)(.*)", path.read_text(), re.MULTILINE):
                pins.setdefault(f"{name} {rest.strip(' ' + chr(92))}", set()).add(version)
        assert not {name: found for name, found in pins.items() if len(found) > 1}
