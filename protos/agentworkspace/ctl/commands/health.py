"""`health`: whether both services, and every part of them, take calls."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Final

import grpc

from agentworkspace.ctl.command import Answer, Command, ExitCode, argument
from agentworkspace.ctl.connection import Session
from agentworkspace.ctl.failures import exit_code, failure_of
from agentworkspace.ctl.identity import PARTS, health_of
from agentworkspace.ctl.output import Grid
from agentworkspace.rpc.errors import NONE_SERVES

_SERVING: Final = "SERVING"
_NOT_SERVING: Final = "NOT_SERVING"
_UNREACHABLE: Final = "UNREACHABLE"


def _health(args: argparse.Namespace, session: Session) -> Answer:
    found = [
        each for which in PARTS if args.service in (None, which) for each in _of(which, session)
    ]
    rows = tuple(
        (which, address, part or "(all)", status) for which, address, part, status in found
    )
    statuses = {status for *_, status in found}
    if _UNREACHABLE in statuses:
        code = ExitCode.UNREACHABLE
    else:
        code = ExitCode.DONE if statuses == {_SERVING} else ExitCode.REFUSED
    keys = ("service", "address", "part", "status")
    return Answer(
        document={"health": [dict(zip(keys, row, strict=True)) for row in found]},
        view=(Grid("", ("SERVICE", "ADDRESS", "PART", "STATUS"), rows),),
        names=tuple(part or which for which, _, part, _ in found),
        notes=() if code is ExitCode.DONE else ("`workspacectl doctor` looks why",),
        exit_code=code,
    )


def _of(which: str, session: Session) -> Iterator[tuple[str, str, str, str]]:
    """A row for the whole and, once it has answered, one for each of its parts."""
    for part in ("", *PARTS[which]):
        status = _status(session, which, part)
        yield which, session.addresses[which], part, status
        if status == _UNREACHABLE:
            return


def _status(session: Session, which: str, part: str) -> str:
    try:
        return health_of(session, which, part)
    except grpc.RpcError as error:
        failure = failure_of(error, session)
        if failure.message == NONE_SERVES:
            return _NOT_SERVING
        unreachable = exit_code(failure) == ExitCode.UNREACHABLE
        return _UNREACHABLE if unreachable else failure.code.name


HEALTH = Command(
    "health",
    "whether the services take calls",
    _health,
    (argument("service", nargs="?", choices=tuple(PARTS), help="only this one"),),
)
