"""Asking before a command changes what nothing changes back, and saying who ran it."""

from __future__ import annotations

import argparse
import getpass
import os
import sys
from typing import Final

GO_ON: Final = "yes"
DECLINED: Final = 1
NOBODY_TO_ASK: Final = 2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """`--dry-run` and `--yes`, as every command that asks has them."""
    parser.add_argument(
        "--dry-run", action="store_true", help="say what would be done, and change nothing"
    )
    parser.add_argument("--yes", action="store_true", help="do it without asking")


def status_unless_confirmed(chosen: argparse.Namespace) -> int | None:
    """None: go on. Else nothing may be changed, and this is the exit status.

    Asks at the terminal, unless the arguments have answered; whoever asks has printed its plan.
    """
    if chosen.dry_run:
        print("nothing was changed: this was a dry run")
        return 0
    if chosen.yes:
        return None
    if not sys.stdin.isatty():
        print(
            "nothing was changed: there is no terminal to ask at. Read above what would be done,"
            " and run it again with --yes",
            file=sys.stderr,
        )
        return NOBODY_TO_ASK
    if _answer(f"Type {GO_ON} to go on: ") == GO_ON:
        return None
    print("nothing was changed", file=sys.stderr)
    return DECLINED


def operator() -> str:
    """Who runs the command, for the audit: the name of the account, or its number."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may give its user no name
        return f"uid {os.getuid()}"


def _answer(question: str) -> str:
    try:
        return input(question).strip()
    except EOFError:
        return ""
