"""Hands a fresh token to whoever asked for it: into a file, or on screen this once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from agentworkspace.ctl.command import ExitCode
from agentworkspace.ctl.files import PrivateFile
from agentworkspace.ctl.output import Grid


@contextmanager
def keeping(path: Path | None) -> Iterator[PrivateFile | None]:
    """The file for the secret, opened before the call is made. Unusable when it cannot be."""
    if path is None:
        yield None
        return
    with PrivateFile(path) as file:
        yield file


@dataclass(frozen=True, slots=True)
class Delivery:
    """How the secret reached its owner, in the terms of an Answer."""

    view: tuple[Grid, ...]
    notes: tuple[str, ...]
    revealed: frozenset[str]
    exit_code: ExitCode


def deliver(secret: str, *, field: str, out: PrivateFile | None, why_not: str) -> Delivery:
    """`field` is the secret's name in the answer; `why_not` is shown when there is no secret.

    Without a secret, a file that was asked for is not written, and the exit code is REFUSED:
    whoever reads the file would find an old token. Raises NotKept.
    """
    if not secret:
        exit_code = ExitCode.DONE if out is None else ExitCode.REFUSED
        return Delivery((), (f"no token in this answer: {why_not}",), frozenset(), exit_code)
    if out is not None:
        out.write(secret + "\n")
        return Delivery((), (f"the token is in {out.path}",), frozenset(), ExitCode.DONE)
    return Delivery(
        (Grid("", (), (("token", secret),)),),
        ("this is the only time that the token is shown; only its hash is kept",),
        frozenset({field}),
        ExitCode.DONE,
    )
