# SPDX-License-Identifier: Apache-2.0
"""A kernel's configuration: a base and fragments over it, each line of which must hold in the end.

Kconfig itself says nothing of an option that it does not know or whose dependencies are missing: it leaves it out, and a
"debug kernel" without KASAN would find no bug. So the finished .config is compared with what was asked for.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ci import process
from ci.errors import InfrastructureError, UsageError

# The base that takes the fragments as a preset, so that nothing but them and their dependencies is there.
_PRESET_BASE = "allnoconfig"
_LINE = re.compile(r"(CONFIG_\w+)=(.*)|# (CONFIG_\w+) is not set")
_CONFIGURE_SECONDS = 300.0


@dataclass(frozen=True)
class Option:
    """One line of a fragment; `value` is `n` for `# CONFIG_X is not set`."""

    name: str
    value: str
    place: str


def options(fragments: Iterable[Path]) -> list[Option]:
    """The lines of fragments; a later one wins over an earlier one of the same name. UsageError where a line is none."""
    found: dict[str, Option] = {}
    for path in fragments:
        for number, line in enumerate(path.read_text().splitlines(), 1):
            text = line.strip()
            parsed = _LINE.fullmatch(text)
            if parsed is None:
                if text and not text.startswith("#"):
                    raise UsageError(f"'{text}' is no line of a kernel configuration", where=f"{path}:{number}", hint="write CONFIG_X=y")
                continue
            name = parsed[1] or parsed[3]
            found.pop(name, None)
            found[name] = Option(name, parsed[2] if parsed[1] else "n", f"{path}:{number}")
    return list(found.values())


def unmet(wanted: Iterable[Option], config: str) -> list[tuple[Option, str]]:
    """The options that do not hold in the text of a .config, each with the value it has there (`n` where it is absent)."""
    has = dict(re.findall(r"^(CONFIG_\w+)=(.*)$", config, re.MULTILINE))
    return [(option, has.get(option.name, "n")) for option in wanted if has.get(option.name, "n") != option.value]


def configure(tree: Path, base: str, fragments: Sequence[Path], *, make: Sequence[str], log: Path) -> None:
    """Write `tree`/.config. Raises UsageError where a line of a fragment does not hold in it, before anything is compiled."""
    wanted = options(fragments)
    preset = tree / "vexci.config"
    preset.write_text("".join(f"{o.name}={o.value}\n" if o.value != "n" else f"# {o.name} is not set\n" for o in wanted))
    if base == _PRESET_BASE:
        _run([*make, f"KCONFIG_ALLCONFIG={preset}", base], tree, log)
    else:
        _run([*make, base], tree, log)
        with open(tree / ".config", "a") as file:
            file.write(preset.read_text())
        _run([*make, "olddefconfig"], tree, log)
    wrong = unmet(wanted, (tree / ".config").read_text())
    if wrong:
        lines = [f"{option.place}: {option.name}={option.value}, but it became {value}" for option, value in wrong]
        raise UsageError(
            f"{len(wrong)} lines of the kernel's configuration do not hold: {lines[0]}",
            hint="\n".join([*lines[1:8], "this kernel does not have the option, or another one that it depends on is missing"]),
        )


def _run(argv: Sequence[str], tree: Path, log: Path) -> None:
    done = process.run(argv, limits=process.Limits(_CONFIGURE_SECONDS), log=log, cwd=tree, what="configuring the kernel")
    if not done.ok:
        tail = " / ".join(log.read_text(errors="backslashreplace").strip().splitlines()[-3:])
        raise InfrastructureError(f"configuring the kernel: {done.how}: {tail}", evidence=(log,))
