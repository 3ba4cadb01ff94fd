# SPDX-License-Identifier: Apache-2.0
"""vexci.yaml -> ci.manifest, with every mistake reported at once and nothing started."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path

from ci import recipe, settings
from ci.manifest import (
    ArchiveSpec,
    ArtifactSpec,
    BenchmarkSpec,
    CloudSpec,
    FeatureSet,
    ImageSpec,
    KernelSpec,
    MachineSpec,
    Manifest,
    Probe,
    SnapshotLimits,
    SuiteSpec,
    WorkloadSpec,
)
from ci.model import DEFAULT_SET, Kind
from ci.reader import ConfigError, Section, load, nearest

BUILDERS = {"kbuild": Kind.KERNEL_MODULE, "cargo": Kind.DAEMON, "make": Kind.DAEMON}
KERNEL_BASES = ("allnoconfig", "defconfig", "x86_64_defconfig")
TOOLCHAINS = ("gcc", "clang")
PROVIDERS = ("apt", "host", "source", "tree")
FSYNC_SCOPES = ("file", "volume")
SUITES = tuple(settings.SETTINGS)
SUITE_REFERENCES = ("ext4",)
WORKLOAD_TOOLS = ("fio", "metadata", "tree", "vectors")
REFERENCE_SYSTEMS = ("ext4", "tmpfs", "fuse2fs", "numpy", "faiss", "chroma", "chroma-server", "qdrant-edge", "qdrant-server")
PLACES = ("guest", "host")
BACKINGS = ("memory", "disk", "device")
FORMAT_VERSION = 1


def manifest_path() -> Path:
    """The manifest in force: VEXCI_CONFIG, else vexci.yaml beside tasks.py."""
    given = os.environ.get("VEXCI_CONFIG")
    return Path(given).absolute() if given else Path(__file__).resolve().parent.parent / "vexci.yaml"


def read(path: Path) -> Manifest:
    """The validated manifest; ConfigError lists every mistake (exit 2)."""
    top = load(path)
    root = path.absolute().parent
    if top.whole("version", least=0) != FORMAT_VERSION and top.has("version"):
        top.problem("version", f"expected {FORMAT_VERSION}, the only format that this tool knows")
    archives = {name: _archive(name, s, root) for name, s in top.sections("archives", required=False)}
    kernels = tuple(_kernel(name, s, root, archives) for name, s in top.sections("kernels", required=False))
    images = tuple(_image(name, s, root) for name, s in top.sections("images", required=False))
    artifacts = _with_dev_features([_artifact(name, s, root, [k.name for k in kernels]) for name, s in top.sections("artifacts")])
    machines = tuple(_machine(name, s, kernels, images) for name, s in top.sections("machines", required=False))
    names = [a.name for a in artifacts]
    manifest = Manifest(
        root=root,
        path=path,
        project=top.text("project"),
        artifacts=artifacts,
        kernels=kernels,
        images=images,
        machines=machines,
        suites=tuple(_suite(name, s, names, [k.name for k in kernels]) for name, s in top.sections("suites", required=False)),
        benchmarks=tuple(_benchmark(name, s, names) for name, s in top.sections("benchmarks", required=False)),
        release=top.text("release", ""),
        snapshots=_snapshots(top),
    )
    if not artifacts and top.has("artifacts"):
        top.problem("artifacts", "expected at least one artifact")
    top.finish()
    if top.problems:
        raise ConfigError(path, top.problems)
    return manifest


def _with_dev_features(artifacts: list[ArtifactSpec]) -> tuple[ArtifactSpec, ...]:
    """What of a crate has a profile of its own in ./inv dev is built there with the features of all of that profile."""

    def place(spec: ArtifactSpec) -> tuple[object, ...]:
        return spec.folder, spec.recipe.work, spec.dev_profile

    def together(spec: ArtifactSpec) -> tuple[str, ...]:
        beside = [name for each in artifacts if place(each) == place(spec) for name in each.features]
        return tuple(dict.fromkeys(beside)) if spec.dev_profile else ()

    return tuple(replace(spec, dev_features=together(spec)) for spec in artifacts)


def _folder(section: Section, root: Path) -> Path:
    folder = root / section.text("folder")
    if section.has("folder") and not folder.is_dir():
        section.problem("folder", f"the folder {folder} does not exist")
    return folder


def _references(section: Section, key: str, valid: list[str], default: tuple[str, ...] | None = None) -> tuple[str, ...]:
    given = section.texts(key, default)
    for name in given:
        if name not in valid:
            section.problem(key, f"'{name}' is not defined{nearest(name, valid)}")
    return given


def _artifact(name: str, section: Section, root: Path, kernels: list[str]) -> ArtifactSpec:
    builder = section.text("builder", choices=tuple(BUILDERS))
    kind = BUILDERS.get(builder, Kind.DAEMON)
    module = kind is Kind.KERNEL_MODULE
    output = f"{section.text('module')}.ko" if module else recipe.output(section) if builder == "make" else section.text("binary")
    folder = _folder(section, root)
    targets = _references(section, "kernels", kernels) if module else ()
    spec = ArtifactSpec(
        name=name,
        kind=kind,
        builder=builder,
        folder=folder,
        output=output,
        features=section.texts("features"),
        profile=section.text("profile", "release") if builder == "cargo" else "",
        dev_profile=section.text("dev_profile", "") if builder == "cargo" else "",
        variables=section.pairs("variables"),
        license=section.text("license", "GPL") if module else "",
        kernels=targets,
        floating_point=section.texts("floating_point") if module else (),
        not_compiled=section.texts("not_compiled") if module else (),
        libraries=section.texts("libraries") if not module and section.has("libraries") else None,
        glibc="" if module else _version(section, "glibc"),
        warnings=section.whole("warnings") if section.has("warnings") else None,
        help=None if module else _probe(section, "help"),
        version=None if module else _probe(section, "version"),
        feature_probe=None if module else _probe(section, "feature_probe"),
        feature_section="" if module else section.text("feature_section", ""),
        filesystem=section.text("filesystem", ""),
        prepare=section.commands("prepare"),
        mount=section.texts("mount"),
        check=section.texts("check"),
        repair=section.texts("repair"),
        fsync=section.text("fsync", FSYNC_SCOPES[0], FSYNC_SCOPES),
        mount_in_memory=section.texts("mount_in_memory"),
        vectors=root / section.text("vectors") if section.has("vectors") else None,
        persistent=section.flag("persistent"),
        deadline=section.number("deadline", 900, least=1),
        feature_sets=tuple(_feature_set(n, s, module) for n, s in section.sections("feature_sets", required=False)),
        toolchains=_toolchains(section) if module else (),
        findings=recipe.findings(section, builder),
        recipe=recipe.read(section, builder, folder),
        expect=recipe.expectation(section, targets),
        layouts=recipe.layouts(section, root),
        lacks=section.pairs("lacks"),
    )
    recipe.placeholders(section, "variables", tuple(value for _, value in spec.variables), recipe.PLACEHOLDERS)
    recipe.placeholders(section, "mount", spec.mount, ("{artifact}", "{mountpoint}", "{volume}"))
    for command in spec.prepare:
        recipe.placeholders(section, "prepare", command, ("{artifact}", "{volume}", "{size}"))
    if spec.vectors is not None and not spec.vectors.is_file():
        section.problem("vectors", f"there is no file {spec.vectors}")
    if spec.mount and not any("{mountpoint}" in word for word in spec.mount):
        section.problem("mount", "expected the placeholder {mountpoint} in the command")
    _check_sources(section, spec)
    section.finish()
    return spec


def _feature_set(name: str, section: Section, module: bool) -> FeatureSet:
    if not re.fullmatch(r"[a-z0-9][a-z0-9.-]*", name) or name in (DEFAULT_SET, "all"):
        section.problem("", f"'{name}' cannot be the name of a feature set; expected small letters, digits and '-'")
    chosen = FeatureSet(
        name,
        section.texts("features"),
        section.pairs("variables") if module else (),
        section.texts("not_compiled") if module and section.has("not_compiled") else None,
    )
    section.finish()
    return chosen


def _toolchains(section: Section) -> tuple[str, ...]:
    given = section.texts("toolchains", TOOLCHAINS[:1])
    for name in given:
        if name not in TOOLCHAINS:
            section.problem("toolchains", f"'{name}' is not known{nearest(name, TOOLCHAINS)}")
    return given or TOOLCHAINS[:1]


def _probe(section: Section, name: str) -> Probe | None:
    below = section.section(name, required=False)
    if below is None:
        return None
    probe = Probe(below.texts("args", None), below.texts("contains"), below.text("key", ""))
    below.finish()
    return probe


def _version(section: Section, name: str) -> str:
    given = section.text(name, "")
    if given and not re.fullmatch(r"\d+(\.\d+)*", given):
        section.problem(name, f"expected a version such as \"2.36\", got '{given}'")
        return ""
    return given


def _check_sources(section: Section, spec: ArtifactSpec) -> None:
    for name in spec.floating_point:
        if spec.folder.is_dir() and not (spec.folder / name).is_file():
            section.problem("floating_point", f"there is no file {spec.folder / name}")


def _archive(name: str, section: Section, root: Path) -> ArchiveSpec:
    spec = ArchiveSpec(
        name=name,
        uri=section.text("uri"),
        suites=section.texts("suites", None),
        components=section.texts("components", ("main",)),
        keyring=root / section.text("keyring"),
    )
    words = (spec.uri, *spec.suites, *spec.components)
    if any(re.search(r"[\s\[\]#]", word) for word in words) or not spec.uri.startswith(("http://", "https://", "file:/")):
        section.problem("uri", "expected the address of a package archive, its suites and components, without blanks")
    if re.search(r"[\s\[\]]", str(spec.keyring)):
        section.problem("keyring", "expected a path without blanks and brackets: apt cannot read another")
    section.finish()
    return spec


def _kernel(name: str, section: Section, root: Path, archives: dict[str, ArchiveSpec]) -> KernelSpec:
    provider = section.text("provider", choices=PROVIDERS)
    source = provider == "source"
    given = _references(section, "archives", list(archives), ()) if provider in ("apt", "source") else ()
    spec = KernelSpec(
        name=name,
        provider=provider,
        pattern=section.text("pattern") if provider == "apt" else "",
        optional=section.flag("optional"),
        archives=tuple(archives[each] for each in given if each in archives),
        on_request=section.flag("on_request"),
        folder=_folder(section, root) if provider == "tree" else None,
        package=section.text("package", "") if source else "",
        tarball=_tarball(section, root) if source else "",
        sha256=section.text("sha256", "") if source else "",
        base=section.text("base", KERNEL_BASES[0], KERNEL_BASES) if source else "",
        toolchain=section.text("toolchain", "gcc", ("gcc", "clang")) if source else "gcc",
        fragments=section.files("fragments", root) if source else (),
        deadline=section.number("deadline", 7200, least=1) if source else 0.0,
        patience=section.number("patience", 1, least=1, most=100),
    )
    if source and bool(spec.package) == bool(spec.tarball):
        section.problem("package", "expected either 'package' or 'tarball'")
    if bool(spec.tarball) != bool(spec.sha256) or not re.fullmatch(r"([0-9a-f]{64})?", spec.sha256):
        section.problem("sha256", "expected the 64 hexadecimal digits of the tarball's SHA-256")
    section.finish()
    return spec


def _tarball(section: Section, root: Path) -> str:
    given = section.text("tarball", "")
    return given if not given or "://" in given else str(root / given)


def _image(name: str, section: Section, root: Path) -> ImageSpec:
    if section.has("cloud") and section.has("folder"):
        section.problem("cloud", "expected either 'folder' or 'cloud'")
    spec = ImageSpec(name, cloud=_cloud(section, root)) if section.has("cloud") else ImageSpec(name, _folder(section, root))
    section.finish()
    return spec


def _cloud(section: Section, root: Path) -> CloudSpec:
    given = section.text("cloud")
    url = "://" in given
    spec = CloudSpec(
        given if url else str(root / given), section.text("sha512", "").lower(), section.whole("size", 0, least=0, most=1 << 20)
    )
    if url and not given.startswith(("https://", "http://")):
        section.problem("cloud", "expected a path, or a URL that begins with https:// or http://")
    if not re.fullmatch(r"([0-9a-f]{128})?", spec.sha512):
        section.problem("sha512", "expected the 128 hexadecimal digits of the image's SHA-512")
    elif url and not spec.sha512:
        section.problem("sha512", "a URL needs it: the 128 hexadecimal digits of the image's SHA-512")
    return spec


def _machine(name: str, section: Section, kernels: tuple[KernelSpec, ...], images: tuple[ImageSpec, ...]) -> MachineSpec:
    spec = MachineSpec(
        name=name,
        image=section.text("image", choices=[i.name for i in images]),
        kernel=section.text("kernel", choices=[k.name for k in kernels]),
        memory=section.whole("memory", 1024, least=256, most=1 << 20),
        cpus=section.whole("cpus", 2, least=1, most=256),
        uri=section.text("uri", "private"),
        slots=section.whole("slots", 0, least=0, most=256),
    )
    section.finish()
    return spec


def _snapshots(top: Section) -> SnapshotLimits:
    section = top.section("snapshots", required=False)
    if section is None:
        return SnapshotLimits()
    limits = SnapshotLimits(section.whole("size", 4096, least=0), section.number("age", 14, least=0))
    section.finish()
    return limits


def _suite(name: str, section: Section, artifacts: list[str], kernels: list[str]) -> SuiteSpec:
    if section.has("parts"):
        return _set_of_suites(name, section, kernels)
    if name not in SUITES:
        section.problem("", f"the suite '{name}' is not known{nearest(name, SUITES)}")
    options = section.pairs("options")
    if given := section.section("options", required=False):
        for option, words in settings.problems(name, options):
            given.problem(option, words)
    spec = SuiteSpec(
        name=name,
        artifacts=_references(section, "artifacts", artifacts),
        minimum=section.whole("minimum", least=1),
        deadline=section.number("deadline", least=1),
        operation_deadline=section.number("operation_deadline", 20, least=0.1),
        options=options,
        on_request=section.flag("on_request"),
        references=_references(section, "references", list(SUITE_REFERENCES), ()),
        kernels=_references(section, "kernels", kernels, ()),
    )
    section.finish()
    return spec


def _set_of_suites(name: str, section: Section, kernels: list[str]) -> SuiteSpec:
    """A name for several suites on kernels of their own."""
    if name in SUITES:
        section.problem("", f"'{name}' is a suite of the tool's own and cannot be a name for others")
    spec = SuiteSpec(
        name=name,
        artifacts=(),
        minimum=1,
        deadline=1.0,
        operation_deadline=1.0,
        on_request=section.flag("on_request"),
        kernels=_references(section, "kernels", kernels, ()),
        parts=_references(section, "parts", list(SUITES)),
    )
    section.finish()
    return spec


def _benchmark(name: str, section: Section, artifacts: list[str]) -> BenchmarkSpec:
    spec = BenchmarkSpec(
        name=name,
        systems=_references(section, "systems", [*artifacts, *(f"{name}-in-memory" for name in artifacts), *REFERENCE_SYSTEMS]),
        workloads=tuple(_workload(n, s) for n, s in section.sections("workloads")),
        rounds=section.whole("rounds", 5, least=1, most=1000),
        deadline=section.number("deadline", 120, least=1),
        silence=section.number("silence", 30, least=1),
        place=section.text("place", PLACES[0], PLACES),
        backing=section.text("backing", BACKINGS[0], BACKINGS),
        size=section.whole("size", 256, least=16, most=1 << 20),
        on_request=section.flag("on_request"),
    )
    if spec.place == "host" and spec.backing == "device":
        section.problem("backing", "expected memory or disk: this machine gives away no device")
    section.finish()
    return spec


def _workload(name: str, section: Section) -> WorkloadSpec:
    spec = WorkloadSpec(
        name, section.text("tool", choices=WORKLOAD_TOOLS), section.pairs("options"), section.pairs("quick"), section.flag("long")
    )
    if spec.long and spec.quick:
        section.problem("quick", "'long' leaves the workload out with --quick, so that it needs no options for it")
    section.finish()
    return spec
