# SPDX-License-Identifier: Apache-2.0
"""The crash suite's workload, checker and recorded writes, on this machine's own file system: nothing needs a guest."""

from __future__ import annotations

import itertools
import os
import random
import shutil
import signal
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ci.validate.guest import crash, stage, writelog
from ci.validate.guest.changes import Chooser, Options
from ci.validate.guest.checker import check, judge
from ci.validate.guest.context import Plan
from ci.validate.guest.trees import Node, Tree, parts
from ci.validate.guest.worker import Progress, Workload, begun

FEATURES = ("exchange", "fallocate", "map", "syncfs")


def options(root: Path, operations: int = 40, seed: int = 5, scope: str = "volume") -> Options:
    return Options(str(root), "work", seed, 2, operations, scope, FEATURES, (os.geteuid(), os.getegid()), str(root / "progress"))


def done(chosen: Options) -> list[dict[str, Any]]:
    """The workload, run to its end, and all that it said."""
    messages: list[dict[str, Any]] = []
    Workload(chosen, messages.append).run()
    assert not [message for message in messages if "error" in message]
    return messages


def test_what_the_workload_left_is_what_the_checker_expects(tmp_path: Path) -> None:
    for seed in range(3):
        chosen = replace(options(tmp_path, 150, seed), folder=f"work{seed}")
        messages = done(chosen)
        result = check(chosen, messages, [150, 150])
        assert result.problems == []
        assert result.promises > 20
        assert all(moment >= floor for moment, floor in zip(result.moments, result.floors, strict=True))
        assert result.exact > 5


def test_what_has_begun_is_never_read_as_less_while_another_process_counts(tmp_path: Path) -> None:
    chosen = options(tmp_path)
    progress = Progress(chosen)
    counter = os.fork()
    if not counter:
        try:
            for number in itertools.count(1):
                progress.begin(1, number)
        finally:
            os._exit(1)
    last = changes = 0
    try:
        while changes < 500 or last < 1 << 17:  # numbers of one byte, of two and of three
            _, now = begun(chosen) or []
            assert now >= last
            last, changes = now, changes + (now != last)
    finally:
        os.kill(counter, signal.SIGKILL)
        os.waitpid(counter, 0)


def test_the_same_seed_gives_the_same_changes() -> None:
    chosen = options(Path("/nowhere"))
    lists = []
    for _ in range(2):
        tree = Tree(chosen.owner, remember=False)
        chooser = Chooser(chosen, 0, tree)
        changes = []
        for _ in range(100):
            changes.append(chooser.next())
            for part in parts(changes[-1]):
                tree.apply(part)
        lists.append(changes)
    assert lists[0] == lists[1]
    assert len({change.kind for change in lists[0]}) > 12


def test_a_tree_older_than_its_promises_is_lost_data(tmp_path: Path) -> None:
    """What a volume whose fsync does nothing leaves (T8): everything is as it was some changes ago."""
    early, late = tmp_path / "early", tmp_path / "late"
    for folder, operations in ((early, 25), (late, 60)):
        folder.mkdir()
        messages = done(options(folder, operations))
    result = check(options(early, 60), messages, [60, 60])
    assert any("the tree is as after none of its changes" in problem for problem in result.problems)


def test_a_folder_that_is_gone_is_named(tmp_path: Path) -> None:
    messages = done(options(tmp_path, 5))
    shutil.rmtree(tmp_path / "work")
    (problem,) = check(options(tmp_path, 5), messages, [5, 5]).problems
    assert problem == f"{tmp_path}/work was fsynced with ['t0', 't1'] in it, and has []"


def settled(tmp_path: Path) -> tuple[Options, list[dict[str, Any]], Path]:
    """A finished workload whose every change is promised, and the first of its files that is not empty."""
    chosen = options(tmp_path, 60)
    messages = done(chosen)
    end = {"how": "fsync", "floor": [60, 60], "thread": 0, "file": None, "begun": [60, 60]}
    files = (path for path in sorted((tmp_path / "work").rglob("*")) if path.is_file() and not path.is_symlink())
    return chosen, [*messages, end], next(path for path in files if path.stat().st_size > 600)


def no_content(path: Path) -> None:
    size, times = path.stat().st_size, path.stat()
    path.write_bytes(bytes(size))
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def one_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[500] ^= 0x55
    path.write_bytes(data)


def shorter(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1)


@pytest.mark.parametrize(
    ("lie", "words"),
    [
        (no_content, " is 0x00, expected 0x"),
        (one_byte, "byte 500 of "),
        (shorter, "bytes, expected "),
        (os.unlink, "is missing"),
        (lambda path: path.chmod(0o777), "expected ('file', "),
        (lambda path: os.link(path, path.with_name("extra")), "extra is there"),
        (lambda path: path.with_name("extra").mkdir(), "extra is there"),
        (lambda path: path.rename(path.with_name("moved")), "is missing"),
    ],
)
def test_every_way_to_break_a_promise_is_named(tmp_path: Path, lie: Callable[[Path], None], words: str) -> None:
    chosen, messages, path = settled(tmp_path)
    assert check(chosen, messages, [60, 60]).problems == []
    lie(path)
    problems = check(chosen, messages, [60, 60]).problems
    assert words in problems[0]


@pytest.mark.parametrize(
    ("data", "past", "words"),
    [
        (b"new", [b"old", b"new"], ""),
        (b"old" + b"n" * 600, [b"old" + b"o" * 600, b"new" + b"n" * 600], ""),  # torn between the two
        (b"x" * 10, [b"old" * 3 + b"o", b"new" * 3 + b"n"], "byte 0 of 10 is 0x78, expected 0x6e or 0x6f (from there on 7878787878787878)"),
        (b"abc", [b"ab"], "it has 3 bytes, expected 2"),
        (b"", [b"a", b"abc"], "it has 0 bytes, expected 1 to 3"),
        (b"ab\0\0", [b"abcd", b"ab", b"abxy"], ""),  # cut, zeroed to the block's end, and grown again
        (b"aa\0", [b"aa", b"aaa"], ""),  # not promised: what was there before may be there, which is nothing
        (b"a\0", [b"aa", b"aab"], "byte 1 of 2 is 0x00, expected 0x61 (1 zeros from there on)"),
    ],
)
def test_bytes_are_judged_by_all_contents_that_a_file_may_have(data: bytes, past: list[bytes], words: str) -> None:
    assert judge(data, past) == words


def test_a_synchronous_write_promises_its_own_bytes_alone() -> None:
    node = Node("file", 0o600, (0, 0))
    node.hold(b"aaaa", remember=True)
    node.hold(b"aXXa", remember=True)
    node.settle_range(1, 3)
    assert node.past == [b"\0XX", b"aXXa"]


def entry(offset: int, data: bytes, flags: int = 0, label: bytes = b"") -> bytes:
    head = struct.pack("<QQQQ", offset // 512, len(data) // 512, flags, len(label)) + label
    return head.ljust(512, b"\0") + data


def log_of(path: Path, *entries: bytes) -> Path:
    path.write_bytes(struct.pack("<QQQI", 0x6A736677736872, 1, len(entries), 512).ljust(512, b"\0") + b"".join(entries))
    return path


def test_what_was_there_twice_is_still_the_present_after_a_synchronous_write() -> None:
    """A file that was cut off and grew again over zeros is as it was before; what is promised later is that, not what was between."""
    node = Node("file", 0o600, (0, 0))
    for data in (b"abc\0\0", b"abc", b"abc\0\0", b"aXc\0\0"):
        node.hold(data, remember=True)
    node.settle_range(1, 2)
    node.settle(times=True)
    assert node.past == [b"aXc\0\0"]


def test_a_cut_keeps_what_was_flushed_and_may_lose_the_rest(tmp_path: Path) -> None:
    first, second, third = b"1" * 1024, b"2" * 512, b"3" * 1024
    log = log_of(
        tmp_path / "log",
        entry(0, first),
        entry(0, b"", 1),
        entry(0, b"", 8, b"promise"),
        entry(512, second, 2),
        entry(2048, third),
        entry(0, b"", 1),
    )
    entries = writelog.read(str(log))
    assert [(one.offset, one.size, one.label) for one in entries if one.size or one.label] == [
        (0, 1024, ""),
        (0, 0, "promise"),
        (512, 512, ""),
        (2048, 1024, ""),
    ]
    seen = set()
    for seed in range(40):
        disk = tmp_path / "disk"
        disk.write_bytes(bytes(4096))
        disks = writelog.Disks(str(log), str(disk), entries)
        dice = random.Random(seed)
        assert disks.cut(writelog.Cut(5, 1), dice, str(tmp_path / "cut"))[0] == 2
        data = (tmp_path / "cut").read_bytes()
        assert data[:1024] == first[:512] + second  # flushed, and over it a durable write
        seen.add(data[2048:3072].count(b"3"))
        disks.cut(writelog.Cut(6, 1), dice, str(tmp_path / "cut"))
        assert (tmp_path / "cut").read_bytes()[2048:3072] == third  # the last flush made it durable
        disks.close()
    assert {0, 512, 1024} <= seen  # lost, torn, kept


def test_a_disk_that_lies_loses_what_was_flushed(tmp_path: Path) -> None:
    log = log_of(tmp_path / "log", entry(0, b"1" * 512), entry(0, b"", 1), entry(0, b"", 8, b"promise"))
    (tmp_path / "disk").write_bytes(bytes(4096))
    lost = 0
    for seed in range(10):
        disks = writelog.Disks(str(log), str(tmp_path / "disk"), writelog.read(str(log)), lies=True)
        disks.cut(writelog.Cut(3, 1), random.Random(seed), str(tmp_path / "cut"))
        lost += (tmp_path / "cut").read_bytes() == bytes(4096)
        disks.close()
    assert lost > 0


def test_cuts_are_at_boundaries_and_between_them(tmp_path: Path) -> None:
    log = log_of(tmp_path / "log", *(entry(0, b"x" * 512, 1 if number % 5 == 0 else 0) for number in range(50)))
    entries = writelog.read(str(log))
    chosen = writelog.cuts(entries, 12, random.Random(1))
    assert [cut.entry for cut in chosen] == sorted({cut.entry for cut in chosen})
    assert len(chosen) == 12
    assert sum(entries[cut.entry - 1].flush for cut in chosen) >= 6


def test_another_file_is_no_log(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(bytes(1024))
    with pytest.raises(ValueError, match="no log of dm-log-writes"):
        writelog.read(str(tmp_path / "log"))


PLAN = Plan(
    suite="crash",
    artifact="fs",
    kind="daemon",
    file="/fs",
    module="",
    expected_id="",
    filesystem="fuse.fs",
    mount=("mount", "-o", "loop", "-o", "ro", "/v", "/m"),
    mountpoint="/m",
    work="/run",
    persistent=True,
    marker="m",
    deadline=10,
    operation_deadline=5,
    volume="/v",
    check=("fsck", "-n", "/v"),
)


def test_a_block_device_is_mounted_without_a_loop_device() -> None:
    moved = stage.on(PLAN, "/dev/dm-0")
    assert moved.mount == ("mount", "-o", "ro", "/dev/dm-0", "/m")
    assert moved.check == ("fsck", "-n", "/dev/dm-0")
    assert stage.on(PLAN, "/v.cut").mount == ("mount", "-o", "loop", "-o", "ro", "/v.cut", "/m")


def test_a_seed_in_a_cases_name_is_a_case() -> None:
    plan = replace(PLAN, options={"seed": "3", "kill": "2", "recorded": "1"}, only=("kill-77",))
    assert [case.id for case in crash.table(plan).entries] == ["load", "old-ends", "recorded-3", "kill-3", "kill-4", "kill-77"]
