# SPDX-License-Identifier: Apache-2.0
"""Static checkers over the sources of an artifact. What they found is remembered until the sources or a checker change; of C, by file, so
that after a save only what depends on it is looked at again.

compiler     every warning of W=1, and stack frames over FRAME_BYTES
sparse       address spaces, endianness, locking (make C=1)
checkpatch   the kernel's own style checker, with --strict
clippy       Rust, every target of the package
rustfmt      Rust's formatting
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ci import process, store, tools
from ci.build import cargo, kbuild, messages, sources, toolchain, warnings
from ci.build.job import Job
from ci.build.messages import Message
from ci.errors import ProductFailure
from ci.process import Limits

FRAME_BYTES = 2048
_VERSION = "1"  # of what is done here: a change must not be answered from memory
_TOOLS = {
    "compiler": ("gcc", "make"),
    "sparse": ("sparse", "gcc", "make"),
    "checkpatch": (),
    "clippy": ("clippy", "rustc", "cargo"),
    "rustfmt": ("rustfmt", "cargo"),
}
_RUST = (".rs", ".toml", ".lock")
_KEPT = ".vexci-kept"  # in a folder whose objects, and what was said of them, hold for the key in it
_STYLE = ".vexci-style.json"
_CHECKPATCH = re.compile(r"(?P<place>\S+:\d+): (?P<severity>ERROR|WARNING|CHECK): (?P<text>.*)")
_RUSTFMT = re.compile(r"^Diff in (?P<file>.+?):(?P<line>\d+):?$|^Diff in (?P<old>.+) at line (?P<at>\d+):$")


@dataclass(frozen=True)
class Analysis:
    """What one checker found; `log` is all that it said, None where it was not asked again."""

    checker: str
    findings: tuple[Message, ...]
    log: Path | None


def analyse(job: Job, checkers: list[str], script: Callable[[], Path]) -> list[Analysis]:
    """The findings of these checkers. `script` gives the path of checkpatch.pl and is called only where it must run."""
    keys = {name: _key(job, name) for name in checkers}
    memory = job.folder / ".vexci-analysis.json"
    with store.lock(job.folder / ".vexci-analysis.lock"):
        known = _remembered(memory)
        found = {name: _again(name, known[name]) for name in checkers if name in known and known[name][0] == keys[name]}
        for name in checkers:
            if name not in found:
                job.say(f"{name}: looking at the sources")
                found.update((each.checker, each) for each in _look(job, name, checkers, script) if each.checker not in found)
                for each in found.values():
                    known[each.checker] = [keys[each.checker], [[m.severity, m.place, m.text] for m in each.findings]]
                store.atomic_write(memory, json.dumps(known))
    return [found[name] for name in checkers]


def _remembered(memory: Path) -> dict[str, list[object]]:
    try:
        content: dict[str, list[object]] = json.loads(memory.read_text())
        return content
    except (FileNotFoundError, ValueError):
        return {}  # nothing is remembered: every checker looks again


def _again(checker: str, row: list[object]) -> Analysis:
    return Analysis(checker, tuple(Message(*each) for each in _rows(row)), None)


def _key(job: Job, name: str) -> str:
    """The hash of everything that this checker's answer depends on."""
    versions = tools.versions(_TOOLS[name])
    if name in ("clippy", "rustfmt"):
        files = [path for path in sources.all_files(job.spec.folder) if path.suffix in _RUST]
        parameters = [*job.spec.features, job.spec.recipe.work, job.spec.recipe.toolchain]
        return store.sha256_text(_VERSION, name, str(versions), store.sha256_tree(job.spec.folder, files, *parameters))
    exceptions = job.spec.folder / ".checkpatch.conf"
    text = exceptions.read_text() if exceptions.is_file() else ""
    return store.sha256_text(_VERSION, name, str(versions), text, kbuild.inputs_hash(job, job.folder))


def _look(job: Job, name: str, asked: list[str], script: Callable[[], Path]) -> list[Analysis]:
    if name == "checkpatch":
        return [checkpatch(job, script())]
    if name == "clippy":
        return [clippy(job)]
    if name == "rustfmt":
        return [rustfmt(job)]
    both = compiled(job, sparse="sparse" in asked)  # one make serves both
    return [each for each in both if each.checker in asked]


def compiled(job: Job, *, sparse: bool = True) -> list[Analysis]:
    """What W=1, the frame limit and sparse say of every source file, in a folder of its own, where make compiles again what changed."""
    if sparse:
        process.find_program("sparse", hint="./inv doctor --fix installs it")
    folder = job.folder.with_name(job.folder.name + "-analysis")
    log = job.log("analysis.log")
    log.unlink(missing_ok=True)
    assert job.kernel is not None
    given = dict((*job.spec.variables, *toolchain.variables(job.toolchain)))
    given["KCFLAGS"] = f"-Wframe-larger-than={FRAME_BYTES} {given.get('KCFLAGS', '')}".strip()
    variables = job.filled(f"{name}={value}" for name, value in given.items())
    base = ["make", "-C", str(job.kernel.headers), f"M={folder / job.spec.recipe.work}"]
    argv = [*base, *job.parallel, "W=1", *(["C=1"] if sparse else []), *variables, "modules"]
    key = store.sha256_text(_VERSION, *argv, job.kernel.release, job.kernel.origin, str(tools.versions(_TOOLS["sparse"])))
    _ready(job, folder, key)
    done = process.run(argv, limits=job.limits, log=log, env={**os.environ, "LC_ALL": "C"}, what=f"{job.label}: sparse")
    text = log.read_text(errors="backslashreplace")
    rename = (str(folder), job.relative(job.spec.folder))
    now = messages.from_log(text, rename)
    if not done.ok and not now:
        raise ProductFailure(f"{job.label}: the compiler and sparse did not run ({done.how})", evidence=(log,))
    warnings.update(folder, text)
    if done.ok and not any(message.severity == "error" for message in now):
        store.atomic_write(folder / _KEPT, key)
    before = [Message(m.severity, m.place.replace(*rename), m.text.replace(*rename)) for m in warnings.known(folder)]
    ours = [message for message in dict.fromkeys([*before, *now]) if message.place]
    gcc = tuple(m for m in ours if re.search(r"\[-W[\w+=-]+\]$", m.text) or m.severity == "error")
    return [Analysis("compiler", gcc, log), Analysis("sparse", tuple(m for m in ours if m not in gcc), log)]


def _ready(job: Job, folder: Path, key: str) -> None:
    """The sources in `folder`: beside the objects of the last time where that ended well and nothing but sources can have changed since.
    Until this time has ended well, too, nothing holds for what lies there."""
    kept = folder / _KEPT
    holds = not job.spec.recipe.before and kept.is_file() and kept.read_text() == key
    kept.unlink(missing_ok=True)
    if holds:
        sources.mirror(job.spec.folder, folder, everything=job.spec.recipe.foreign)
    else:
        _fresh(job, folder)


def _fresh(job: Job, folder: Path) -> None:
    """The sources without any object. What pre-steps made lies only in the build folder, so that is copied where there are some."""
    shutil.rmtree(folder, ignore_errors=True)
    if job.spec.recipe.before and job.folder.is_dir():
        shutil.copytree(job.folder, folder, ignore=shutil.ignore_patterns("*.o", "*.ko", ".*", "*.mod*", "modules.order"))
    else:
        sources.mirror(job.spec.folder, folder, everything=job.spec.recipe.foreign)


def checkpatch(job: Job, script: Path) -> Analysis:
    """What `script`, the kernel's own checkpatch.pl, says of the sources with --strict.

    Runs beside a copy of the sources, because the script leaves files in its folder; `.checkpatch.conf` in the
    module's folder holds the justified exceptions.
    """
    folder = job.folder.with_name(job.folder.name + "-checkpatch")
    files = sources.mirror(job.spec.folder, folder)
    exceptions = job.spec.folder / ".checkpatch.conf"
    if exceptions.is_file():
        shutil.copyfile(exceptions, folder / exceptions.name)
    rules = store.sha256_text(_VERSION, store.sha256_file(script), exceptions.read_text() if exceptions.is_file() else "")
    names = [str(file.relative_to(job.spec.folder)) for file in files if file.suffix in sources.KBUILD_SUFFIXES]
    keys = {name: store.sha256_text(rules, store.sha256_file(folder / name)) for name in names}
    known = _remembered(folder / _STYLE)
    asked = [name for name in names if name not in known or known[name][0] != keys[name]]
    log = job.log("checkpatch.log")
    log.unlink(missing_ok=True)
    if asked:
        found = _style(job, ["perl", script, "--no-tree", "--strict", "--terse", "-f", *asked], folder, log)
        known.update({name: [keys[name], [row[1:] for row in found if row[0] == name]] for name in asked})
        store.atomic_write(folder / _STYLE, json.dumps({name: known[name] for name in names}))
    place = job.relative(job.spec.folder)
    rows = [(name, *row) for name in names for row in _rows(known[name])]
    said = tuple(Message(severity, f"{place}/{name}:{line}", text) for name, line, severity, text in rows)
    return Analysis("checkpatch", said, log if asked else None)


def _style(job: Job, argv: list[str | Path], folder: Path, log: Path) -> list[list[str]]:
    """What checkpatch says: rows of file, line, severity, text."""
    done = process.run(argv, limits=job.limits, log=log, cwd=folder)
    rows = [match for line in done.text().splitlines() if (match := _CHECKPATCH.match(line))]
    if not done.ok and not rows:
        raise ProductFailure(f"{job.label}: checkpatch did not run ({done.how})", evidence=(log,))
    return [[*m["place"].rsplit(":", 1), m["severity"].lower(), m["text"]] for m in rows]


def _rows(known: list[object]) -> list[list[str]]:
    rows = known[1]
    assert isinstance(rows, list)
    return rows


def clippy(job: Job) -> Analysis:
    """What clippy says of every target of the package, with the artifact's features."""
    log, err = job.log("clippy.json"), job.log("clippy.log")
    for old in (log, err):
        old.unlink(missing_ok=True)
    features = ["--features", ",".join(job.spec.features)] if job.spec.features else []
    argv = [*cargo.cargo(job), "clippy", "--all-targets", *features, "--locked", "--message-format", "json"]
    env = {**os.environ, "CARGO_TERM_COLOR": "never"}
    done = process.run(argv, limits=job.limits, log=log, stderr=err, cwd=job.source, env=env, what=f"{job.label}: clippy")
    found = tuple(messages.from_cargo(messages.cargo_messages(log), job.relative(job.source)))
    if not done.ok and not found:
        reason = messages.last_words(err)
        raise ProductFailure(f"{job.label}: clippy did not run ({done.how}): {reason}", evidence=(err, log))
    return Analysis("clippy", found, log)


def rustfmt(job: Job) -> Analysis:
    """Each place where rustfmt would write something else."""
    log, err = job.log("rustfmt.log"), job.log("rustfmt.err")
    for old in (log, err):
        old.unlink(missing_ok=True)
    argv = [*cargo.cargo(job), "fmt", "--check", "--", "--color", "never"]
    done = process.run(argv, limits=Limits(300), log=log, stderr=err, cwd=job.source, what=f"{job.label}: rustfmt")
    found = []
    for line in done.text().splitlines():
        match = _RUSTFMT.match(line)
        if match:
            file, number = Path(match["file"] or match["old"]), match["line"] or match["at"]
            found.append(Message("warning", f"{job.relative(file)}:{number}", "is not formatted as rustfmt would; run 'cargo fmt'"))
    if not done.ok and not found:
        raise ProductFailure(f"{job.label}: rustfmt did not run ({done.how}): {messages.last_words(err)}", evidence=(err, log))
    return Analysis("rustfmt", tuple(found), log)
