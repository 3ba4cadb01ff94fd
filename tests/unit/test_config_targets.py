# SPDX-License-Identifier: Apache-2.0
"""What vexci.yaml says of kernels, archives and feature sets becomes typed values; every mistake has its key and the way out."""

from __future__ import annotations

from pathlib import Path

import pytest

from ci import config
from ci.manifest import KernelSpec
from ci.reader import ConfigError

pytestmark = pytest.mark.unit

GOOD = """\
version: 1
project: demo
artifacts:
  mod:
    builder: kbuild
    folder: .
    module: demo
    kernels: [old, mine, tree]
    features: [journal]
    variables: {A: "1"}
    toolchains: [gcc, clang]
    feature_sets:
      small: {variables: {A: "2"}, not_compiled: [a.c]}
archives:
  debian:
    uri: http://127.0.0.1/debian
    suites: [bookworm, bookworm-updates]
    keyring: keys.gpg
kernels:
  old: {provider: apt, pattern: 6.1-cloud, archives: [debian]}
  mine:
    provider: source
    package: linux-source-6.12
    fragments: [a.config]
    on_request: true
    patience: 4
  tree: {provider: tree, folder: .}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "a.config").write_text("CONFIG_A=y\n")
    return tmp_path


def kernel(folder: Path, name: str, text: str = GOOD) -> KernelSpec:
    (folder / "vexci.yaml").write_text(text)
    return config.read(folder / "vexci.yaml").kernel(name)


def test_kernels_and_archives_become_typed_values(folder: Path) -> None:
    old, mine = kernel(folder, "old"), kernel(folder, "mine")
    (debian,) = old.archives
    assert (debian.suites, debian.components, debian.keyring) == (("bookworm", "bookworm-updates"), ("main",), folder / "keys.gpg")
    assert not old.on_request and mine.on_request and mine.patience == 4 and mine.base == "allnoconfig"
    assert mine.fragments == (folder / "a.config",) and mine.archives == ()
    assert kernel(folder, "tree").folder == folder
    tarball = GOOD.replace("package: linux-source-6.12", f"tarball: linux.tar.xz\n    sha256: {'a' * 64}")
    assert kernel(folder, "mine", tarball).tarball == str(folder / "linux.tar.xz")
    url = GOOD.replace("package: linux-source-6.12", f"tarball: https://127.0.0.1/linux.tar.xz\n    sha256: {'a' * 64}")
    assert kernel(folder, "mine", url).tarball == "https://127.0.0.1/linux.tar.xz"


def test_feature_sets_become_typed_values(folder: Path) -> None:
    (folder / "vexci.yaml").write_text(GOOD)
    (spec,) = config.read(folder / "vexci.yaml").artifacts
    assert spec.set_names == ["default", "small"] and spec.toolchains == ("gcc", "clang")
    small = spec.built_as("small")
    assert small.features == () and small.variables == (("A", "2"),) and small.not_compiled == ("a.c",) and small.absent == ("journal",)


@pytest.mark.parametrize(
    ("old", "new", "key", "says"),
    [
        ("provider: source", "provider: sauce", "kernels.mine.provider", "did you mean 'source'"),
        ("archives: [debian]", "archives: [debain]", "kernels.old.archives", "did you mean 'debian'"),
        ("    package: linux-source-6.12\n", "", "kernels.mine", "either 'package' or 'tarball'"),
        ("package: linux-source-6.12", "tarball: x.tar", "kernels.mine", "64 hexadecimal digits"),
        ("    on_request: true", f"    tarball: x.tar\n    sha256: {'a' * 64}", "kernels.mine.package", "either 'package' or 'tarball'"),
        ("fragments: [a.config]", "fragments: [b.config]", "kernels.mine.fragments", "there is no file"),
        ("fragments: [a.config]", "base: tinyconfig", "kernels.mine.base", "'tinyconfig' is not known"),
        ("patience: 4", "patience: 0", "kernels.mine.patience", "from 1 to 100"),
        ("provider: tree, folder: .", "provider: tree, folder: nowhere", "kernels.tree.folder", "does not exist"),
        ("provider: tree, folder: .", "provider: tree", "kernels.tree.folder", "is missing"),
        ("provider: tree, folder: .", "provider: host, folder: .", "kernels.tree.folder", "unknown key"),
        ("uri: http://127.0.0.1/debian", "uri: mirror", "archives.debian.uri", "address of a package archive"),
        ("uri: http://127.0.0.1/debian", "uri: 'http://127.0.0.1/ x'", "archives.debian.uri", "without blanks"),
        ("    keyring: keys.gpg\n", "", "archives.debian.keyring", "is missing"),
        ("keyring: keys.gpg", "keyring: 'my keys.gpg'", "archives.debian.keyring", "without blanks"),
        ("toolchains: [gcc, clang]", "toolchains: [tcc]", "artifacts.mod.toolchains", "did you mean 'gcc'"),
        ("      small:", "      default:", "artifacts.mod.feature_sets.default", "cannot be the name"),
        ("      small:", "      all:", "artifacts.mod.feature_sets.all", "cannot be the name"),
        ("      small:", "      ../up:", "artifacts.mod.feature_sets.../up", "cannot be the name"),
        ("not_compiled: [a.c]", "profile: x", "artifacts.mod.feature_sets.small.profile", "unknown key"),
    ],
)
def test_each_mistake_names_its_key_and_the_way_out(folder: Path, old: str, new: str, key: str, says: str) -> None:
    assert GOOD.count(old) == 1
    (folder / "vexci.yaml").write_text(GOOD.replace(old, new))
    with pytest.raises(ConfigError) as caught:
        config.read(folder / "vexci.yaml")
    assert any(problem.key.startswith(key) and says in problem.message for problem in caught.value.problems), caught.value.problems
