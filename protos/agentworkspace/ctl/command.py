"""What a command is: its name, its arguments, and what it answers."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from google.protobuf.message import Message

from agentworkspace.ctl.connection import Session
from agentworkspace.ctl.output import Grid


class ExitCode(IntEnum):
    """What a script may rely on."""

    DONE = 0
    REFUSED = 1  # the service refused, or its answer is no
    USAGE = 2  # the command line, or a file it names
    UNREACHABLE = 3  # nobody answered
    INTERRUPTED = 130


@dataclass(frozen=True, slots=True)
class Argument:
    """What `add_argument` takes, for parsers and for groups of arguments."""

    names: tuple[str, ...]
    options: Mapping[str, Any]

    def add_to(self, parser: argparse._ActionsContainer, **more: object) -> None:
        parser.add_argument(*self.names, **{**self.options, **more})


def argument(*names: str, **options: Any) -> Argument:
    """An argument as argparse knows it, to be added later."""
    return Argument(names, options)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a command found out.

    `document` is what --json prints; `view` is what people see; `notes` go to standard error.
    Secret fields of messages are never shown, but for the names in `revealed`.
    """

    document: Message | Mapping[str, Any]
    view: tuple[Grid, ...]
    notes: tuple[str, ...] = ()
    revealed: frozenset[str] = frozenset()
    exit_code: ExitCode = ExitCode.DONE


@dataclass(frozen=True, slots=True)
class Command:
    """One verb: `run` makes the request, calls, and says what came of it."""

    name: str
    help: str
    run: Callable[[argparse.Namespace, Session], Answer]
    arguments: tuple[Argument, ...] = ()


@dataclass(frozen=True, slots=True)
class Group:
    """Verbs about one noun."""

    name: str
    help: str
    commands: tuple[Command, ...]
