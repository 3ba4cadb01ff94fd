# SPDX-License-Identifier: Apache-2.0
"""summary.md: the short form, for a terminal, a pull request and a job summary."""

from __future__ import annotations

from collections.abc import Sequence

from ci.marks import code, plain, table
from ci.report import svg, words
from ci.report.benchmarks import Chart, Row
from ci.report.evidence import Link
from ci.report.view import Problem, View


def _link(text: str, link: Link | None) -> str:
    if link is None:
        return plain(text)
    if link.state:
        return f"{plain(text)} ({plain(link.path)}: {plain(link.state)})"
    return f"[{plain(text)}]({link.href.replace('(', '%28').replace(')', '%29')})" if link.href else plain(text)


def render(content: View, findings: Sequence[str] = ()) -> str:
    """The summary; `findings` are lines that go before the stages."""
    record = content.record
    lines = [f"# {plain(record.get('project') or 'vexci')}: {words.glyph(content.verdict)} {words.verdict(content.verdict)}", ""]
    lines += [f"{plain(content.headline)}.", ""]
    if record.get("detail"):
        lines += [plain(record["detail"]), ""]
    lines += [f"> {plain(remark)}\n" for remark in content.remarks]
    lines += [f"- {name}: {code(value)}" for name, value in content.facts]
    lines += ["- Full report: [report.html](report.html)", "", *findings, "## Stages", "", *_stages(content)]
    if content.wrong:
        lines += ["## What went wrong", "", *_problems(content.wrong), ""]
    lines += ["## Built", "", *_artifacts(content)]
    lines += ["## Suites", "", *_suites(content)]
    lines += ["## Benchmarks", "", *_benchmarks(content)]
    if content.skipped:
        lines += ["## What did not run", "", *_problems(content.skipped), ""]
    if content.reproduce:
        lines += ["## Reproduce", "", "```sh", content.reproduce.rstrip().replace("```", "'''"), "```", ""]
    return "\n".join(lines)


def _stages(content: View) -> list[str]:
    rows = [[plain(s.name), f"{words.glyph(s.verdict)} {s.verdict}", words.seconds(s.seconds), plain(s.detail)] for s in content.stages]
    return table(("stage", "verdict", "time", "detail"), rows) if rows else ["No stage ended.", ""]


def _problems(problems: Sequence[Problem]) -> list[str]:
    return [
        f"- **{plain(p.where)}** ({p.verdict}): {plain(p.detail or 'no reason was recorded')}"
        + "".join(f" {_link(e.name, e)}" for e in p.evidence[:6])
        for p in problems
    ]


def _artifacts(content: View) -> list[str]:
    if not content.artifacts:
        return [f"Nothing: {plain(content.absent['build'])}.", ""]
    rows = [
        [
            plain(a["name"]),
            code(a["target"]),
            words.size(a["size"]),
            code(a["sha256"]),
            plain(", ".join(a["features"]) or "none"),
            str(a["warnings"]),
        ]
        for a in content.artifacts
    ]
    tally = words.tally([check.verdict for check in content.checks], "check")
    said = f"{tally}." if content.checks else f"Not verified: {plain(content.absent['verify'])}."
    return [*table(("artifact", "target", "size", "sha256", "features", "warnings"), rows), said, ""]


def _suites(content: View) -> list[str]:
    if not content.suites:
        return [f"None ran: {plain(content.absent['validate'])}.", ""]
    rows = [
        [
            plain(s.name),
            plain(s.artifact),
            code(s.kernel),
            f"{words.glyph(s.verdict)} {s.verdict}",
            f"{s.passed} of {len(s.cases)} (at least {s.minimum})",
            words.seconds(s.seconds),
        ]
        for s in content.suites
    ]
    return table(("suite", "artifact", "kernel", "verdict", "cases passed", "time"), rows)


def _benchmarks(content: View) -> list[str]:
    measured = content.benchmarks
    if not measured.charts:
        return [f"Nothing was measured: {plain(content.absent['bench'])}.", ""]
    rows = [_row(chart, row) for chart in measured.charts for row in chart.rows]
    lines = table(("workload", "metric", "system", "median", "range", "samples", "artifact"), rows)
    for findings in measured.pairs.values():
        lines += [f"- {plain(svg.finding_text(finding))}" for finding in findings]
    return [*lines, ""]


def _row(chart: Chart, row: Row) -> list[str]:
    head = [plain(chart.workload), plain(chart.metric), plain(row.system)]
    artifact = code(row.artifact_sha256[:12]) if row.artifact_sha256 else "none"
    if row.summary is None:
        return [*head, f"{words.glyph(row.verdict)} {row.verdict}", plain(row.failure), "none", artifact]
    s = row.summary
    samples = " ".join(_link(words.number(value), link) for value, link in zip(row.samples, row.raw, strict=True))
    return [
        *head,
        f"{words.number(s.median)} {plain(chart.unit)}",
        f"{words.number(s.minimum)} to {words.number(s.maximum)}",
        samples,
        artifact,
    ]
