"""`agentworkspace-box`: run a command as the box of a workspace.

This half reads the command line and then starts `inside`, which runs without the environment.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Final

from agentworkspace.client.box import handover
from agentworkspace.core.installation import version_of

NAME: Final = "agentworkspace-box"
INSIDE: Final = "agentworkspace.client.box.inside"
CANNOT_START: Final = 2

DESCRIPTION: Final = f"""Runs a command as the box of a workspace. Everything else comes from the
environment that ProvisionWorkspace answered: the runner registers, makes the files that the launch
asks for, starts the command without the bootstrap ticket in sight, sends heartbeats beside it,
hands signals on, ends it when the registry says STOP, and leaves with its exit status.

exit status: the command's own; 128 + N when signal N ended it
             {CANNOT_START}    the environment or the command line lacks something, or is malformed
             3    the registry said STOP before the command was started, or the runner itself broke:
                  what it wrote on standard error says which
             126  the command could not be started
             127  the command was not found"""

RUN: Final = """An agent that nobody launches has no ticket: WORKSPACE_API_TOKEN then holds its api
token, with which it is let in for as long as the workspace was never launched."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Replace this process by the run. Returns only when it refuses: the exit status."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    # The first -- ends the runner's options; the command may have one of its own.
    end = words.index("--") if "--" in words else len(words)
    options, command = _parser().parse_args(words[:end]), words[end + 1 :]
    if not command:
        return _refuse("nothing to run: write the command behind --")
    if os.name != "posix":
        return _refuse("this system cannot run it: a POSIX system is needed")
    wanted = {**vars(options), "command": command}
    return handover.start_again(INSIDE, wanted, os.environ, shown=words)


def _parser() -> argparse.ArgumentParser:
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        prog=NAME, description=DESCRIPTION, formatter_class=formatter, allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=version_of(NAME))
    commands = parser.add_subparsers(required=True, metavar="run")
    running = commands.add_parser(
        "run",
        help="run a command as the box",
        description=RUN,
        formatter_class=formatter,
        allow_abbrev=False,
        usage=f"{NAME} run [options] -- COMMAND [ARGUMENT…]",
    )
    running.add_argument(
        "--grace",
        type=_seconds,
        default=10.0,
        metavar="SECONDS",
        help="how long it may take to end after SIGTERM, before it is killed (10)",
    )
    running.add_argument(
        "--start-anyway",
        action="store_true",
        help="start the command also when the registry has not let the box in within 5 seconds",
    )
    running.add_argument(
        "--leave-when-done",
        action="store_true",
        help="when the command ends with status 0, deregister: the workspace is not launched again",
    )
    running.add_argument(
        "--directory",
        metavar="DIR",
        default="",
        help="where the directory for the launch's files is made (default: HOME)",
    )
    running.add_argument("--url", default="", help="where the box is reached, for its record")
    running.add_argument("--runtime", default="", metavar="NAME", help="what runs, for its record")
    running.add_argument("--runtime-version", default="", metavar="VERSION", help="and which")
    return parser


def _refuse(text: str) -> int:
    print(f"{NAME}: {text}", file=sys.stderr)
    return CANNOT_START


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0.0 <= seconds <= 3600.0:
        raise argparse.ArgumentTypeError("must be seconds, 0 to 3600")
    return seconds


if __name__ == "__main__":
    sys.exit(main())
