"""What a command is: its name, its arguments, and what it answers."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Final

from google.protobuf.message import Message

from agentworkspace.ctl.connection import Session
from agentworkspace.ctl.output import Shown


class ExitCode(IntEnum):
    """The exit codes, which scripts may rely on."""

    DONE = 0
    REFUSED = 1  # the service refused, or its answer is no
    USAGE = 2  # the command line, or a file it names
    FOUND = 3  # `catalogue diff`: somebody else would pay; `secrets audit-shared`: a shared value
    UNREACHABLE = 4  # nobody answered
    INTERRUPTED = 130


Arguments = argparse.Namespace
# Turns what was typed (an id, a name, or the beginning of an id) into the id.
Finder = Callable[[Session, str, Arguments], str]
# The words that complete what was typed so far.
Completer = Callable[[Session, str, Arguments], Iterable[str]]


@dataclass(frozen=True, slots=True)
class Argument:
    """What argparse's `add_argument` takes, kept until there is a parser to add it to.

    `find` turns the word into an id before the command runs; `complete` lists what a shell offers.
    """

    names: tuple[str, ...]
    options: Mapping[str, Any]
    find: Finder | None = None
    complete: Completer | None = None

    @property
    def dest(self) -> str:
        """The attribute of the parsed arguments that holds the value."""
        long = self.options.get("dest") or self.names[-1].lstrip("-")
        return str(long).replace("-", "_")

    def add_to(self, parser: argparse._ActionsContainer, **more: object) -> argparse.Action:
        return parser.add_argument(*self.names, **{**self.options, **more})


def argument(
    *names: str, find: Finder | None = None, complete: Completer | None = None, **options: Any
) -> Argument:
    """An argument as argparse knows it, to be added later."""
    return Argument(names, options, find, complete)


@dataclass(frozen=True, slots=True, kw_only=True)
class Live:
    """An answer without an end: rows under `header`, shown as they come.

    `widths` are in characters; each event is a row's cells and the document of it for machines.
    """

    header: tuple[str, ...]
    widths: tuple[int, ...]
    events: Iterable[tuple[tuple[str, ...], Message | Mapping[str, Any]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a command found out.

    `document` is what --json prints; `view` is what people see; `notes` go to standard error.
    `names` is what `-o name` prints; None: the ids that the document holds. Secret fields of
    messages are never shown, except those named in `revealed`.
    """

    document: Message | Mapping[str, Any] = field(default_factory=dict)
    view: tuple[Shown, ...] = ()
    notes: tuple[str, ...] = ()
    names: tuple[str, ...] | None = None
    revealed: frozenset[str] = frozenset()
    live: Live | None = None
    exit_code: ExitCode = ExitCode.DONE


@dataclass(frozen=True, slots=True)
class Command:
    """One verb: `run` builds the request, calls the service, and returns the answer.

    `check` raises Unusable for arguments that do not go together, before anybody is called.
    `ends` returns a sentence on what would end, to be confirmed first, or None.
    `secret` names the value that it reads from standard input, never from the command line.
    `local` commands call no service.
    """

    name: str
    help: str
    run: Callable[[Arguments, Session], Answer]
    arguments: tuple[Argument, ...] = ()
    check: Callable[[Arguments], None] | None = None
    ends: Callable[[Arguments, Session], str | None] | None = None
    secret: str = ""
    local: bool = False


@dataclass(frozen=True, slots=True)
class Group:
    """Verbs about one noun."""

    name: str
    help: str
    commands: tuple[Command, ...]


YES: Final = argument("--yes", "-y", action="store_true", help="do not ask before something ends")
