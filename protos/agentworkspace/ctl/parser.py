"""The command line as argparse reads it, with messages that say what to do instead."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Final, NoReturn

import grpc
from argcomplete.completers import FilesCompleter
from typing_extensions import override

from agentworkspace.core.installation import version_of
from agentworkspace.ctl.arguments import seconds
from agentworkspace.ctl.command import YES, Argument, Command, Completer, ExitCode, Group, argument
from agentworkspace.ctl.connection import session_from
from agentworkspace.ctl.contexts import read_contexts
from agentworkspace.ctl.files import Unusable
from agentworkspace.ctl.output import printable
from agentworkspace.ctl.printing import FORMATS
from agentworkspace.ctl.spelling import meant, wrong_word
from agentworkspace.rpc.redaction import scrub_text

DESCRIPTION: Final = """The operator's tool for the registry and the provision service.

A workspace is given by its name, its id, or the first characters of it. `workspacectl doctor`
looks for what is wrong; `workspacectl explain REASON` says what a refusal means.

exit codes: 0 done
            1 the service refused, or its answer is no
            2 the command line, or a file that it names, is not usable; or nobody said yes
            3 `catalogue diff`: somebody else would pay; `secrets audit-shared`: a shared value
            4 nobody answered
            130 Ctrl-C"""
# Only such words are repeated: others that begin with a hyphen may be a private key in PEM.
_OPTION: Final = re.compile(r"-[a-z]|--[a-z][a-z0-9-]{0,30}", re.ASCII)
_COMPLETION_SECONDS: Final = 2.0

CONNECTION: Final[tuple[Argument, ...]] = (
    argument("--context", metavar="NAME", help="which installation; see `workspacectl context`"),
    argument("--registry", metavar="HOST:PORT", help="default: the context's, 127.0.0.1:7101"),
    argument("--provision", metavar="HOST:PORT", help="default: the context's, 127.0.0.1:7102"),
    argument(
        "--token-file",
        type=Path,
        metavar="FILE",
        help="your credential; default: the context's, WORKSPACECTL_TOKEN_FILE",
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
    argument(
        "-o", "--output", choices=FORMATS, default="table", help="how to answer; default: table"
    ),
    argument(
        "--json", dest="output", action="store_const", const="json", help="the same as -o json"
    ),
)


class Parser(argparse.ArgumentParser):
    """A parser whose messages never repeat a secret that was typed in the wrong place."""

    command: Command | None = None

    @override
    def error(self, message: str) -> NoReturn:
        said = printable(scrub_text(message))
        self.exit(ExitCode.USAGE, f"{self.prog}: {said}\n{self.prog} --help shows all of it\n")

    @override
    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """As argparse does it, but suggesting the word that was meant."""
        if action.choices is None or value in action.choices:
            return
        known = [str(each) for each in action.choices]
        raise argparse.ArgumentError(action, wrong_word(str(value), known))

    def stray(self, words: Sequence[str]) -> NoReturn:
        """Refuse words that no argument takes. Only options are repeated: others may be secrets."""
        begun = (word.partition("=")[0] for word in words)
        options = [each for each in begun if _OPTION.fullmatch(each)]
        known = [name for action in self._actions for name in action.option_strings]
        if options:
            self.error("; ".join(f"there is no {each}{meant(each, known)}" for each in options))
        if self.command is not None and self.command.secret:
            self.error(
                f"the {self.command.secret} is read from standard input or --value-file, never from"
                " the command line, where every user of this machine sees it: treat this one as"
                " leaked"
            )
        takes = [a.metavar or a.dest for a in self._actions if not a.option_strings]
        wanted = f"only {' '.join(map(str, takes))}" if takes else "options only"
        self.error(f"{len(words)} too many: it takes {wanted}")


def build_parser(groups: Iterable[Group], single: Iterable[Command]) -> Parser:
    """The parser of all groups and commands.

    The options of the connection may stand before the command or after it.
    """
    parser = Parser(
        prog="workspacectl",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=version_of("workspacectl"))
    for option in CONNECTION:
        _complete(option.add_to(parser), option)
    nouns = parser.add_subparsers(metavar="COMMAND", required=True)
    for group in groups:
        noun = nouns.add_parser(group.name, help=group.help, allow_abbrev=False)
        verbs = noun.add_subparsers(metavar="VERB", required=True)
        for command in group.commands:
            _add(verbs, command)
    for command in single:
        _add(nouns, command)
    return parser


def _add(verbs: argparse._SubParsersAction[Parser], command: Command) -> None:
    leaf = verbs.add_parser(
        command.name, help=command.help, description=command.help, allow_abbrev=False
    )
    leaf.command = command
    leaf.set_defaults(leaf=leaf)
    for each in (*command.arguments, *((YES,) if command.ends else ())):
        _complete(each.add_to(leaf), each)
    shared = leaf.add_argument_group("connection and output")
    for option in CONNECTION:
        # No default here: it would overwrite the same option given before the command.
        _complete(option.add_to(shared, default=argparse.SUPPRESS), option)


def _complete(action: argparse.Action, argument: Argument) -> None:
    """Tell argcomplete what to offer as the value of this argument."""
    if argument.complete is not None:
        _set_completer(action, _asking(argument.complete))
    elif argument.dest == "context":
        _set_completer(action, _contexts)
    elif argument.options.get("type") is Path:
        _set_completer(action, FilesCompleter())


def _set_completer(action: argparse.Action, completer: Callable[..., Iterable[str]]) -> None:
    action.completer = completer  # type: ignore[attr-defined]  # where argcomplete looks for it


def _contexts(**_: object) -> Iterable[str]:
    try:
        return read_contexts(os.environ).by_name
    except Unusable:
        return ()


def _asking(complete: Completer) -> Callable[..., Iterable[str]]:
    """The completer for argcomplete: a shell waits for it, so it gives up early and in silence."""

    def offered(prefix: str, parsed_args: argparse.Namespace, **_: object) -> Iterable[str]:
        parsed_args.timeout = _COMPLETION_SECONDS
        try:
            session = session_from(parsed_args)
            try:
                return list(complete(session, prefix, parsed_args))
            finally:
                session.close()
        except (Unusable, grpc.RpcError):
            return ()

    return offered
