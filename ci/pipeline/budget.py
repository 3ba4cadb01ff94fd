# SPDX-License-Identifier: Apache-2.0
"""The budget of warnings may only shrink (V9): the manifest as it is, against the one that was committed."""

from __future__ import annotations

from typing import Any

import yaml

from ci import process
from ci.manifest import ArtifactSpec, Manifest
from ci.model import Check, Verdict
from ci.process import Limits

_NAME = "the budget of warnings did not grow"
_FINDINGS = "the budget of findings did not grow"


def checks(manifest: Manifest) -> list[Check]:
    """One check for each budget that can be compared; a tree without commits has nothing to compare with."""
    before, where = _committed(manifest)
    if before is None:
        return [Check("V9", _NAME, manifest.project, Verdict.SKIP, where, required=False)]
    found = []
    for spec in manifest.artifacts:
        row = before.get(spec.name)
        found += _findings(spec, row, where)
        old = row.get("warnings") if isinstance(row, dict) else None
        if not isinstance(old, int):
            continue
        good = spec.warnings is not None and spec.warnings <= old
        now = "no budget" if spec.warnings is None else str(spec.warnings)
        detail = f"{now}, in {where} {old}" + ("" if good else f": put 'warnings: {old}' back and mend the new warnings")
        found.append(Check("V9", _NAME, spec.name, Verdict.PASS if good else Verdict.FAIL, detail))
    return found


def _findings(spec: ArtifactSpec, row: object, where: str) -> list[Check]:
    """The same for each static checker (V11): one that is no longer asked has no budget at all, which is growth."""
    before = row.get("findings") if isinstance(row, dict) else None
    now = dict(spec.findings)
    found = []
    for checker, old in (before if isinstance(before, dict) else {}).items():
        if not isinstance(old, int):
            continue
        good = checker in now and now[checker] <= old
        seen = f"{checker} {now.get(checker, 'is not asked any more')}, in {where} {old}"
        detail = seen if good else f"{seen}: put '{checker}: {old}' back under 'findings:' and mend the new ones"
        found.append(Check("V11", _FINDINGS, spec.name, Verdict.PASS if good else Verdict.FAIL, detail))
    return found


def _committed(manifest: Manifest) -> tuple[dict[str, Any] | None, str]:
    """The artifacts of the last committed manifest that differs from the present one, and what that commit is called.

    None, and why, where a shallow clone does not hold the commit before.
    """
    for revision, where in (("HEAD", "the last commit"), ("HEAD^", "the commit before")):
        text = _show(manifest, revision)
        if text is not None and text != manifest.path.read_text():
            artifacts = (yaml.safe_load(text) or {}).get("artifacts")
            return (artifacts if isinstance(artifacts, dict) else {}), where
    shallow = _git(manifest, "rev-parse", "--is-shallow-repository") == "true\n"
    if (
        shallow
        and _git(manifest, "rev-parse", "--verify", "HEAD^") is None
        and any(spec.warnings is not None or spec.findings for spec in manifest.artifacts)
    ):
        return None, "this clone is shallow and does not hold the commit before; clone with a depth of 2"
    return {}, ""


def _show(manifest: Manifest, revision: str) -> str | None:
    """The manifest in that commit, None where there is none (no repository, no such commit, a new file)."""
    return _git(manifest, "show", f"{revision}:./{manifest.path.name}")


def _git(manifest: Manifest, *words: str) -> str | None:
    folder = manifest.path.absolute().parent
    done = process.run(["git", *words], limits=Limits(30), cwd=folder, stderr=process.scratch_file("git.err"))
    return done.text() if done.ok else None
