# SPDX-License-Identifier: Apache-2.0
"""Rust binaries through cargo. Whether a binary was built, and where it is, only cargo's own messages say (B1, B2)."""

from __future__ import annotations

import errno
import json
import os
import shlex
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

from ci import process, store
from ci.build import before, messages, sources, stamp
from ci.build.job import Job
from ci.errors import InfrastructureError, ProductFailure, UsageError, VexciError
from ci.model import DEFAULT_SET, Artifact
from ci.process import Limits

RUST_HINT = "install Rust with rustup (rustup.rs); ./inv doctor shows what is found"


def precheck(job: Job) -> None:
    """The binary must exist in the package, and the features that it requires must be asked for (B1)."""
    process.find_program("cargo", hint=RUST_HINT)
    if job.spec.recipe.toolchain:
        _check_toolchain(job)
    if not (job.source / "Cargo.toml").is_file():
        raise UsageError(f"{job.label}: no Cargo.toml in {job.relative(job.source)}", hint="name its folder with 'work:'")
    metadata = _metadata(job)
    binaries = {target["name"]: target for package in metadata["packages"] for target in package["targets"] if "bin" in target["kind"]}
    manifest = job.relative(job.source / "Cargo.toml")
    if job.spec.output not in binaries:
        known = ", ".join(sorted(binaries)) or "none"
        raise UsageError(f"{job.label}: the package has no binary '{job.spec.output}' (it has: {known})", where=manifest)
    _check_features(job, binaries[job.spec.output], metadata, manifest)


def _check_toolchain(job: Job) -> None:
    """A toolchain is rustup's to choose, and is not downloaded in passing."""
    err = process.scratch_file("toolchain.err")
    env = {**os.environ, "RUSTUP_AUTO_INSTALL": "0"}
    done = process.run([*cargo(job), "--version"], limits=Limits(60), stderr=err, env=env)
    if not done.ok:
        name = job.spec.recipe.toolchain
        said = (done.error_text().strip().splitlines() or ["it said nothing"])[0]
        raise UsageError(
            f"{job.label}: the toolchain '{name}' cannot be used: {said}", where="vexci.yaml", hint=f"rustup toolchain install {name}"
        )


def cargo(job: Job) -> list[str]:
    """How cargo is called for this artifact: with the manifest's toolchain, or the one that the tree itself asks for."""
    return ["cargo", *([f"+{job.spec.recipe.toolchain}"] if job.spec.recipe.toolchain else [])]


def _metadata(job: Job) -> dict[str, Any]:
    """What cargo says of the package, asked once for all binaries of it that are built at the same time."""
    key = f"metadata {job.source} {job.spec.recipe.toolchain}"
    if key not in job.answers:
        job.answers[key] = _read_metadata(job)
    found: dict[str, Any] = job.answers[key]
    return found


def _read_metadata(job: Job) -> dict[str, Any]:
    argv = [*cargo(job), "metadata", "--no-deps", "--offline", "--format-version", "1"]
    err = process.scratch_file("metadata.err")
    done = process.run(argv, limits=Limits(60), cwd=job.source, stderr=err)
    if not done.ok:
        reason = done.error_text().strip().splitlines()
        raise UsageError(f"{job.label}: cargo cannot read the package: {' '.join(reason)[:400]}")
    parsed: dict[str, Any] = json.loads(done.text())
    return parsed


def _check_features(job: Job, binary: dict[str, Any], metadata: dict[str, Any], manifest: str) -> None:
    declared = {name for package in metadata["packages"] for name in package["features"]}
    unknown = [name for name in job.spec.features if name not in declared]
    if unknown:
        raise UsageError(
            f"{job.label}: the package has no feature {_quoted(unknown)} (it has: {', '.join(sorted(declared)) or 'none'})", where=manifest
        )
    required = set(binary.get("required-features", []))
    missing = sorted(required - _enabled(job.spec.features, metadata))
    if missing:
        features = ", ".join(sorted({*job.spec.features, *missing}))
        raise UsageError(
            f"{job.label}: the binary '{job.spec.output}' needs the feature {_quoted(missing)}, which the manifest does not ask for; "
            "cargo would exit 0 and build nothing",
            where="vexci.yaml",
            hint=f"write 'features: [{features}]' under artifacts.{job.spec.name}; by hand:\n{_by_hand(job, features)}",
        )


def _enabled(asked: tuple[str, ...], metadata: dict[str, Any]) -> set[str]:
    """The asked-for features, the default ones, and all that these imply."""
    table: dict[str, list[str]] = {}
    for package in metadata["packages"]:
        table.update(package["features"])
    todo, seen = [*asked, "default"], set()
    while todo:
        name = todo.pop()
        if name not in seen:
            seen.add(name)
            todo += table.get(name, [])
    return seen


def _by_hand(job: Job, features: str) -> str:
    return f'cargo build --{job.spec.profile} --bin {job.spec.output} --features="{features.replace(", ", ",")}"'


def _quoted(names: list[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)


def build(job: Job) -> Artifact:
    """Build the binary."""
    log, err = job.log("json"), job.log("log")
    if job.spec.recipe.before:
        before.run(job, job.source, lambda: store.sha256_tree(job.spec.folder, sources.all_files(job.spec.folder)))
    started = _cargo(job, log, err)
    output = _executable(job, log, err)

    def rebuild() -> float:
        job.say("nothing proves where the output came from: building anew")
        package = _package(log, output)
        argv = [*cargo(job), "clean", "--locked", "-p", package, "--profile", job.spec.profile, *_place(job)]
        process.output(argv, deadline=120, cwd=job.source)
        return _cargo(replace(job, together=()), log, err)

    def warnings() -> int:
        found = messages.from_cargo(messages.cargo_messages(log), job.relative(job.source))
        return sum(1 for message in found if message.severity == "warning")

    def untouched() -> bool:
        return any(row.get("executable") == str(output) and row.get("fresh") for row in messages.cargo_messages(log))

    inputs, stamp_file = inputs_hash(job, output), job.folder / ".vexci-stamp.json"
    mark, reused = stamp.prove(output, stamp_file, inputs, started, rebuild=rebuild, warnings=warnings, untouched=untouched)
    if inputs_hash(job, output) != inputs:
        raise InfrastructureError(f"{job.label}: the sources changed while they were built", hint="run the build again")
    return stamp.artifact(job, output, mark, reused=reused, target=_triple(output, job), log=err)


def command(job: Job) -> list[str]:
    """The cargo command line that builds the binary."""
    profile = ["--release"] if job.spec.profile == "release" else ["--profile", job.spec.profile]
    target = ["--target", job.spec.recipe.target] if job.spec.recipe.target else []
    binaries = [word for name in job.together or (job.spec.output,) for word in ("--bin", name)]
    argv = [*cargo(job), "build", *profile, *target, *binaries, "--locked", "--message-format", "json", *_place(job)]
    return argv + (["--features", ",".join(job.spec.features)] if job.spec.features else [])


def target_folder(job: Job) -> Path | None:
    """Cargo's target folder where it is not the package's own: one for each feature set, which all binaries of a package share. With a
    profile of its own one for each choice of features, so that these are built beside each other: cargo works in a folder alone."""
    if job.feature_set == DEFAULT_SET and not job.profile:
        return None
    name = f"{job.profile}-{store.sha256_text(*job.spec.features)[:8]}" if job.profile else job.feature_set
    return job.root / ".build" / "cargo" / f"{job.spec.folder.name}-{store.sha256_text(str(job.spec.folder))[:8]}" / name


def _place(job: Job) -> list[str]:
    folder = target_folder(job)
    return ["--target-dir", str(folder)] if folder else []


def environment(job: Job) -> dict[str, str]:
    """What is added to the environment: the commit, for a binary that says of which one it is; no path of this machine (V10)."""
    return {"VEXCI_COMMIT": job.revision.label, "CARGO_TERM_COLOR": "never", "RUSTC_WRAPPER": str(_wrapper(job)), **job.clock}


def _wrapper(job: Job) -> Path:
    """A program that calls rustc and takes this machine's folders out of what it writes: two checkouts build the same bytes.

    Not flags of cargo, because those of the environment would replace the ones that the tree itself sets. Cargo does not
    build anew for another wrapper, so that a person's own `cargo build` and this one share their work.
    """
    home = os.environ.get("CARGO_HOME") or str(Path.home() / ".cargo")
    inner = os.environ.get("RUSTC_WRAPPER", "")
    maps = [f"--remap-path-prefix={old}={new}" for old, new in ((home, "/cargo"), (str(job.root), "."))]
    chain = [shlex.quote(inner)] if inner and inner != str(job.folder / "rustc") else []
    text = "\n".join(["#!/bin/sh", " ".join(["exec", *chain, '"$@"', *map(shlex.quote, maps)]), ""])
    path = job.folder / "rustc"
    if not path.is_file() or path.read_text() != text:
        store.atomic_write(path, text)
        path.chmod(0o755)
    return path


def _cargo(job: Job, log: Path, err: Path) -> float:
    """Run cargo; when it began, in epoch seconds. What was built together with others has the log of that one call."""
    key = f"built in {target_folder(job)}"
    if job.together and key in job.answers:
        if job.answers[key] is None:
            return _cargo(replace(job, together=()), log, err)
        started, *logs = job.answers[key]
        for source, copy in zip(logs, (log, err), strict=True):
            shutil.copyfile(source, copy)
        return float(started)
    log.unlink(missing_ok=True)
    started = stamp.begin(job.folder)
    done = _run(job, log, err)
    if job.together and not done.ok:  # whose mistake it is shows where each is built for itself
        job.answers[key] = None
        return _cargo(replace(job, together=()), log, err)
    _append_rendered(log, err)
    if not done.ok:
        raise _failure(job, log, err, done.how)
    if job.together:
        job.answers[key] = started, log, err
    return started


def _run(job: Job, log: Path, err: Path) -> process.Completed:
    return process.run(
        command(job),
        limits=replace(job.limits, folder=job.spec.folder),
        log=log,
        stderr=err,
        cwd=job.source,
        env={**os.environ, **environment(job), **job.shared},
        what=job.label,
        progress=lambda _: job.say(messages.last_line(err)),
        pass_fds=job.inherited,
    )


def _append_rendered(log: Path, err: Path) -> None:
    """Put the compiler's messages, as a person reads them, into the readable log: cargo gave them as JSON only."""
    with open(err, "a") as file:
        for row in messages.cargo_messages(log):
            if row.get("reason") == "compiler-message":
                file.write(row["message"]["rendered"] or "")


def _failure(job: Job, log: Path, err: Path, how: str) -> VexciError:
    if messages.disk_full(err.read_text(errors="backslashreplace"), job.spec.folder):
        return store.disk_error(OSError(errno.ENOSPC, "No space left on device"), job.spec.folder)
    errors = messages.first_errors(messages.from_cargo(messages.cargo_messages(log), job.relative(job.source)))
    said = [line for line in err.read_text(errors="backslashreplace").splitlines() if line.startswith("error")]
    summary = errors[0].text if errors else (said or ["its log is empty"])[0]
    return ProductFailure(
        f"{job.label} does not build ({how}): {summary}",
        where=errors[0].place if errors else "",
        hint="\n".join([*(str(e) for e in errors[1:]), f"the whole log: {job.relative(err)}"]),
        evidence=(err, log),
    )


def _executable(job: Job, log: Path, err: Path) -> Path:
    """The binary's path out of cargo's messages; success without a binary is a failure."""
    for row in messages.cargo_messages(log):
        if row.get("reason") == "compiler-artifact" and row["target"]["name"] == job.spec.output and row.get("executable"):
            path = Path(row["executable"])
            if not path.is_file():
                raise ProductFailure(f"{job.label}: cargo reports {path}, which is no file", evidence=(log, err))
            return path
    raise ProductFailure(
        f"{job.label}: cargo succeeded and built no binary '{job.spec.output}'",
        hint="required-features in Cargo.toml must be among 'features:' in vexci.yaml",
        evidence=(log, err),
    )


def _package(log: Path, output: Path) -> str:
    for row in messages.cargo_messages(log):
        if row.get("executable") == str(output):
            return str(row["package_id"])
    raise InfrastructureError(f"cargo's messages do not name the package of {output}", evidence=(log,))


def inputs_hash(job: Job, output: Path) -> str:
    """SHA-256 over the inputs and the parameters."""
    recipe = job.spec.recipe
    extra = [recipe.target, recipe.toolchain] if recipe.target or recipe.toolchain else []
    return store.sha256_tree(job.root, inputs(job, output), *job.spec.features, job.spec.profile, *extra)


def inputs(job: Job, output: Path) -> list[Path]:
    """The sources that cargo's dep-info names, and the package's own files."""
    names = ("Cargo.toml", "Cargo.lock", "build.rs", ".cargo/config.toml", "rust-toolchain.toml", "rust-toolchain")
    places = [job.source, *(p for p in job.source.parents if p.is_relative_to(job.spec.folder))]  # a workspace is above its members
    files = {place / name for place in places for name in names if (place / name).is_file()}
    files |= {path for path in _dep_info(output) if path.is_file() and path.is_relative_to(job.root)}
    return list(files)


def _dep_info(output: Path) -> list[Path]:
    """The paths in the Makefile-style dep-info beside the binary (`<binary>.d`: `target: a b c`, blanks escaped)."""
    text = output.with_name(output.name + ".d").read_text()
    _, _, right = text.partition(": ")
    return [Path(word.replace("\0", " ")) for word in right.replace("\\ ", "\0").split()]


def _triple(output: Path, job: Job) -> str:
    """The target triple: the folder above the profile where the build has a target, else the compiler's host."""
    folder = output.parent.parent.name
    if folder.count("-") >= 2:
        return folder
    key = f"host {job.source} {job.spec.recipe.toolchain}"
    if key not in job.answers:
        said = process.output(["rustc", *cargo(job)[1:], "-vV"], cwd=job.source)
        hosts = [line.removeprefix("host: ") for line in said.splitlines() if line.startswith("host: ")]
        if not hosts:
            raise InfrastructureError("rustc -vV names no host triple")
        job.answers[key] = hosts[0]
    return str(job.answers[key])
