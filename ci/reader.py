# SPDX-License-Identifier: Apache-2.0
"""Reads a YAML file into typed values and collects every mistake with its line, its key and the nearest valid name."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from ci.errors import UsageError


@dataclass(frozen=True)
class Problem:
    """One mistake: `line` counts from 1, `key` is the dotted path."""

    line: int
    key: str
    message: str


class ConfigError(UsageError):
    """All mistakes of one file."""

    def __init__(self, path: Path, problems: Sequence[Problem]) -> None:
        self.path = path
        self.problems = tuple(sorted(problems, key=lambda p: (p.line, p.key)))
        count = len(self.problems)
        mistakes = f"{count} mistake{'s' if count > 1 else ''}"
        super().__init__(f"{mistakes} in {path}; nothing was started", hint="docs/manifest.md lists the keys")


def nearest(name: str, valid: Sequence[str]) -> str:
    """`; did you mean 'x'?` for the closest valid name, else the list of valid ones."""
    close = difflib.get_close_matches(name, valid, n=1, cutoff=0.6)
    if close:
        return f"; did you mean '{close[0]}'?"
    return f"; expected one of: {', '.join(sorted(valid))}" if valid else ""


def load(path: Path) -> Section:
    """The top of a YAML file as a Section; ConfigError where it is no YAML mapping, UsageError where it cannot be read."""
    try:
        text = path.read_text()
    except FileNotFoundError as error:
        raise UsageError(f"{path} does not exist", hint="run from the project's folder, or set VEXCI_CONFIG=path/to/vexci.yaml") from error
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read: {error}") from error
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ConfigError(path, [Problem(line, "", f"not valid YAML: {error.problem}")]) from error
    except yaml.YAMLError as error:
        raise ConfigError(path, [Problem(1, "", f"not valid YAML: {error}")]) from error
    if not isinstance(node, yaml.MappingNode):
        raise ConfigError(path, [Problem(1, "", "expected keys and values at the top, such as 'artifacts:'")])
    return Section(path, node, "", [])


def _scalar(node: yaml.Node) -> object:
    return yaml.SafeLoader("").construct_object(node)


class Section:
    """One mapping of the file. Each getter reports what is wrong and returns a usable default, so that reading goes on."""

    def __init__(self, path: Path, node: yaml.MappingNode, key: str, problems: list[Problem]) -> None:
        self.path = path
        self.key = key
        self.line = node.start_mark.line + 1
        self.problems = problems
        self._nodes: dict[str, yaml.Node] = {}
        self._lines: dict[str, int] = {}
        self._read: set[str] = set()
        for name_node, value_node in node.value:
            name = str(getattr(name_node, "value", ""))
            line = name_node.start_mark.line + 1
            if name in self._nodes:
                self._lines[name] = line
                self.problem(name, f"given twice; the first is at line {self._nodes[name].start_mark.line + 1}")
            self._nodes[name] = value_node
            self._lines[name] = line

    def dotted(self, name: str) -> str:
        return f"{self.key}.{name}" if self.key else name

    def problem(self, name: str, message: str) -> None:
        """Report a mistake at the key `name` (at the section itself where the key is absent)."""
        self.problems.append(Problem(self._lines.get(name, self.line), self.dotted(name), message))

    def has(self, name: str) -> bool:
        return name in self._nodes

    def _take(self, name: str, required: bool) -> yaml.Node | None:
        self._read.add(name)
        node = self._nodes.get(name)
        if node is None and required:
            self.problem(name, "is missing")
        return node

    def text(self, name: str, default: str | None = None, choices: Sequence[str] = ()) -> str:
        """A string, required where there is no default; `choices` are the only valid ones."""
        node = self._take(name, default is None)
        if node is None:
            return default or ""
        if not isinstance(node, yaml.ScalarNode) or not node.value:
            self.problem(name, "expected text")
            return default or ""
        if choices and node.value not in choices:
            self.problem(name, f"'{node.value}' is not known{nearest(node.value, choices)}")
        return str(node.value)

    def number(self, name: str, default: float | None = None, least: float = 0, most: float = float("inf")) -> float:
        """A number from `least` to `most`."""
        node = self._take(name, default is None)
        if node is None:
            return default or 0.0
        value = _scalar(node) if isinstance(node, yaml.ScalarNode) else None
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            self.problem(name, "expected a number")
            return default or 0.0
        if not least <= value <= most:
            self.problem(name, f"expected a number from {least:g} to {most:g}, got {value:g}")
        return float(value)

    def whole(self, name: str, default: int | None = None, least: int = 0, most: int = 1 << 30) -> int:
        """A whole number from `least` to `most`."""
        value = self.number(name, default, least, most)
        if value != int(value):
            self.problem(name, f"expected a whole number, got {value:g}")
        return int(value)

    def flag(self, name: str, default: bool = False) -> bool:
        """true or false."""
        node = self._take(name, False)
        if node is None:
            return default
        value = _scalar(node) if isinstance(node, yaml.ScalarNode) else None
        if not isinstance(value, bool):
            self.problem(name, "expected true or false")
            return default
        return value

    def texts(self, name: str, default: tuple[str, ...] | None = ()) -> tuple[str, ...]:
        """A list of strings; required where the default is None."""
        node = self._take(name, default is None)
        if node is None:
            return default or ()
        if not isinstance(node, yaml.SequenceNode) or not all(isinstance(item, yaml.ScalarNode) for item in node.value):
            self.problem(name, "expected a list of texts, such as [a, b]")
            return default or ()
        return tuple(str(item.value) for item in node.value)

    def files(self, name: str, root: Path) -> tuple[Path, ...]:
        """A list of files below `root`, each of which must be there."""
        paths = tuple(root / text for text in self.texts(name))
        for path in paths:
            if not path.is_file():
                self.problem(name, f"there is no file {path}")
        return paths

    def commands(self, name: str) -> tuple[tuple[str, ...], ...]:
        """A list of argv lists."""
        node = self._take(name, False)
        if node is None:
            return ()
        rows = node.value if isinstance(node, yaml.SequenceNode) else [node]
        found = []
        for row in rows:
            if not isinstance(row, yaml.SequenceNode) or not row.value or not all(isinstance(i, yaml.ScalarNode) for i in row.value):
                self.problem(name, "expected a list of commands, each a list of words, such as [[truncate, -s, 64M, x]]")
                return ()
            found.append(tuple(str(item.value) for item in row.value))
        return tuple(found)

    def pairs(self, name: str) -> tuple[tuple[str, str], ...]:
        """A flat mapping of texts, in the file's order."""
        section = self.section(name, required=False)
        if section is None:
            return ()
        return tuple((key, section.text(key)) for key in section.names())

    def section(self, name: str, required: bool = True) -> Section | None:
        """A mapping below this one."""
        node = self._take(name, required)
        if node is None:
            return None
        if not isinstance(node, yaml.MappingNode):
            self.problem(name, "expected keys and values")
            return None
        return Section(self.path, node, self.dotted(name), self.problems)

    def names(self) -> list[str]:
        """The keys, in the file's order."""
        return list(self._nodes)

    def sections(self, name: str, required: bool = True) -> Iterator[tuple[str, Section]]:
        """The named mappings below `name`."""
        parent = self.section(name, required)
        for child in parent.names() if parent else []:
            assert parent is not None
            section = parent.section(child)
            if section is not None:
                yield child, section

    def finish(self) -> None:
        """Report the keys that nobody asked for."""
        for name in self._nodes:
            if name not in self._read:
                self.problem(name, f"unknown key{nearest(name, sorted(self._read))}")
