"""Reading YAML with its line numbers, collecting every problem instead of the first."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeVar

import yaml
from typing_extensions import override

_STRING = "tag:yaml.org,2002:str"
_BOOLEAN = "tag:yaml.org,2002:bool"
_INTEGER = "tag:yaml.org,2002:int"
_NULL = "tag:yaml.org,2002:null"

E = TypeVar("E", bound=StrEnum)


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One reason to refuse a catalogue: where, what, and what to do about it."""

    line: int
    what: str
    remedy: str
    file: str = ""

    @override
    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.what}; {self.remedy}"


class CatalogueInvalid(ValueError):
    """A catalogue that is refused, with every problem found in it."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = tuple(sorted(problems))
        super().__init__("\n".join(str(problem) for problem in self.problems))


@dataclass(slots=True)
class Reader:
    """Takes typed values out of YAML nodes and remembers what was wrong with them."""

    file: str
    problems: list[Problem] = field(default_factory=list)

    def compose(self, text: str) -> yaml.Node | None:
        """The document's root node; None when it is no single YAML document."""
        try:
            root = yaml.compose(text, Loader=yaml.SafeLoader)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            line = mark.line + 1 if mark is not None else 1
            self.at(line, f"not valid YAML: {error.problem}", "correct the syntax there")
            return None
        except RecursionError:
            self.at(1, "it is nested too deeply", "write it like the shipped catalogue")
            return None
        except yaml.reader.ReaderError as error:
            line = text.count("\n", 0, error.position) + 1
            self.at(line, f"not valid YAML: {error.reason}", "remove that character")
            return None
        if root is None:
            self.at(1, "the file is empty", "start from the shipped catalogue")
        return root

    def at(self, line: int, what: str, remedy: str) -> None:
        """Note a problem at a line, counted from 1."""
        self.problems.append(Problem(line, what, remedy, self.file))

    def blame(self, node: yaml.Node, what: str, remedy: str) -> None:
        """Note a problem where `node` starts."""
        self.at(line_of(node), what, remedy)

    def mapping(
        self, node: yaml.Node, what: str, *, required: frozenset[str], optional: frozenset[str]
    ) -> dict[str, yaml.Node]:
        """The entries of a mapping; unknown, missing and repeated keys are problems."""
        if not isinstance(node, yaml.MappingNode):
            self.blame(node, f"{what} is not a mapping", "write it as `key: value` lines")
            return {}
        entries: dict[str, yaml.Node] = {}
        known = required | optional
        for key_node, value in node.value:
            key = key_node.value if isinstance(key_node, yaml.ScalarNode) else "(not a text)"
            if key in entries:
                self.blame(key_node, f"`{key}` stands twice in {what}", "keep one of them")
            elif key not in known:
                remedy = f"remove it or use one of: {', '.join(sorted(known))}"
                self.blame(key_node, f"unknown key `{key}` in {what}", remedy)
            else:
                entries[key] = value
        for key in sorted(required - entries.keys()):
            self.blame(node, f"{what} has no `{key}`", f"add `{key}`")
        return entries

    def items(self, node: yaml.Node | None, what: str) -> Iterator[yaml.Node]:
        """The members of a list."""
        if node is None:
            return
        if not isinstance(node, yaml.SequenceNode):
            self.blame(node, f"{what} is not a list", "write it as `- item` lines")
            return
        yield from node.value

    def text(self, node: yaml.Node | None, what: str) -> str:
        """A text that is not blank and has no white space around it; empty if it is not."""
        if node is None:
            return ""
        if not isinstance(node, yaml.ScalarNode) or node.tag != _STRING:
            self.blame(
                node, f"{what} is not a text", "write a text, in quotes if it looks otherwise"
            )
            return ""
        if not node.value.strip():
            self.blame(node, f"{what} is blank", "give it a value")
            return ""
        if node.value != node.value.strip():
            self.blame(node, f"{what} has white space around it", "remove that white space")
        return str(node.value)

    def block(self, node: yaml.Node | None, what: str) -> str:
        """A text taken as it stands, white space and all; it may be empty."""
        if node is None:
            return ""
        if not isinstance(node, yaml.ScalarNode) or node.tag == _NULL:
            self.blame(node, f"{what} is not a text", "write a text, in quotes if it is short")
            return ""
        return str(node.value)

    def entries(self, node: yaml.Node, what: str) -> Iterator[tuple[yaml.Node, yaml.Node]]:
        """The keys and values of a mapping whose keys are free, each key once."""
        if not isinstance(node, yaml.MappingNode):
            self.blame(node, f"{what} is not a mapping", "write it as `key: value` lines")
            return
        seen: set[str] = set()
        for key_node, value in node.value:
            key = key_node.value if isinstance(key_node, yaml.ScalarNode) else ""
            if key in seen:
                self.blame(key_node, f"`{key}` stands twice in {what}", "keep one of them")
            else:
                seen.add(key)
                yield key_node, value

    def text_or_null(self, node: yaml.Node | None, what: str) -> str | None:
        """A text, or nothing when it is missing or null."""
        if node is None or (isinstance(node, yaml.ScalarNode) and node.tag == _NULL):
            return None
        return self.text(node, what) or None

    def boolean(self, node: yaml.Node | None, what: str) -> bool:
        """A truth value; False when missing."""
        if node is None:
            return False
        if not isinstance(node, yaml.ScalarNode) or node.tag != _BOOLEAN:
            self.blame(node, f"{what} is neither true nor false", "write `true` or `false`")
            return False
        return bool(node.value.lower() in ("true", "yes", "on"))

    def integer(self, node: yaml.Node | None, what: str) -> int | None:
        """A whole number in plain decimal digits."""
        if node is None:
            return None
        plain = isinstance(node, yaml.ScalarNode) and node.tag == _INTEGER
        if not plain or not node.value.isdecimal():
            self.blame(node, f"{what} is not a whole number", "write plain digits")
            return None
        return int(node.value)

    def choice(self, node: yaml.Node | None, choices: type[E], what: str) -> E | None:
        """One of the values of an enumeration."""
        text = self.text(node, what)
        if node is None or not text:
            return None
        try:
            return choices(text)
        except ValueError:
            known = ", ".join(member.value for member in choices)
            self.blame(node, f"{what} is unknown: `{text}`", f"use one of: {known}")
            return None

    def texts(self, node: yaml.Node | None, what: str) -> dict[str, yaml.Node]:
        """A list of different texts, each with the node that holds it."""
        found: dict[str, yaml.Node] = {}
        for item in self.items(node, what):
            text = self.text(item, f"an entry of {what}")
            if text in found:
                self.blame(item, f"`{text}` stands twice in {what}", "keep one of them")
            elif text:
                found[text] = item
        return found


def line_of(node: yaml.Node) -> int:
    """The line a node starts at, counted from 1."""
    return int(node.start_mark.line) + 1
