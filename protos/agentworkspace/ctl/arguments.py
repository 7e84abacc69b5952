"""How values on the command line are parsed, and the arguments that several commands take."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from google.protobuf.descriptor import EnumDescriptor
from google.protobuf.duration_pb2 import Duration

from agentworkspace.ctl import lookup
from agentworkspace.ctl.command import Argument, argument
from agentworkspace.ctl.output import prefix_of
from agentworkspace.ctl.spelling import wrong_word

MODES: Final = ("platform_managed", "byok", "disabled")

_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATION: Final = re.compile(r"(\d{1,9})([smhd])", re.ASCII)


def duration(text: str) -> Duration:
    """Parse `90s`, `45m`, `12h` or `30d`."""
    found = _DURATION.fullmatch(text)
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a span such as 90s, 45m, 12h or 30d")
    span = Duration()
    span.FromTimedelta(timedelta(seconds=int(found[1]) * _SECONDS[found[2]]))
    return span


def whole_number(least: int, most: int) -> Callable[[str], int]:
    """A parser of whole numbers from `least` to `most`, both included."""

    def read(text: str) -> int:
        if not re.fullmatch(r"-?\d{1,19}", text, re.ASCII) or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"{text!r}: expected {least} to {most}")
        return int(text)

    return read


INT32: Final = whole_number(-(2**31), 2**31 - 1)
INT64: Final = whole_number(-(2**63), 2**63 - 1)


def seconds(text: str) -> float:
    """Parse seconds: more than 0, at most 3600."""
    try:
        found = float(text)
    except ValueError:
        found = 0
    if not 0 < found <= 3600:
        raise argparse.ArgumentTypeError(f"{text!r}: expected seconds, at most 3600")
    return found


def one_of(enum: EnumDescriptor, *only: int) -> dict[str, Any]:
    """The options of an argument whose value names a value of the enum, such as `auto-restart`.

    `only` limits it to these numbers.
    """
    prefix = prefix_of(enum)
    numbers = {
        value.name.removeprefix(prefix).lower().replace("_", "-"): value.number
        for value in enum.values
        if (value.number in only if only else value.number)
    }

    def read(text: str) -> int:
        word = text.lower().replace("_", "-")
        if word not in numbers:
            raise argparse.ArgumentTypeError(wrong_word(word, tuple(numbers)))
        return numbers[word]

    return {
        "type": read,
        "metavar": "{" + ",".join(numbers) + "}",
        "complete": lambda _session, typed, _args: [n for n in numbers if n.startswith(typed)],
    }


WORKSPACE: Final = argument(
    "workspace",
    help="the workspace: its name, its id, or the beginning of its id",
    find=lookup.workspace,
    complete=lookup.offered_workspaces,
)
TOKEN_ID: Final = argument(
    "token_id",
    metavar="token",
    help="id of the token, its beginning, or the token's label",
    find=lookup.token_id,
    complete=lookup.offered_tokens,
)
REQUEST_ID: Final = argument(
    "--request-id", metavar="UUID", help="repeat an earlier request by its id (default: a new one)"
)
AUTH_ENV: Final = argument(
    "--auth-env",
    action="append",
    default=[],
    metavar="NAME",
    help="name of a credential that would be present; may be repeated",
)
OUT: Final = argument(
    "--out", type=Path, metavar="FILE", help="put the token into FILE (mode 0600), not on screen"
)
PAGING: Final[tuple[Argument, ...]] = (
    argument(
        "--limit",
        type=whole_number(1, 1_000_000),
        default=50,
        metavar="N",
        help="how many at most (default 50)",
    ),
    argument("--all", action="store_true", help="all of them"),
)


def workspace_option(help_text: str, **options: Any) -> Argument:
    """`--workspace`, by name or by id."""
    return argument(
        "--workspace",
        default="",
        metavar="WORKSPACE",
        help=help_text,
        find=lookup.workspace,
        complete=lookup.offered_workspaces,
        **options,
    )


def tenant_filter(help_text: str = "only of this tenant") -> Argument:
    return argument("--tenant", default="", metavar="TENANT", help=help_text)
