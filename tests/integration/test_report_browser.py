# SPDX-License-Identifier: Apache-2.0
"""The report in a real browser, from a file, offline: no error, no request, and the charts show the record's numbers."""

from __future__ import annotations

import json
import re
import shutil
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import ci.report
from ci.bench import baseline
from ci.process import Limits, run
from ci.report import beside, site, words
from ci.report.recorded import measured
from tests.unit.report_records import record, with_vectors

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [pytest.mark.integration, pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed: apt-get install chromium")]

QUIET = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--enable-logging=stderr",
    "--v=0",
)


@dataclass(frozen=True)
class Visit:
    """What one start of the browser gave."""

    dom: str
    log: str


def visit(page: Path, scratch: Path, *flags: str) -> Visit:
    scratch.mkdir(parents=True, exist_ok=True)
    out, err = scratch / "dom.html", scratch / "log.txt"
    argv = [str(CHROMIUM), *QUIET, f"--user-data-dir={scratch / 'profile'}", *flags, page.as_uri()]
    done = run(argv, limits=Limits(90), log=out, stderr=err)
    assert done.ok, done.error_text()
    return Visit(done.text(), done.error_text())


@pytest.fixture(params=[False, True], ids=["good", "failed"])
def report(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[dict[str, Any], Path]:
    folder = tmp_path / "run"
    folder.mkdir()
    data = record(folder, failing=request.param)
    return data, ci.report.write(data, folder)[1]


def test_the_charts_are_there_with_the_numbers_of_the_record(report: tuple[dict[str, Any], Path], tmp_path: Path) -> None:
    data, page = report
    seen = visit(page, tmp_path / "browser", "--dump-dom")
    assert "CONSOLE" not in seen.log, seen.log
    charts = re.findall(r"<svg.*?</svg>", seen.dom, re.DOTALL)
    assert len(charts) == 6 + 3, "six measures, three pairs"
    for series in (item for stage in data["stages"] for item in stage["results"].get("series", [])):
        chart = next(c for c in charts if f">{series['workload']}: {series['metric']}</title>" in c)
        if series["samples"]:
            assert f">{words.number(statistics.median(series['samples']))} {series['unit']}<" in chart
        else:
            assert f"{series['system']}: hung, no number" in chart


def test_two_runs_beside_each_other_are_drawn_without_an_error(tmp_path: Path) -> None:
    data = with_vectors(tmp_path)
    old = {**json.loads(json.dumps(data)), "id": "20261101T000000Z-000000"}
    before = [item for item in measured(old) if item.samples and not item.failure]
    page = tmp_path / "compare.html"
    page.write_text(beside.page(old, data, baseline.judge(measured(data), before), (), baseline.THRESHOLD, tmp_path))
    seen = visit(page, tmp_path / "browser", "--dump-dom")
    assert "CONSOLE" not in seen.log, seen.log
    assert seen.dom.count('class="chart"') == len({item.system for item in before}) + len({(i.workload, i.metric) for i in before})
    assert seen.dom.count("<button") >= 7, "tables sort"


def test_vectors_and_history_are_drawn_and_tables_sort(tmp_path: Path) -> None:
    """A click on "Median" is made by the page itself; its order must then be that of the numbers, what has none last."""
    data = with_vectors(tmp_path)
    page = ci.report.write(data, tmp_path, [{**json.loads(json.dumps(data)), "id": "20261101T000000Z-000000"}])[1]
    plain = visit(page, tmp_path / "browser", "--dump-dom")
    assert "CONSOLE" not in plain.log, plain.log
    assert plain.dom.count('class="chart"') == 9 + 5 + 1 + 1 + 9, "bars, pairs, recall, latency, history"
    clicks = "document.querySelectorAll('#numbers + div thead button')[2].click();"
    scripted = re.sub(r"script-src '[^']*'", "script-src 'unsafe-inline'", page.read_text()).replace(
        "</body>", f"<script>{clicks}</script></body>"
    )
    other = tmp_path / "clicked.html"
    other.write_text(scripted)
    seen = visit(other, tmp_path / "other-browser", "--dump-dom")
    assert "CONSOLE" not in seen.log, seen.log
    table = seen.dom.split('id="numbers"')[1].split("</table>")[0]
    assert 'aria-sort="ascending"' in table
    values = re.findall(r'<td class="num" data-value="([^"]*)"><b>|<td class="num" data-value="">none', table)
    medians = [float(value) for value in values if value]
    assert len(medians) == 25
    assert medians == sorted(medians)
    assert values[-2:] == ["", ""], "what has no number stands last"


def test_another_script_than_the_page_s_own_does_not_run(tmp_path: Path) -> None:
    page = ci.report.write(record(tmp_path), tmp_path)[1]
    text = page.read_text().replace("</body>", "<script>document.title = 'taken over'</script></body>")
    page.write_text(text)
    seen = visit(page, tmp_path / "browser", "--dump-dom")
    assert "<title>taken over" not in seen.dom
    assert "Content Security Policy" in seen.log


def test_a_console_error_would_be_seen(tmp_path: Path) -> None:
    page = tmp_path / "bad.html"
    page.write_text("<script>nothing.here()</script>")
    assert "CONSOLE" in visit(page, tmp_path / "browser", "--dump-dom").log


@pytest.mark.parametrize("flags", [("--window-size=1240,1400",), ("--window-size=500,1400", "--blink-settings=preferredColorScheme=0")])
def test_it_is_drawn_wide_and_light_as_well_as_narrow_and_dark(tmp_path: Path, flags: tuple[str, ...]) -> None:
    page = ci.report.write(record(tmp_path), tmp_path)[1]
    picture = tmp_path / "picture.png"
    visit(page, tmp_path / "browser", f"--screenshot={picture}", *flags)
    assert picture.stat().st_size > 50_000, "an empty page compresses to much less"


def test_it_prints(tmp_path: Path) -> None:
    page = ci.report.write(record(tmp_path), tmp_path)[1]
    paper = tmp_path / "report.pdf"
    visit(page, tmp_path / "browser", f"--print-to-pdf={paper}", "--no-pdf-header-footer")
    assert paper.read_bytes().startswith(b"%PDF-")
    if shutil.which("pdftotext") is None:
        pytest.skip("pdftotext is not installed: the text of the printed page was not looked at")
    text = run(["pdftotext", paper, "-"], limits=Limits(30)).text()
    assert "What the differences are worth" in text
    assert "read-back" in text, "folded parts are printed too"


def test_the_site_opens_from_a_file_and_its_pages_are_drawn(tmp_path: Path) -> None:
    """The three pages about all runs, and the page of one: no error, no request, the charts and the failure's first day are there."""
    runs = []
    for day in (1, 2, 3):
        data = json.loads(json.dumps(with_vectors(tmp_path)))
        data.update(id=f"2026110{day}T062011Z-0c8cb6", started=f"2026-11-0{day}T06:20:11Z", commit=str(day) * 40)
        if day > 1:
            suite = next(stage for stage in data["stages"] if stage["name"] == "validate")["results"]["suites"][0]
            suite["cases"][3].update(verdict="hang", detail="no answer for 30 s")
        runs.append(site.Found(tmp_path, data))
    first = site.write(runs, tmp_path / "site")
    pages = {
        name: visit(first.parent / name, tmp_path / f"browser-{name}", "--dump-dom") for name in ("index.html", "trends.html", "runs.html")
    }
    below = first.parent / "runs" / str(runs[0].record["id"]) / "index.html"
    pages["run"] = visit(below, tmp_path / "browser-run", "--dump-dom")
    for name, seen in pages.items():
        assert "CONSOLE" not in seen.log, f"{name}: {seen.log}"
    failing = pages["index.html"].dom.split('id="failing"')[1].split("</section>")[0]
    assert re.search(r'title="run 20261102T[^"]*">[^<]*</a> <code>2222222</code>', failing), "the day on which it first failed"
    assert pages["trends.html"].dom.count('class="chart"') >= 9
    assert pages["runs.html"].dom.count("<button") == 5, "the script that sorts ran"
