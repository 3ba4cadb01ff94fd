# SPDX-License-Identifier: Apache-2.0
"""A wrong vexci.yaml is refused as a whole, with every mistake at its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from ci import config
from ci.errors import UsageError
from ci.manifest import CloudSpec
from ci.reader import ConfigError

pytestmark = pytest.mark.unit

GOOD = """\
version: 1
project: demo
artifacts:
  mod:
    builder: kbuild
    folder: kernel
    module: demo
    kernels: [k]
    mount: [mount, -t, demo, demo, "{mountpoint}"]
  daemon:
    builder: cargo
    folder: fuse
    binary: demo_fuse
    features: [fuse_support]
    version: {args: [--version], contains: [demo]}
kernels:
  k: {provider: apt, pattern: 6.1-cloud}
images:
  img: {folder: image}
machines:
  default: {image: img, kernel: k, memory: 1024}
suites:
  smoke: {artifacts: [mod, daemon], minimum: 3, deadline: 60}
benchmarks:
  files:
    systems: [mod, ext4]
    workloads:
      seq: {tool: fio, options: {rw: write}}
"""


def write(folder: Path, text: str) -> Path:
    for name in ("kernel", "fuse", "image"):
        (folder / name).mkdir(exist_ok=True)
    path = folder / "vexci.yaml"
    path.write_text(text)
    return path


def mistakes(folder: Path, text: str) -> dict[str, tuple[int, str]]:
    with pytest.raises(ConfigError) as caught:
        config.read(write(folder, text))
    return {p.key: (p.line, p.message) for p in caught.value.problems}


def test_a_good_manifest_becomes_typed_values(tmp_path: Path) -> None:
    manifest = config.read(write(tmp_path, GOOD))
    assert manifest.root == tmp_path
    assert manifest.artifact("daemon").features == ("fuse_support",)
    assert manifest.artifact("mod").output == "demo.ko"
    assert manifest.machine("default").memory == 1024
    assert manifest.benchmarks[0].workloads[0].options == (("rw", "write"),)


def test_all_mistakes_are_reported_at_once_each_with_its_line(tmp_path: Path) -> None:
    text = GOOD.replace("features: [fuse_support]", "featurs: [fuse_support]")
    text = text.replace("kernel: k,", "kernel: kk,").replace("minimum: 3", "minimum: three")
    found = mistakes(tmp_path, text)
    assert found["artifacts.daemon.featurs"] == (14, "unknown key; did you mean 'features'?")
    assert found["machines.default.kernel"] == (21, "'kk' is not known; did you mean 'k'?")
    assert found["suites.smoke.minimum"] == (23, "expected a number")
    assert len(found) == 3


@pytest.mark.parametrize(
    ("old", "new", "key", "says"),
    [
        ("builder: cargo", "builder: carg", "artifacts.daemon.builder", "did you mean 'cargo'?"),
        ("folder: fuse", "folder: fuze", "artifacts.daemon.folder", "does not exist"),
        ("module: demo", "modul: demo", "artifacts.mod.module", "is missing"),
        ("kernels: [k]", "kernels: k", "artifacts.mod.kernels", "expected a list of texts"),
        ("artifacts: [mod, daemon]", "artifacts: [mod, demon]", "suites.smoke.artifacts", "did you mean 'daemon'?"),
        ("memory: 1024", "memory: 12", "machines.default.memory", "expected a number from 256"),
        ("version: 1\n", "version: 2\n", "version", "expected 1"),
        ('"{mountpoint}"', '"{mountpont}"', "artifacts.mod.mount", "placeholder"),
        ("    module: demo\n", "    module: demo\n    prepare: [mkfs, x]\n", "artifacts.mod.prepare", "expected a list of commands"),
        ("    module: demo\n", '    module: demo\n    prepare: [[mkfs, "{vol}"]]\n', "artifacts.mod.prepare", "placeholder"),
        ("suites:\n  smoke:", "suites:\n  smok:", "suites.smok.", "did you mean 'smoke'?"),
        ("systems: [mod, ext4]", "systems: [mod, ext5]", "benchmarks.files.systems", "did you mean 'ext4'?"),
        (
            "options: {rw: write}",
            "options: {rw: write}, quick: {size: 1m}, long: true",
            "benchmarks.files.workloads.seq.quick",
            "'long' leaves",
        ),
        ("img: {folder: image}", "img: {folder: image, cloud: x}", "images.img.cloud", "expected either 'folder' or 'cloud'"),
        ("img: {folder: image}", "img: {cloud: 'ftp://h/x', sha512: ''}", "images.img.cloud", "expected a path, or a URL"),
        ("img: {folder: image}", "img: {cloud: 'https://h/x'}", "images.img.sha512", "a URL needs it"),
        ("img: {folder: image}", "img: {cloud: x, sha512: abc}", "images.img.sha512", "expected the 128 hexadecimal digits"),
        ("img: {folder: image}", "img: {cloud: x, size: -1}", "images.img.size", "expected a number from 0"),
        ("img: {folder: image}", "img: {}", "images.img.folder", "is missing"),
    ],
)
def test_each_mistake_names_its_key_and_the_way_out(tmp_path: Path, old: str, new: str, key: str, says: str) -> None:
    assert old in GOOD
    found = mistakes(tmp_path, GOOD.replace(old, new))
    assert says in found[key][1]


def test_what_verification_is_told_becomes_typed_values(tmp_path: Path) -> None:
    text = GOOD.replace("project: demo\n", "project: demo\nrelease: 1.20\n")
    text = text.replace(
        "    module: demo\n", "    module: demo\n    floating_point: [dsp.c]\n    not_compiled: [tests/*]\n    warnings: 3\n"
    )
    text = text.replace("    binary: demo_fuse\n", "    binary: demo_fuse\n    libraries: []\n    glibc: 2.36\n")
    path = write(tmp_path, text)
    (tmp_path / "kernel/dsp.c").write_text("")
    manifest = config.read(path)
    module, daemon = manifest.artifact("mod"), manifest.artifact("daemon")
    assert (manifest.release, module.floating_point, module.not_compiled, module.warnings) == ("1.20", ("dsp.c",), ("tests/*",), 3)
    assert (daemon.libraries, daemon.glibc, daemon.warnings, module.libraries) == ((), "2.36", None, None)


@pytest.mark.parametrize(
    ("line", "key", "says"),
    [
        ("    module: demo\n    floating_point: [gone.c]\n", "artifacts.mod.floating_point", "there is no file"),
        ("    module: demo\n    glibc: 2.36\n", "artifacts.mod.glibc", "unknown key"),
        ("    module: demo\n    warnings: -1\n", "artifacts.mod.warnings", "expected a number from 0"),
    ],
)
def test_what_verification_is_told_wrongly_is_a_mistake(tmp_path: Path, line: str, key: str, says: str) -> None:
    assert says in mistakes(tmp_path, GOOD.replace("    module: demo\n", line))[key][1]


def test_a_glibc_version_is_made_of_numbers(tmp_path: Path) -> None:
    found = mistakes(tmp_path, GOOD.replace("    binary: demo_fuse\n", "    binary: demo_fuse\n    glibc: GLIBC_2.36\n"))
    assert "expected a version such as" in found["artifacts.daemon.glibc"][1]


def test_a_cloud_image_is_a_path_beside_the_manifest_or_a_url(tmp_path: Path) -> None:
    local = config.read(write(tmp_path, GOOD.replace("img: {folder: image}", "img: {cloud: disks/c.qcow2, size: 4096}"))).image("img")
    assert local.folder is None and local.cloud == CloudSpec(str(tmp_path / "disks/c.qcow2"), "", 4096)
    given = f"img: {{cloud: 'https://h/c.qcow2', sha512: {'AB' * 64}}}"
    assert config.read(write(tmp_path, GOOD.replace("img: {folder: image}", given))).image("img").cloud == CloudSpec(
        "https://h/c.qcow2", "ab" * 64
    )


def test_a_key_given_twice_is_a_mistake(tmp_path: Path) -> None:
    found = mistakes(tmp_path, GOOD.replace("project: demo\n", "project: demo\nproject: other\n"))
    assert found["project"] == (3, "given twice; the first is at line 2")


@pytest.mark.parametrize("text", ["a: [", "- x\n", "", "a: b: c\n", "\t\n"])
def test_what_is_no_yaml_mapping_is_a_mistake_and_no_traceback(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError):
        config.read(write(tmp_path, text))


def test_a_missing_manifest_says_how_to_name_one(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        config.read(tmp_path / "nowhere.yaml")
    assert "VEXCI_CONFIG" in caught.value.hint


def test_the_projects_own_manifest_is_valid() -> None:
    assert config.read(Path(__file__).parents[2] / "vexci.yaml").project == "vexfs"


def test_what_dev_builds_of_a_crate_has_the_features_of_all_of_it_and_what_ships_its_own() -> None:
    manifest = config.read(Path(__file__).parents[2] / "vexci.yaml")
    tool = manifest.artifact("vexfs-mkfs")
    assert tool.with_profile(tool.dev_profile).features == ("fuse_support",)
    assert tool.with_profile("") == tool and tool.features == ()
    assert manifest.artifact("vexfs-kernel").dev_features == ()


def test_options_of_suites_are_looked_at(tmp_path: Path) -> None:
    stress = "  stress: {artifacts: [mod], minimum: 3, deadline: 60, options: {seconds: soon, sed: 1}}\n"
    found = mistakes(tmp_path, GOOD.replace("benchmarks:\n", f"{stress}benchmarks:\n"))
    assert found["suites.stress.options.seconds"][1] == "expected a number of seconds above 0, got 'soon'"
    assert found["suites.stress.options.sed"][1] == "the suite stress has no option 'sed'; did you mean 'seed'?"
