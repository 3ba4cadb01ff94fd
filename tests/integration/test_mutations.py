# SPDX-License-Identifier: Apache-2.0
"""Damaged images against the kernel module: refused or read with EUCLEAN and EIO, never an oops, a warning or a hang."""

from __future__ import annotations

import base64
import gzip
import json
import struct
import subprocess
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ci import splat
from ci.errors import VexciError
from ci.vm.machine import Machine
from tests.integration.test_smoke import MANIFEST, ROOT, built
from tests.smokeguest import KERNELS, SmokeGuest

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

AGENT = ROOT / "tests" / "mutation_agent.py"
GOLDEN = ROOT / "fuse" / "tests" / "golden"
BLOCK = 4096
MOUNTS = {"ok", "EUCLEAN", "EIO", "EINVAL", "ENOTSUP", "EROFS"}
ANSWERS = MOUNTS | {"ENOSPC", "ENOENT", "ENXIO", "EISDIR", "ENOTDIR", "ENOTEMPTY", "EEXIST", "EFBIG", "EPERM", "ENODATA", "ESTALE", "ELOOP"}
ANSWERS |= {"EACCES", "EINVAL", "EMLINK", "ENODEV", "ERANGE", "E2BIG", "EBUSY", "ETXTBSY", "ENOMEM", "ENOTTY", "EMEDIUMTYPE", "EXDEV"}


class Lab:
    """The guest, and the tool that makes the same mutated images as `cargo test`."""

    def __init__(self, machine: Machine, folder: Path) -> None:
        self.machine = machine
        self._folder = folder
        command = ["cargo", "build", "--release", "--example", "mutate_vexfs", "--locked"]
        subprocess.run(command, cwd=ROOT / "fuse", check=True, capture_output=True, timeout=900)
        self._tool = ROOT / "fuse/target/x86_64-unknown-linux-gnu/release/examples/mutate_vexfs"
        subprocess.run([self._tool, "bases", folder], check=True, timeout=120)

    def bases(self) -> dict[str, Any]:
        return {path.stem: packed(path) for path in sorted(self._folder.glob("*.img"))}

    def patches(self, first: int, count: int) -> list[dict[str, Any]]:
        command: list[str | Path] = [self._tool, "patches", str(first), str(count)]
        lines = subprocess.run(command, check=True, timeout=300, capture_output=True, text=True).stdout
        return [json.loads(line) for line in lines.splitlines()]

    def run(self, bases: dict[str, Any], images: list[dict[str, Any]], deadline: float) -> list[dict[str, Any]]:
        """What the guest answers to each image. Whatever ends it early names the image."""
        work = self._folder / "work.json.gz"
        with gzip.open(work, "wt", compresslevel=6) as file:
            json.dump({"bases": bases, "images": images}, file)
        self.machine.run(["mkdir", "-p", "/run/mutations"], deadline=30, check=True)
        self.machine.put(work, "/run/mutations/work.json.gz")
        self.machine.put(AGENT, "/run/mutations/agent.py")
        answers: list[dict[str, Any]] = []
        begun: list[object] = []

        def take(line: str) -> None:
            said = json.loads(line)
            begun.append(said["begin"]) if "begin" in said else answers.append(said)

        argv = ["python3", "-u", "/run/mutations/agent.py", "/run/mutations/work.json.gz"]
        try:
            done = self.machine.run([str(word) for word in argv], deadline=deadline, silence=40, on_line=take)
        except VexciError as error:
            raise AssertionError(f"seed {begun[-1:]} of {len(images)} images: {error}") from error
        assert done.returncode == 0, f"seed {begun[-1:]}: {done.stderr[-2000:]}"
        return answers


def packed(path: Path) -> dict[str, Any]:
    """An image as the agent wants it: its size and the blocks that are not zero."""
    blocks = []
    with open(path, "rb") as file:
        for number in range(path.stat().st_size // BLOCK):
            data = file.read(BLOCK)
            if data.strip(b"\0"):
                blocks.append(struct.pack("<Q", number) + data)
    return {"size": path.stat().st_size, "blocks": base64.b64encode(zlib.compress(b"".join(blocks), 6)).decode()}


@pytest.fixture(scope="module", params=KERNELS)
def lab(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with SmokeGuest(tmp_path_factory.mktemp("guest"), request.param) as shared:
        shared.deploy(*built(MANIFEST, "vexfs-kernel", tmp_path_factory.mktemp("build"), request.param))
        yield Lab(shared.machine(), tmp_path_factory.mktemp("lab"))


def judge(lab: Lab, first: int, count: int, deadline: float) -> None:
    began = len(lab.machine.console_text())
    images = lab.patches(first, count)
    answers = lab.run(lab.bases(), images, deadline)
    assert [said["seed"] for said in answers] == [image["seed"] for image in images]
    mounts: Counter[str] = Counter()
    for said in answers:
        mounts.update((said["ro"], said["rw"]))
        assert {said["ro"], said["rw"]} <= MOUNTS, said
        assert set(said["ro-answers"]) | set(said.get("rw-answers", {})) <= ANSWERS, said
        assert said.get("ro-unmount", 0) == said.get("rw-unmount", 0) == 0, said
    print(f"{count} images: {dict(mounts)}")
    # Some are refused, most are mounted: else the mutations would not reach what they are for.
    assert mounts["ok"] > count // 2 and mounts["EUCLEAN"] > 0
    told = lab.machine.run(["dmesg"], deadline=30, check=True).stdout
    found = [str(item) for item in (*splat.scan(lab.machine.console_text()[began:]), *splat.scan(told))]
    assert not found, found[:3]


def test_mutated_images_neither_crash_nor_hang_the_module(lab: Lab) -> None:
    judge(lab, 0, 120, deadline=120)


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_two_thousand_mutated_images(lab: Lab) -> None:
    for first in range(0, 2000, 250):
        judge(lab, first, 250, deadline=900)


def unpacked(path: Path, folder: Path) -> dict[str, Any]:
    image = folder / path.stem
    subprocess.run(["zstd", "-q", "-d", "--sparse", "--long=27", path, "-o", image], check=True, timeout=120)
    return packed(image)


def test_the_module_reads_the_golden_images_as_the_library_does(lab: Lab, tmp_path: Path) -> None:
    found = [path for path in sorted(GOLDEN.glob("*.zst")) if not path.name.endswith(".json.zst")]
    assert len(found) >= 13
    bases = {path.stem: unpacked(path, tmp_path) for path in found}
    images = [{"seed": "golden", "base": name, "patches": []} for name in bases]
    for said in lab.run(bases, images, deadline=120):
        name = said["base"]
        whole = json.loads((GOLDEN / f"{name}.json").read_text())
        want = whole["mount"]
        if whole.get("search"):
            assert sorted(said["search"]) == sorted(whole["search"]), name
        if "failed" in want:
            # What the page cache cannot read is EIO whatever the reason (iomap_read_folio); all else is EUCLEAN.
            assert said.get("failed") in ("EUCLEAN", "EIO"), f"{name}: {str(said)[:2000]}"
        else:
            assert {key: said.get(key) for key in want} == want, f"{name}: {str(said)[:2000]}"


def test_nothing_is_left_in_the_kernel(lab: Lab) -> None:
    lab.machine.run(["rmmod", "vexfs"], deadline=60, check=True)
    told = lab.machine.run(["dmesg"], deadline=30, check=True).stdout
    assert not splat.scan(told)
