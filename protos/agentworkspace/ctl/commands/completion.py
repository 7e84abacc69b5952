"""`completion`: the script with which a shell completes commands, options, names and ids."""

from __future__ import annotations

import argparse
from typing import Final

from argcomplete.shell_integration import shellcode

from agentworkspace.ctl.command import Answer, Command, argument
from agentworkspace.ctl.connection import Session
from agentworkspace.ctl.output import Plain

_SHELLS: Final = ("bash", "zsh", "fish")


def _completion(args: argparse.Namespace, _session: Session) -> Answer:
    script = shellcode(["workspacectl"], shell=args.shell)
    return Answer(document={"shell": args.shell, "script": script}, view=(Plain(script),))


COMPLETION = Command(
    "completion",
    "print what makes a shell complete; such as: source <(workspacectl completion bash)",
    _completion,
    (
        argument(
            "shell", choices=_SHELLS, help="bash and zsh: source it; fish: pipe it to `source`"
        ),
    ),
)
