# SPDX-License-Identifier: Apache-2.0
"""The scanner: log text in, splats out. The patterns are data (patterns.yaml)."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import yaml

from ci.model import Verdict, worst

PATTERNS_FILE = Path(__file__).with_name("patterns.yaml")
_KEYS = {"id", "class", "verdict", "start", "end", "lines", "explain"}

# `[   12.345678] `, with the caller that CONFIG_PRINTK_CALLER adds: `[   12.345678][  T123] `
_STAMP = r"\[ *\d+\.\d{6}\](?:\[ *[TC]\d+\])?(?: |$)"
# `dmesg --decode`: `kern  :warn  : `. Only facility `kern` is the kernel; what a program writes to /dev/kmsg is not.
_DECODED = re.compile(r"^(?P<facility>[a-z0-9]+) *:(?P<level>[a-z]+) *: (?P<rest>.*)$")
_RAW_LEVEL = re.compile(r"^<(\d+)>")
_STAMPED = re.compile(rf"^(?P<before>.*?)(?P<stamp>{_STAMP})(?P<text>.*)$")
_MARK = re.compile(r"^vexci: (?P<operation>operation )?(?P<what>.*)$")
_CUT_HERE = re.compile(r"^-+\[ cut here \]-+$")
_RULE = re.compile(r"^(-+\[ cut here \]-+|={20,})$")
_LOGGED_BY = re.compile(r"(?<!kernel)\[\d+\]: $")
_ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_LINES_BEFORE = 2
_AFTER_TRACE = 30  # between a crash's call trace and its end line stand modules and registers


@dataclass(frozen=True)
class Splat:
    """One complaint of the kernel. `line` counts from 1 in the scanned text; `during` is the last mark of a suite before it (`case …`),
    `operation` the last thing that the case said it would do. `place` is file:line, where it was decoded (decode.py)."""

    klass: str
    verdict: Verdict
    pattern: str
    title: str
    excerpt: str
    line: int
    explain: str
    during: str = ""
    what: str = ""
    operation: str = ""
    place: str = ""

    @property
    def sentence(self) -> str:
        """Class, title, place and what ran, in one line."""
        during = ": ".join(filter(None, (self.during, self.operation)))
        return f"{self.klass} {self.title}" + (f" at {self.place}" if self.place else "") + (f" (during: {during})" if during else "")


@dataclass(frozen=True)
class Pattern:
    """A row of patterns.yaml."""

    id: str
    klass: str
    verdict: Verdict
    start: re.Pattern[str]
    end: re.Pattern[str]
    lines: int
    explain: str


@dataclass(frozen=True)
class _Message:
    """One line of the log: `said` is the message without time stamp, `text` the same where it is the kernel's, else empty."""

    raw: str
    said: str
    text: str


@lru_cache(maxsize=1)
def patterns() -> tuple[Pattern, ...]:
    """The committed patterns in their order; ValueError where the file is wrong."""
    data = yaml.safe_load(PATTERNS_FILE.read_text())
    rows = []
    for row in data["patterns"]:
        if unknown := set(row) - _KEYS:
            raise ValueError(f"{PATTERNS_FILE.name}: {row.get('id')}: unknown keys {sorted(unknown)}")
        merged = {**data["defaults"], **row}
        rows.append(
            Pattern(
                id=merged["id"],
                klass=merged["class"],
                verdict=Verdict(merged["verdict"]),
                start=re.compile(merged["start"]),
                end=re.compile(merged["end"]),
                lines=merged["lines"],
                explain=merged["explain"],
            )
        )
    return tuple(rows)


def scan(text: str, *, guest_log: str = "") -> list[Splat]:
    """All splats of a console log or of `dmesg --decode`, in order.

    A report in several sentences (a refcount message, then its WARNING) is one splat: what lies inside an excerpt is
    part of it, unless its verdict is worse or it is the final panic. `guest_log` is `dmesg --decode` of the same
    guest, where there is one: a line that it attributes to a program is not the kernel's on the console either.
    """
    messages = _messages(text, _programs(guest_log))
    found: list[Splat] = []
    end = -1
    step = ("", "")
    for index, message in enumerate(messages):
        step = _step(message, step)
        hit = _match(message.text)
        if hit is None or (index <= end and not _own(hit[0], found[-1])):
            continue
        end = _end(messages, index, hit[0])
        found.append(replace(_splat(messages, index, end, *hit), during=step[0], operation=step[1]))
    return found


def last_step(text: str) -> tuple[str, str]:
    """The last mark of a suite in a console log (`case …`), and the last thing that the case said it would do; empty where none is."""
    step = ("", "")
    for message in _messages(text, _programs("")):
        step = _step(message, step)
    return step


def _step(message: _Message, before: tuple[str, str]) -> tuple[str, str]:
    """The mark and the operation after this message, of those before it: a new mark begins without an operation."""
    mark = _MARK.match(message.said)
    if mark is None:
        return before
    return (before[0], mark["what"]) if mark["operation"] else (mark["what"], "")


def worst_verdict(splats: list[Splat]) -> Verdict:
    """The worst verdict of all; PASS where there are none."""
    return worst([splat.verdict for splat in splats]) if splats else Verdict.PASS


def first_failure(text: str) -> Splat | None:
    """The first splat that speaks of the product; None where there is none."""
    return next((splat for splat in scan(text) if splat.verdict in (Verdict.PANIC, Verdict.HANG)), None)


def _match(text: str) -> tuple[Pattern, re.Match[str]] | None:
    if text:
        for pattern in patterns():
            if match := pattern.start.match(text):
                return pattern, match
    return None


def _own(pattern: Pattern, outer: Splat) -> bool:
    """True where a hit inside another's excerpt is told by itself."""
    if pattern.id == "panic":
        return outer.pattern != "panic"
    return pattern.verdict is not outer.verdict and worst([pattern.verdict, outer.verdict]) is pattern.verdict


def _end(messages: list[_Message], start: int, pattern: Pattern) -> int:
    """Index of the last line that belongs to the splat that begins at `start`.

    That is its end line; else the end of its call trace, unless an end line follows soon; else a number of lines.
    """
    last = min(start + pattern.lines, len(messages) - 1)
    trace = 0
    for index in range(start + 1, last + 1):
        said = messages[index].said
        if pattern.end.match(said):
            return index
        if _CUT_HERE.match(said):
            return trace or index - 1  # another report begins
        if said == "</TASK>":
            trace = index
        if trace and (index > trace + _AFTER_TRACE or _match(messages[index].text)):
            return trace
    return trace or last


def _splat(messages: list[_Message], start: int, end: int, pattern: Pattern, match: re.Match[str]) -> Splat:
    first = start
    for index in range(start - 1, max(start - 1 - _LINES_BEFORE, -1), -1):
        if _RULE.match(messages[index].said):
            first = index
    return Splat(
        klass=pattern.klass,
        verdict=pattern.verdict,
        pattern=pattern.id,
        title=messages[start].text,
        excerpt="\n".join(message.raw for message in messages[first : end + 1]),
        line=start + 1,
        explain=pattern.explain,
        what=match.groupdict().get("what") or "",
    )


def _messages(text: str, programs: frozenset[str]) -> list[_Message]:
    lines = [_ANSI.sub("", line).rstrip("\r") for line in text.split("\n")]
    stamped = any(_STAMPED.match(_bare(line)[1]) for line in lines)
    return [_message(line, stamped, programs) for line in lines]


def _bare(line: str) -> tuple[str, str]:
    """Facility (empty where the line does not tell it) and the line without that."""
    if decoded := _DECODED.match(line):
        return decoded["facility"], decoded["rest"]
    return "", _RAW_LEVEL.sub("", line)


def _message(line: str, stamped: bool, programs: frozenset[str]) -> _Message:
    """Where any line of the log has a time stamp, only such lines are the kernel's."""
    facility, rest = _bare(line)
    match = _STAMPED.match(rest)
    said = (match["text"] if match else rest).strip()
    foreign = facility not in ("", "kern") or (stamped and match is None)
    if match is not None:
        foreign = foreign or _LOGGED_BY.search(match["before"]) is not None or _key(match) in programs
    return _Message(line, said, "" if foreign else said)


def _key(match: re.Match[str]) -> str:
    return f"{match['stamp'].strip()} {match['text'].strip()}"


def _programs(guest_log: str) -> frozenset[str]:
    """The stamped lines that `dmesg --decode` says a program wrote."""
    found = set()
    for line in guest_log.splitlines():
        facility, rest = _bare(line)
        match = _STAMPED.match(rest)
        if facility not in ("", "kern") and match:
            found.add(_key(match))
    return frozenset(found)
