# SPDX-License-Identifier: Apache-2.0
"""The tool's own speed is measured with real commands, and a command that fails gives no number."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from ci.bench import tool
from ci.bench.tool import Command, Measure, measure, plain_list, times
from ci.errors import UsageError
from ci.model import KernelTarget, Series, Verdict
from ci.pipeline.speed import has_9p
from ci.store import RunFolder

pytestmark = pytest.mark.unit


def sleeper(folder: Path, seconds: float) -> tuple[Command, ...]:
    return (Command((sys.executable, "-S", "-c", f"import time; time.sleep({seconds})"), folder),)


def take(folder: Path, *measures: Measure, rounds: int = 2) -> tuple[RunFolder, list[Series]]:
    run = RunFolder(folder)
    return run, measure(measures, rounds=rounds, run=run, progress=print)


def test_a_slowed_command_shows_up_in_the_ratio(tmp_path: Path) -> None:
    run, series = take(tmp_path, Measure("slow", sleeper(tmp_path, 0.4), sleeper(tmp_path, 0.0), "plain"))
    assert [(s.system, s.metric, s.unit) for s in series] == [
        ("slow", "time", "s"),
        ("plain", "time", "s"),
        ("slow", "ratio to the plain command", "times"),
    ]
    assert all(sample > 1.5 for sample in series[2].samples)
    for one in series:
        assert len(one.samples) == 2
        assert [e.kind for e in one.evidence] == ["samples"] * 2
    raw = json.loads((run.path / series[0].evidence[0].path).read_text())
    assert raw["subject"] == [series[0].samples[0]]


def test_commands_of_a_baseline_are_added_up(tmp_path: Path) -> None:
    _, series = take(tmp_path, Measure("sum", sleeper(tmp_path, 0), (*sleeper(tmp_path, 0.15), *sleeper(tmp_path, 0.15))))
    assert min(series[1].samples) > 0.3


def test_the_rounds_are_interleaved_and_what_follows_runs_in_each(tmp_path: Path) -> None:
    log = tmp_path / "order"

    def note(word: str) -> Command:
        return Command(("sh", "-c", f"echo {word} >> {log}"), tmp_path)

    one = Measure("one", (note("one"),), (note("plain"),), after=(note("after"),))
    take(tmp_path, one, Measure("two", (note("two"),)))
    assert log.read_text().split() == ["one", "plain", "after", "two"] * 3


def test_a_stage_is_timed_by_the_record_and_a_missing_one_is_said(tmp_path: Path) -> None:
    (tmp_path / ".runs/latest").mkdir(parents=True)
    (tmp_path / ".runs/latest/record.json").write_text(
        '{"stages": [{"name": "build", "seconds": 9}, {"name": "validate", "seconds": 2.5}]}'
    )
    (command,) = sleeper(tmp_path, 0)
    _, series = take(tmp_path, *(Measure(name, (replace(command, stage=name),)) for name in ("validate", "report")), rounds=1)
    assert series[0].samples == (2.5,) and series[1].samples == ()
    assert "recorded no stage 'report'" in (series[1].failure or "")


def test_virtme_ng_is_measured_only_on_a_kernel_with_9p(tmp_path: Path) -> None:
    kernel = KernelTarget("k", "6.1", "x86_64", "cloud", "apt", tmp_path, modules=tmp_path / "modules")
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules/modules.builtin").write_text("kernel/fs/ext4/ext4.ko\n")
    (tmp_path / "modules/modules.dep").write_text("kernel/fs/xfs/xfs.ko:\n")
    assert not has_9p(kernel) and not has_9p(replace(kernel, modules=None)) and not has_9p(None)
    (tmp_path / "modules/modules.builtin").write_text("kernel/fs/9p/9p.ko\n")
    assert has_9p(kernel)
    (tmp_path / "modules/modules.builtin").write_text("")
    (tmp_path / "modules/modules.dep").write_text("kernel/fs/9p/9p.ko.xz: kernel/net/9p/9pnet.ko.xz\n")
    assert has_9p(kernel)


def test_what_takes_minutes_is_counted_in_fewer_rounds_and_says_so(tmp_path: Path) -> None:
    _, series = take(tmp_path, Measure("long", sleeper(tmp_path, 0), most=1), Measure("short", sleeper(tmp_path, 0)), rounds=3)
    assert [(s.system, len(s.samples), s.dimensions["rounds"]) for s in series] == [("long", 1, "1"), ("short", 3, "3")]


def test_a_command_that_fails_has_no_number_and_a_reason_and_the_others_go_on(tmp_path: Path) -> None:
    log = tmp_path / "down"
    failing = Measure(
        "bad",
        (Command(("sh", "-c", "echo no kernel; exit 4"), tmp_path),),
        sleeper(tmp_path, 0),
        after=(Command(("touch", str(log)), tmp_path),),
    )
    _, series = take(tmp_path, failing, Measure("good", sleeper(tmp_path, 0)))
    bad = [s for s in series if s.workload == "bad"]
    assert len(bad) == 3
    assert {(s.verdict, s.samples) for s in bad} == {(Verdict.FAIL, ())}
    assert all("exit 4: no kernel" in (s.failure or "") for s in bad)
    assert log.exists(), "what was started is taken down all the same"
    assert [len(s.samples) for s in series if s.workload == "good"] == [2]


def test_seconds_that_were_taken_inside_are_a_series_with_their_conditions(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    raw = run.file("seconds.json")
    raw.write_text("[0.25, 0.5]")
    one = times("module [6.1]", "verify-one", [0.25, 0.5], {"command": "the checks"}, [run.evidence("samples", raw)])
    assert (one.metric, one.unit, one.better, one.samples) == ("time", "s", "lower", (0.25, 0.5))
    assert one.dimensions["rounds"] == "2" and one.dimensions["command"] == "the checks" and one.evidence[0].path == "seconds.json"


def test_a_command_that_hangs_is_a_hang(tmp_path: Path) -> None:
    command = replace(sleeper(tmp_path, 1000)[0], deadline=0.3)
    _, series = take(tmp_path, Measure("stuck", (command,)))
    assert (series[0].verdict, series[0].samples) == (Verdict.HANG, ())
    assert "did not end within 0.3 s" in (series[0].failure or "")


@pytest.mark.parametrize("what", ["nothing", "no command", "no folder", "twice"])
def test_a_request_without_sense_is_refused(tmp_path: Path, what: str) -> None:
    good = Measure("good", sleeper(tmp_path, 0))
    measures = {
        "nothing": (),
        "no command": (Measure("x", ()),),
        "no folder": (Measure("x", sleeper(tmp_path / "none", 0)),),
        "twice": (good, good),
    }[what]
    with pytest.raises(UsageError):
        measure(measures, rounds=1, run=RunFolder(tmp_path), progress=print)


def test_the_bare_list_is_of_a_tasks_file_that_invoke_accepts(tmp_path: Path) -> None:
    invoke = Path(sys.executable).parent / "invoke"
    if not invoke.exists():
        pytest.skip(f"{invoke} does not exist: invoke is not installed beside this Python")
    plain = plain_list(tmp_path, invoke, tmp_path)
    _, series = take(tmp_path, replace(plain, subject=plain.baseline), rounds=1)
    assert series[0].verdict is Verdict.PASS, series[0].failure


def test_beside_virtme_ng_stand_guests_with_the_same_kernel_that_go_down_again(tmp_path: Path) -> None:
    booted, restored = tool.beside_virtme(tmp_path, "/opt/vng", "plain", tmp_path / "vmlinuz", tmp_path, kvm=False)
    assert booted.baseline[0].argv == ("/opt/vng", "--disable-kvm", "--run", str(tmp_path / "vmlinuz"), "--", "uname", "-r")
    assert booted.baseline[0].env["PATH"].startswith("/opt:")
    assert "--cold" in booted.subject[0].argv and "--cold" not in restored.subject[0].argv
    for each in (booted, restored):
        name = each.subject[0].argv[-1]
        assert each.subject[0].argv[1] == "vm.up" and "plain" in each.subject[0].argv
        assert each.after[0].argv[1:] == ("vm.down", "--name", name)
    assert "--disable-kvm" not in tool.beside_virtme(tmp_path, "vng", "plain", tmp_path / "k", tmp_path, kvm=True)[0].baseline[0].argv
