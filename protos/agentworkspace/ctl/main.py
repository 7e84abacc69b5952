"""`workspacectl`: reads the command line, runs one command, and says how it went."""

from __future__ import annotations

import argparse
import io
import os
import sys
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NoReturn

import grpc
from google.protobuf.message import Message
from typing_extensions import override

from agentworkspace.core.installation import version_of
from agentworkspace.core.secret import Secret
from agentworkspace.core.token_format import is_well_formed
from agentworkspace.ctl import failures
from agentworkspace.ctl.arguments import seconds
from agentworkspace.ctl.command import Answer, Argument, Command, ExitCode, argument
from agentworkspace.ctl.commands import (
    audit,
    billing,
    catalogue,
    health,
    platform_credentials,
    provisions,
    registrations,
    secret_store,
    tokens,
    workspaces,
)
from agentworkspace.ctl.connection import session_from
from agentworkspace.ctl.files import NotKept, Unusable
from agentworkspace.ctl.output import as_json, as_text, document, printable
from agentworkspace.rpc.redaction import scrub_text

DESCRIPTION: Final = """The operator's tool for the registry and the provision service.

exit codes: 0 done
            1 the service refused, or its answer is no
            2 the command line, or a file that it names, is not usable
            3 nobody answered"""

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
)
SINGLE: Final = (provisions.LAUNCH, health.HEALTH)

CONNECTION: Final[tuple[Argument, ...]] = (
    argument("--registry", metavar="HOST:PORT", help="default: REGISTRY_ADDRESS, 127.0.0.1:7101"),
    argument("--provision", metavar="HOST:PORT", help="default: PROVISION_ADDRESS, 127.0.0.1:7102"),
    argument(
        "--token-file",
        type=Path,
        metavar="FILE",
        help="your credential; default: WORKSPACECTL_TOKEN_FILE",
    ),
    argument("--ca", type=Path, metavar="FILE", help="speak TLS; trust this CA (PEM)"),
    argument("--cert", dest="tls_cert", type=Path, metavar="FILE", help="client certificate (PEM)"),
    argument("--key", dest="tls_key", type=Path, metavar="FILE", help="its key (PEM)"),
    argument("--tls-server-name", metavar="NAME", help="name that the certificate must be for"),
    argument(
        "--plaintext",
        action="store_true",
        default=False,
        help="no TLS, also off this machine; the default on loopback only",
    ),
    argument("--timeout", type=seconds, default=30.0, metavar="SECONDS", help="for each call (30)"),
    argument("--json", action="store_true", default=False, help="answer with one JSON document"),
)


class Parser(argparse.ArgumentParser):
    """Repeats nothing that could be a secret put where none belongs."""

    @override
    def error(self, message: str) -> NoReturn:
        what, stray, words = message.partition("unrecognized arguments: ")
        if stray:
            options = [word.partition("=")[0] for word in words.split() if word.startswith("-")]
            message = what + stray + (", ".join(options) or "there are too many of them")
        self.print_usage(sys.stderr)
        self.exit(ExitCode.USAGE, f"{self.prog}: {printable(scrub_text(message))}\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A terminal of another alphabet shows escapes instead of a traceback.
            stream.reconfigure(errors="backslashreplace")
    try:
        _refuse_unfit(words)
        args = build_parser().parse_args(words)
    except SystemExit as stopped:
        return int(stopped.code or 0)
    except Unusable as error:
        return _complain(str(error))
    return _run(args)


def build_parser() -> argparse.ArgumentParser:
    """Every group and command with its arguments; options of the connection go anywhere."""
    parser = Parser(
        prog="workspacectl",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=version_of("workspacectl"))
    for option in CONNECTION:
        option.add_to(parser)
    nouns = parser.add_subparsers(metavar="COMMAND", required=True)
    for group in GROUPS:
        noun = nouns.add_parser(group.name, help=group.help, allow_abbrev=False)
        verbs = noun.add_subparsers(metavar="VERB", required=True)
        for command in group.commands:
            _add(verbs, command)
    for command in SINGLE:
        _add(nouns, command)
    return parser


def _add(verbs: argparse._SubParsersAction[Parser], command: Command) -> None:
    leaf = verbs.add_parser(
        command.name, help=command.help, description=command.help, allow_abbrev=False
    )
    leaf.set_defaults(run=command.run)
    for each in command.arguments:
        each.add_to(leaf)
    shared = leaf.add_argument_group("connection and output")
    for option in CONNECTION:
        # Suppressed: here it must not undo what was said in front of the command.
        option.add_to(shared, default=argparse.SUPPRESS)


def _run(args: argparse.Namespace) -> int:
    if getattr(args, "request_id", "") is None:
        args.request_id = str(uuid.uuid4())
    request_id: str | None = getattr(args, "request_id", None)
    try:
        session = session_from(args)
        try:
            answer: Answer = args.run(args, session)
        except grpc.RpcError as error:
            failure = failures.failure_of(error, session.correlation_id)
            print(failures.told(failure, request_id=request_id, json=args.json), file=sys.stderr)
            return failures.exit_code(failure)
        finally:
            session.close()
        _show(answer, json=args.json)
    except NotKept as error:
        return _complain(f"{error}; it is handed out again to --request-id {request_id}")
    except Unusable as error:
        return _complain(str(error))
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has gone; Python must not complain of it once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _complain("standard output was closed")
    return answer.exit_code


def _show(answer: Answer, *, json: bool) -> None:
    if json:
        found = answer.document
        if isinstance(found, Message):
            found = document(found, revealed=answer.revealed)
        print(as_json(found))
    else:
        print(as_text(answer.view))
    sys.stdout.flush()
    for note in answer.notes:
        print(f"note: {printable(note)}", file=sys.stderr)


def _refuse_unfit(words: Sequence[str]) -> None:
    """Arguments are for everyone on the machine to see, so that a secret in one is lost."""
    for word in words:
        if is_well_formed(Secret(word)) or is_well_formed(Secret(word.partition("=")[2])):
            raise Unusable("a token on the command line is seen by everyone: revoke it; use a file")
        if any("\udc80" <= c <= "\udcff" for c in word):
            raise Unusable("the command line is not UTF-8 text")


def _complain(what: str) -> int:
    print(f"workspacectl: {printable(what)}", file=sys.stderr)
    return ExitCode.USAGE
