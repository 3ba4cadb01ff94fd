# SPDX-License-Identifier: Apache-2.0
"""What is deployed is what was built, and a kernel's refusal is explained."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ci import deploy, identity
from ci.errors import InfrastructureError, ProductFailure, UsageError
from ci.manifest import ArtifactSpec, Probe
from ci.model import Artifact, Kind
from ci.store import sha256_file
from tests.localguest import LocalGuest, keep_inside, needs_mount

pytestmark = [pytest.mark.unit, needs_mount]

SPEC = ArtifactSpec("demo", Kind.DAEMON, "cargo", Path("fuse"), "demo_fuse", version=Probe(("--version",), ("demo_fuse ",)))


@pytest.fixture(autouse=True)
def inside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    keep_inside(monkeypatch, tmp_path)


def built(path: Path, kind: Kind = Kind.DAEMON, target: str = "x86_64-unknown-linux-gnu") -> Artifact:
    return Artifact(
        name="demo",
        kind=kind,
        path=path,
        sha256=sha256_file(path),
        size=path.stat().st_size,
        features=(),
        target=target,
        kernel=None,
        commit="",
        dirty=False,
        inputs_sha256="",
        started=0.0,
        modified=0.0,
        warnings=0,
        reused=False,
        log="",
    )


def daemon(folder: Path, version: str = "demo_fuse 1") -> Artifact:
    """A real program that answers --version, and otherwise stays."""
    folder.mkdir(exist_ok=True)
    source = folder / "demo.c"
    source.write_text(
        f'#include <stdio.h>\n#include <unistd.h>\nint main(int n, char **v) {{ (void)v; if (n > 1) puts("{version}"); else pause(); }}\n'
    )
    subprocess.run(["cc", "-o", folder / "demo_fuse", source], check=True)
    return built(folder / "demo_fuse")


@contextmanager
def running(path: str) -> Iterator[int]:
    process = subprocess.Popen([path])
    try:
        deadline = time.monotonic() + 5
        while os.readlink(f"/proc/{process.pid}/exe") != path and time.monotonic() < deadline:
            time.sleep(0.01)
        yield process.pid
    finally:
        process.kill()
        process.wait()


def test_a_daemon_lies_in_the_guest_as_it_was_built(tmp_path: Path) -> None:
    artifact = daemon(tmp_path / "build")
    done = deploy.deploy(LocalGuest(), SPEC, artifact)
    assert done.built_id == done.running_id == done.sha256 == artifact.sha256
    assert sha256_file(Path(done.guest_path)) == artifact.sha256
    assert "demo_fuse 1" in done.id_kind


def test_what_the_guest_has_already_does_not_travel_again(tmp_path: Path) -> None:
    artifact, guest = daemon(tmp_path / "build"), LocalGuest()
    deploy.deploy(guest, SPEC, artifact)
    deploy.deploy(guest, SPEC, artifact)
    assert len(guest.puts) == 1


def test_a_new_build_replaces_the_old_one(tmp_path: Path) -> None:
    guest = LocalGuest()
    deploy.deploy(guest, SPEC, daemon(tmp_path / "one"))
    done = deploy.deploy(guest, SPEC, daemon(tmp_path / "two", "demo_fuse 2"))
    assert "demo_fuse 2" in done.id_kind
    assert len(guest.puts) == 2


def test_an_old_daemon_that_still_runs_is_a_failure_with_both_hashes(tmp_path: Path) -> None:
    guest, old = LocalGuest(), daemon(tmp_path / "one")
    place = deploy.deploy(guest, SPEC, old).guest_path
    with running(place) as pid:
        new = daemon(tmp_path / "two", "demo_fuse 2")
        with pytest.raises(ProductFailure) as caught:
            deploy.deploy(guest, SPEC, new)
    assert str(pid) in str(caught.value)
    assert old.sha256 in str(caught.value)
    assert new.sha256 in str(caught.value)


def test_a_file_that_changed_since_the_build_does_not_travel(tmp_path: Path) -> None:
    artifact, guest = daemon(tmp_path / "build"), LocalGuest()
    artifact.path.write_bytes(artifact.path.read_bytes() + b"\0")
    with pytest.raises(ProductFailure, match="is not what was built"):
        deploy.deploy(guest, SPEC, artifact)
    assert guest.puts == []


def test_a_file_that_is_gone_since_the_build_is_named(tmp_path: Path) -> None:
    artifact = daemon(tmp_path / "build")
    artifact.path.unlink()
    with pytest.raises(ProductFailure, match="is gone since it was built"):
        deploy.deploy(LocalGuest(), SPEC, artifact)


def test_a_file_that_arrives_damaged_is_no_fault_of_the_product(tmp_path: Path) -> None:
    class Damaging(LocalGuest):
        def put(self, local: Path, remote: str) -> None:
            super().put(local, remote)
            with open(remote, "ab") as file:
                file.write(b"\0")

    artifact = daemon(tmp_path / "build")
    with pytest.raises(InfrastructureError, match=artifact.sha256):
        deploy.deploy(Damaging(), SPEC, artifact)


def test_a_daemon_that_does_not_start_in_the_guest_is_a_failure(tmp_path: Path) -> None:
    script = tmp_path / "demo_fuse"
    script.write_text("#!/bin/sh\necho error while loading shared libraries: libfuse3.so.3 >&2; exit 127\n")
    script.chmod(0o755)
    with pytest.raises(ProductFailure, match=r"exit 127: .*libfuse3\.so\.3"):
        deploy.deploy(LocalGuest(), SPEC, built(script))


def test_a_daemon_that_says_another_version_is_a_failure(tmp_path: Path) -> None:
    with pytest.raises(ProductFailure, match="does not say 'demo_fuse ': other 1"):
        deploy.deploy(LocalGuest(), SPEC, daemon(tmp_path / "build", "other 1"))


def test_a_module_for_another_kernel_is_refused_before_anything_travels(tmp_path: Path) -> None:
    module = tmp_path / "demo.ko"
    module.write_bytes(b"x")
    guest = LocalGuest()
    with pytest.raises(UsageError, match=r"built for 1\.2\.3-other"):
        deploy.deploy(guest, SPEC, built(module, Kind.KERNEL_MODULE, "1.2.3-other"))
    assert guest.puts == []


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("[  1.0] demo: disagrees about version of symbol module_layout", "checksum of the symbol module_layout differs"),
        (
            "[  1.0] demo: version magic '6.1.0-1 SMP ' should be '6.12.0-1 SMP '",
            "version magic '6.1.0-1 SMP ', the guest has '6.12.0-1 SMP '",
        ),
        ("[  1.0] demo: Unknown symbol jbd2_demo (err -2)", "needs the symbol jbd2_demo"),
        ("[  1.0] demo: no symbol version for module_layout", "without the checksum of the symbol module_layout"),
        ("[  1.0] module: x86/modules: Invalid relocation target, existing value is nonzero", "a relocation"),
        ("[  1.0] EXT4-fs (vda): mounted filesystem", ""),
    ],
)
def test_the_kernels_refusal_is_explained(line: str, words: str) -> None:
    told = deploy.explain(f"[  0.5] something before\n{line}\n")
    assert words in told
    assert bool(told) == bool(words)


def test_the_last_reason_in_the_log_is_the_one() -> None:
    log = "a: Unknown symbol one (err -2)\nb: Unknown symbol two (err -2)\n"
    assert "the symbol two" in deploy.explain(log)


def compiled(folder: Path, *flags: str) -> Path:
    source = folder / "demo.c"
    source.write_text('__attribute__((section(".modinfo"))) const char v[] = "license=GPL\\0srcversion=0123456789ABCDEF\\0name=demo";\n')
    subprocess.run(["cc", "-shared", "-nostdlib", *flags, "-o", folder / "demo.ko", source], check=True)
    return folder / "demo.ko"


def test_a_modules_ids_are_read_from_its_file(tmp_path: Path) -> None:
    build_id = "00112233445566778899aabbccddeeff00112233"
    ids = identity.built_ids(compiled(tmp_path, f"-Wl,--build-id=0x{build_id}"))
    assert ids == identity.ModuleIds("0123456789ABCDEF", build_id)


def test_a_file_without_any_id_proves_nothing(tmp_path: Path) -> None:
    source = tmp_path / "demo.c"
    source.write_text("int x;\n")
    subprocess.run(["cc", "-c", "-o", tmp_path / "demo.ko", source], check=True)
    with pytest.raises(ProductFailure, match="neither srcversion nor build id"):
        identity.built_ids(tmp_path / "demo.ko")


def test_a_file_that_is_no_elf_is_named(tmp_path: Path) -> None:
    (tmp_path / "demo.ko").write_bytes(b"!<arch>\n")
    with pytest.raises(ProductFailure, match=r"demo\.ko is not an ELF file"):
        identity.built_ids(tmp_path / "demo.ko")


def test_a_build_id_is_found_behind_another_note() -> None:
    other = (4).to_bytes(4, "little") + (2).to_bytes(4, "little") + (1).to_bytes(4, "little") + b"abc\0" + b"xy\0\0"
    note = (4).to_bytes(4, "little") + (3).to_bytes(4, "little") + (3).to_bytes(4, "little") + b"GNU\0" + b"\x01\x02\x03\0"
    assert identity.note_build_id(other + note) == "010203"
    assert identity.note_build_id(other) == ""
    assert identity.note_build_id(b"") == ""
