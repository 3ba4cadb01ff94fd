# SPDX-License-Identifier: Apache-2.0
"""A machine of another distribution gets Debian's kernels from declared archives: really asked, really verified, nothing touched."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from ci import config, process
from ci.errors import InfrastructureError
from ci.kernels import apt, archive
from ci.manifest import KernelSpec
from tests import tool

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache of its own, shared by the tests of this file: the lists are fetched once."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def elsewhere(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> KernelSpec:
    """The project's own Debian kernel on a machine that says it is Ubuntu, whose own package sources are none at all."""
    monkeypatch.setenv("VEXCI_CACHE", str(cache))
    (tmp_path / "os-release").write_text('ID=ubuntu\nVERSION_ID="24.04"\nVERSION_CODENAME=noble\n')
    monkeypatch.setattr(archive, "OS_RELEASE", tmp_path / "os-release")
    (tmp_path / "lists").mkdir()
    (tmp_path / "apt.conf").write_text(
        f'Dir::State::Lists "{tmp_path}/lists";\nDir::Etc::SourceList "/dev/null";\nDir::Etc::SourceParts "/dev/null";\n'
    )
    monkeypatch.setenv("APT_CONFIG", str(tmp_path / "apt.conf"))
    return config.read(tool.ROOT / "vexci.yaml").kernel("debian-6.12")


def test_the_declared_archives_offer_the_kernel_and_its_packages_can_be_had(elsewhere: KernelSpec, cache: Path, tmp_path: Path) -> None:
    said: list[str] = []
    ((lists, failure),) = archive.candidates(elsewhere.archives, said.append, "kernel")
    assert failure is None and lists.private is not None and lists.private.parent == cache
    choice, _ = apt._choose(elsewhere.pattern, lists, "here")
    assert choice is not None and choice.release.name.startswith("6.12.")
    small = min(choice.packages, key=lambda package: package.size)
    (got,) = lists.download([small], tmp_path)
    told = process.output(["dpkg-deb", "-f", got, "Package", "Version"])
    assert small.name in told and small.version in told
    assert list((tmp_path / "lists").iterdir()) == []  # the machine's own lists were left alone


def test_an_archive_whose_signature_is_not_by_the_declared_keys_is_refused(elsewhere: KernelSpec, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.gpg"
    wrong.write_bytes(b"")
    archives = [replace(each, keyring=wrong) for each in elsewhere.archives]
    ((_, failure),) = archive.candidates(archives, print, "kernel")
    assert isinstance(failure, InfrastructureError)
    assert "not signed" in failure.message or "public key" in failure.message or "NO_PUBKEY" in failure.message, failure.message


def test_a_kernel_that_the_system_has_installed_in_just_that_version_is_taken_from_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = KernelSpec("k", "apt", "6.1-cloud")
    choice, _ = apt._choose(spec.pattern, archive.Lists(), "here")
    assert choice is not None
    name = choice.release.name
    for path in (f"usr/src/linux-headers-{name}/Makefile", f"boot/vmlinuz-{name}", f"lib/modules/{name}/modules.dep"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text("")
    monkeypatch.setattr(apt, "_SYSTEM", tmp_path)
    installed = [package.name for package in choice.packages]
    lines = "".join(f"{package.name} installed {package.version}\n" for package in choice.packages)

    def ask(text: str) -> Path | None:
        programs = tmp_path / "bin"
        programs.mkdir(exist_ok=True)
        (programs / "dpkg-query").write_text(f"#!/bin/sh\nprintf '%s' '{text}'\n")
        (programs / "dpkg-query").chmod(0o755)
        monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
        return apt._installed(choice)

    assert installed and ask(lines) == tmp_path
    assert ask(lines.replace(choice.packages[0].version, "6.1.1-1")) is None  # another version of the same name
    (tmp_path / f"boot/vmlinuz-{name}").unlink()
    assert ask(lines) is None
