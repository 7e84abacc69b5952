"""`workspacectl`: reads the command line, runs one command, and says how it went."""

from __future__ import annotations

import argparse
import io
import os
import sys
import uuid
from collections.abc import Sequence
from typing import Final

import argcomplete
import grpc

from agentworkspace.core.secret import Secret
from agentworkspace.core.token_format import is_well_formed
from agentworkspace.ctl import failures, printing
from agentworkspace.ctl.command import Answer, Command, ExitCode
from agentworkspace.ctl.commands import (
    audit,
    billing,
    catalogue,
    completion,
    contexts,
    doctor,
    explain,
    health,
    platform_credentials,
    provisions,
    registrations,
    secret_store,
    tokens,
    watch,
    whoami,
    workspaces,
)
from agentworkspace.ctl.connection import Session, no_session, session_from
from agentworkspace.ctl.files import NotKept, Unusable
from agentworkspace.ctl.output import printable
from agentworkspace.ctl.parser import build_parser

GROUPS: Final = (
    workspaces.GROUP,
    provisions.GROUP,
    billing.GROUP,
    secret_store.GROUP,
    platform_credentials.GROUP,
    catalogue.GROUP,
    tokens.GROUP,
    registrations.GROUP,
    audit.GROUP,
    watch.GROUP,
    contexts.GROUP,
)
SINGLE: Final = (
    provisions.LAUNCH,
    health.HEALTH,
    doctor.DOCTOR,
    whoami.WHOAMI,
    explain.EXPLAIN,
    completion.COMPLETION,
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    # A stream is None when the program was started with it closed.
    sys.stdin = sys.stdin or io.TextIOWrapper(io.BytesIO())
    sys.stderr = sys.stderr or io.StringIO()
    if sys.stdout is None:
        return _complain("standard output is closed; nothing was done: say >/dev/null")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # What the terminal's encoding lacks is shown as an escape instead of raising.
            stream.reconfigure(errors="backslashreplace")
    parser = build_parser(GROUPS, SINGLE)
    # When a shell asks for completions, this answers and does not return.
    argcomplete.autocomplete(parser, validator=lambda _found, _typed: True)
    try:
        _refuse_unfit(words)
        args, stray = parser.parse_known_args(words)
        if stray:
            args.leaf.stray(stray)
    except SystemExit as stopped:
        return int(stopped.code or 0)
    except Unusable as error:
        return _complain(str(error))
    return _run(args)


def _run(args: argparse.Namespace) -> int:
    command: Command = args.leaf.command
    if getattr(args, "request_id", "") is None:
        args.request_id = str(uuid.uuid4())
    request_id: str | None = getattr(args, "request_id", None)
    try:
        session = no_session() if command.local else session_from(args)
        try:
            answer = _answer(command, args, session)
            _show(answer, args.output)
        except grpc.RpcError as error:
            failure = failures.failure_of(error, session)
            told = failures.told(failure, session, request_id=request_id, form=args.output)
            print(told, file=sys.stderr)
            return failures.exit_code(failure)
        finally:
            session.close()
    except NotKept as error:
        return _complain(f"{error}; the same command with --request-id {request_id} gets it again")
    except Unusable as error:
        return _complain(str(error))
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        _forget_output()
        return _complain("standard output was closed")
    return answer.exit_code


def _show(answer: Answer, form: str) -> None:
    """Unusable when standard output cannot be written; BrokenPipeError when its reader has gone."""
    try:
        printing.show(answer, form)
    except BrokenPipeError:
        raise
    except OSError as error:
        _forget_output()
        raise Unusable(
            f"standard output cannot be written: {error.strerror}; the command itself was carried"
            " out, and what it would have shown is lost"
        ) from error


def _forget_output() -> None:
    """Drop what is still buffered, so that Python does not complain again when it exits."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _answer(command: Command, args: argparse.Namespace, session: Session) -> Answer:
    if command.check is not None:
        command.check(args)
    for each in command.arguments:
        word = getattr(args, each.dest, None)
        if each.find is not None and word:
            setattr(args, each.dest, each.find(session, word, args))
    if command.ends is not None and not args.yes and (what := command.ends(args, session)):
        _confirm(what)
    return command.run(args, session)


def _confirm(what: str) -> None:
    """Unusable unless somebody at a terminal says yes."""
    print(printable(what), file=sys.stderr)
    if not sys.stdin.isatty():
        raise Unusable("nothing was done, and nobody is there to ask: say --yes when it is meant")
    print("Go on? [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise Unusable("nothing was done")


def _refuse_unfit(words: Sequence[str]) -> None:
    """Unusable for a token among the arguments, which every user of the machine can see."""
    for word in words:
        if is_well_formed(Secret(word)) or is_well_formed(Secret(word.partition("=")[2])):
            raise Unusable("a token on the command line is seen by everyone: revoke it; use a file")
        if any("\udc80" <= c <= "\udcff" for c in word):
            raise Unusable("the command line is not UTF-8 text")


def _complain(what: str) -> int:
    lines = [printable(line) for line in what.splitlines()]
    print("workspacectl: " + "\n".join(lines), file=sys.stderr)
    return ExitCode.USAGE
