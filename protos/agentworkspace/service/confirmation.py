"""Asks before a command changes what cannot be undone, and tells who ran it."""

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
    """Add `--dry-run` and `--yes`, which every command has that asks."""
    parser.add_argument(
        "--dry-run", action="store_true", help="say what would be done, and change nothing"
    )
    parser.add_argument("--yes", action="store_true", help="do it without asking")


def status_unless_confirmed(chosen: argparse.Namespace) -> int | None:
    """None when the command may go on; otherwise the exit status with which it must end.

    Asks at the terminal, unless `--dry-run` or `--yes` answers. The command prints its plan before.
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
    """Who runs the command, for the audit: the name of the account, or `uid <number>`."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may give its user no name
        return f"uid {os.getuid()}"


def _answer(question: str) -> str:
    try:
        return input(question).strip()
    except EOFError:
        return ""
