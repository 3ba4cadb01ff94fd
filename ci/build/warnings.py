# SPDX-License-Identifier: Apache-2.0
"""The warnings of a module, also of objects that the last make had no reason to compile again.

Kbuild repeats no old warning, so that one in a file that nobody touches would be forgotten by the next build, and a budget
of warnings would be met by building twice. What was said of an object is kept until that object is compiled again.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from ci import store
from ci.build.messages import Message, from_log

_LIST = ".vexci-warnings.json"
# What Kbuild prints when it begins to compile: `  CC [M]  path/file.o`, `  AS [M]  …`; LD and MODPOST judge the whole module.
_COMPILED = re.compile(r"^\s+(?:CC|AS) \[M\]\s+(\S+\.o)\s*$", re.MULTILINE)


def update(folder: Path, text: str) -> None:
    """Take the log of one make in `folder` into account."""
    compiled = {_stem(name, folder) for name in _COMPILED.findall(text)}
    before = known(folder)
    kept = [m for m in before if not _said_again(m, folder, compiled)]
    now = list(dict.fromkeys([*kept, *(m for m in from_log(text) if m.severity == "warning")]))
    if now != before:
        store.atomic_write(folder / _LIST, json.dumps([[m.severity, m.place, m.text] for m in now]))


def _said_again(message: Message, folder: Path, compiled: set[str]) -> bool:
    """True where the compiler would have repeated it in this make, had it still held."""
    file = message.place.rpartition(":")[0]
    name = _stem(file, folder)
    if not file:
        return bool(compiled)  # modpost and the linker speak whenever an object changed
    if Path(file).suffix in (".c", ".S"):
        return name in compiled or not (folder / f"{name}{Path(file).suffix}").is_file()
    return any(_reads(folder, other, file) for other in compiled)


def _stem(name: str, folder: Path) -> str:
    path = Path(name)
    return str((path.relative_to(folder) if path.is_relative_to(folder) else path).with_suffix(""))


def _reads(folder: Path, stem: str, file: str) -> bool:
    """Whether the object was made from this header, by the dependency file beside it."""
    path = folder / stem
    note = path.with_name(f".{path.name}.o.cmd")
    return note.is_file() and Path(file).name in note.read_text()


def known(folder: Path) -> list[Message]:
    """All warnings that hold for what lies in `folder`."""
    try:
        return [Message(*row) for row in json.loads((folder / _LIST).read_text())]
    except FileNotFoundError:
        return []
