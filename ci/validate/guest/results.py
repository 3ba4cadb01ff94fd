# SPDX-License-Identifier: Apache-2.0
"""Reads what other people's tests print: TAP and KTAP, LTP's result lines, xfstests' `check`. Text in, rows out; nothing is run here.

What a program left out is a problem, not a pass: no plan, fewer results than the plan says, an exit status without a result.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

PASS, FAIL, SKIP = "pass", "fail", "skip"

_RESULT = re.compile(r"(not ok|ok)\b[ \t]*(\d+)?[ \t]*-?[ \t]*(.*)", re.DOTALL)
_PLAN = re.compile(r"1\.\.(\d+)(?:[ \t]*#[ \t]*(.*))?$")
_VERSION = re.compile(r"(?:K?TAP) version \d+$")
_DIRECTIVE = re.compile(r"(?<!\\)#[ \t]*(SKIP|TODO|XFAIL|TIMEOUT|ERROR)\b[ \t:]*(.*)$", re.IGNORECASE)
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_TIME = re.compile(r"^\[ *\d+\.\d+\] ")  # the kernel's log, where KUnit prints
_SHORT = 300


@dataclass(frozen=True)
class Row:
    """One result: its path in the tree of subtests, `pass`, `fail` or `skip`, and what was said of it."""

    id: str
    verdict: str
    detail: str = ""


@dataclass(frozen=True)
class Results:
    """All results of one output, and what is wrong with the output as a whole. `skipped` says why none were to be expected."""

    rows: tuple[Row, ...]
    problems: tuple[str, ...]
    skipped: str = ""

    @property
    def bad(self) -> list[Row]:
        """The rows that failed."""
        return [row for row in self.rows if row.verdict == FAIL]


@dataclass
class _Level:
    """The results at one depth that no result above them has taken in yet."""

    rows: list[Row] = field(default_factory=list)
    count: int = 0
    plan: int | None = None


def tap(text: str) -> Results:
    """TAP 12 to 14 and KTAP 1, with subtests that are indented (KTAP, TAP 14) or stand behind '# ' (kselftest's runner)."""
    levels: dict[int, _Level] = {}
    said: list[str] = []
    problems: list[str] = []
    skipped = ""
    for line in _COLOUR.sub("", text).splitlines():
        depth, content = _depth(_TIME.sub("", line))
        if _VERSION.match(content):
            continue
        if content.startswith("Bail out!"):
            problems.append(content)
        elif plan := _PLAN.match(content):
            level = levels.setdefault(depth, _Level())
            level.plan = int(plan[1])
            if not level.plan and not depth:
                skipped = re.sub(r"^skip(ped)?\b[: ]*", "", plan[2] or "", flags=re.IGNORECASE) or "it plans no tests"
        elif result := _RESULT.match(content):
            _take(levels, depth, result, said, problems)
            said = []
        elif content.startswith("#"):
            said.append(content.lstrip("# "))
    top = levels.pop(0, _Level())
    for depth in sorted(levels):  # their parent never came to its result
        if levels[depth].rows:
            problems.append(f"ended inside of a test, behind {levels[depth].rows[-1].id}")
            top.rows += levels[depth].rows
    if top.plan is None:
        problems.append("no plan (1..N): how many tests there are is not known")
    elif top.plan != top.count:
        problems.append(f"{top.count} of {top.plan} planned tests have a result")
    return Results(_unique(top.rows), tuple(problems), skipped if not top.rows else "")


def _depth(line: str) -> tuple[int, str]:
    """How far a line stands inside, and the line. '# ' in front of a result, a plan or a version stands for an indentation."""
    depth, rest = 0, line.rstrip("\r\n")
    while True:
        if rest[:1] in (" ", "\t"):
            depth, rest = depth + (8 if rest[0] == "\t" else 1), rest[1:]
        elif rest.startswith("# ") and _inside(rest):
            depth, rest = depth + 2, rest[2:]
        else:
            return depth, rest


def _inside(line: str) -> bool:
    bare = line.lstrip("# \t")
    numbered = re.match(r"(not ok|ok)[ \t]+\d", bare)
    return bool(numbered or _PLAN.match(bare) or _VERSION.match(bare))


def _take(levels: dict[int, _Level], depth: int, result: re.Match[str], said: list[str], problems: list[str]) -> None:
    level = levels.setdefault(depth, _Level())
    level.count += 1
    inner = [levels.pop(other) for other in sorted(levels) if other > depth]
    if result[2] and int(result[2]) != level.count:
        problems.append(f"result {result[2]} stands where {level.count} was to come")
        level.count = int(result[2])
    directive = _DIRECTIVE.search(result[3])
    description = (result[3][: directive.start()] if directive else result[3]).strip()
    name = _slug(re.split(r"(?<!\\)#\s", description)[0]) or str(level.count)  # kselftest's runner adds '# exit=1'
    verdict, detail = _verdict(result[1] == "ok", directive, description, said)
    rows = [row for each in inner for row in each.rows]
    short = [f"{each.count} of {each.plan} planned subtests have a result" for each in inner if each.plan not in (None, each.count)]
    level.rows += [Row(f"{name}.{row.id}", row.verdict, row.detail) for row in rows]
    if short:
        verdict, detail = FAIL, "; ".join([*short, *([detail] if detail else [])])
    if not rows or (verdict == FAIL and (short or not any(row.verdict == FAIL for row in rows))):
        level.rows.append(Row(name, verdict, detail))


def _verdict(good: bool, directive: re.Match[str] | None, description: str, said: list[str]) -> tuple[str, str]:
    kind, why = (directive[1].upper(), directive[2].strip()) if directive else ("", "")
    told = " / ".join(line for line in said if line and not line.startswith("Subtest:"))[-_SHORT:]
    if kind in ("SKIP", "XFAIL"):
        return SKIP, f"{kind.lower()}: {why or 'no reason given'}"
    if kind == "TODO":  # TAP: it is expected to fail; what passes is a surprise, and no failure
        return (PASS if good else SKIP), f"todo: {why or 'no reason given'}"
    if good and not kind:
        return PASS, ""
    words = [description, f"{kind.lower()} {why}".strip(), told]
    return FAIL, "; ".join(word for word in words if word) or "not ok"


def _slug(text: str) -> str:
    """A description as an id: no blanks and no commas, which separate ids on a command line."""
    return re.sub(r"[\s,]+", "-", text).strip("-.")[:120]


def _unique(rows: list[Row]) -> tuple[Row, ...]:
    seen: dict[str, int] = {}
    found = []
    for row in rows:
        seen[row.id] = number = seen.get(row.id, 0) + 1
        found.append(row if number == 1 else Row(f"{row.id}~{number}", row.verdict, row.detail))
    return tuple(found)


_LTP = re.compile(r"\b(TPASS|TFAIL|TBROK|TCONF|TWARN)\b\s*:\s*(.*)")
_LTP_BITS = ((1, "TFAIL"), (2, "TBROK"), (4, "TWARN"))
_LTP_CONF = 32


def ltp(text: str, code: int) -> Row:
    """One LTP program, whose exit status is made of bits (include/tst_res_flags.h): TFAIL 1, TBROK 2, TWARN 4, TCONF 32.

    A test that says TCONF and nothing else cannot be run here. One that exits 0 without a single TPASS has shown nothing.
    """
    said = [(kind, words.strip()) for kind, words in _LTP.findall(_COLOUR.sub("", text))]
    wrong = [f"{kind}: {words}" for kind, words in said if kind in ("TFAIL", "TBROK", "TWARN")]
    passed = sum(kind == "TPASS" for kind, _ in said)
    bits = [name for bit, name in _LTP_BITS if code & bit]
    if code < 0 or code >= 64:
        return Row("", FAIL, f"ended with status {code}; {_tail(text)}")
    if bits or wrong:
        return Row("", FAIL, "; ".join(wrong[:3]) or f"exit {code} ({', '.join(bits)}); {_tail(text)}")
    if code & _LTP_CONF or (said and not passed):
        return Row("", SKIP, next((words for kind, words in said if kind == "TCONF"), _tail(text)))
    if not passed:
        return Row("", FAIL, f"exit {code}, and not one result (TPASS); {_tail(text)}")
    return Row("", PASS, f"{passed} results")


_NOT_RUN = re.compile(r"\[not run\]\s*(.*)")
_EXPUNGED = re.compile(r"\[expunged\]")


def xfstests(text: str, test: str, code: int) -> Row:
    """One test under xfstests' `check`: what stands behind its name, and the summary that must name it."""
    lines = _COLOUR.sub("", text).splitlines()
    own = next((line for line in lines if re.match(rf"{re.escape(test)}\s", line)), "")
    told = "\n".join(lines[lines.index(own) :]) if own else ""
    if reason := _NOT_RUN.search(told):  # it may stand on a later line: the test itself has said something before
        return Row(test, SKIP, reason[1].strip() or "it says no reason")
    if _EXPUNGED.search(told):
        return Row(test, SKIP, "expunged by check itself")
    failures = next((line.partition(":")[2].split() for line in lines if line.startswith("Failures:")), [])
    if test in failures or code != 0:
        return Row(test, FAIL, f"exit {code}; {_tail(told or text)}")
    ran = next((line.partition(":")[2].split() for line in lines if line.startswith("Ran:")), [])
    if test not in ran or not any(re.match(r"Passed all \d+ tests", line) for line in lines):
        return Row(test, FAIL, f"exit {code}, and check does not say that it ran; {_tail(text)}")
    return Row(test, PASS)


def _tail(text: str, length: int = 600) -> str:
    bare = text.strip()
    return f"its output ends: {bare[-length:]}" if bare else "it said nothing"
