"""The command line: serve, migrate, check-config, check-migrations.

Exit status 0: done; 1: the database or the network refused; 2: wrong usage or configuration.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final, NoReturn

from alembic.util import CommandError
from sqlalchemy.exc import SQLAlchemyError

from agentworkspace.core.installation import version_of
from agentworkspace.core.secret import Secret
from agentworkspace.server import logs
from agentworkspace.server.credentials import CredentialsFile, CredentialsInvalid
from agentworkspace.server.listening import ListenRefused
from agentworkspace.server.server import run
from agentworkspace.server.supervision import CANNOT_SERVE, Supervisor, reserved
from agentworkspace.service.embedded_postgres import EmbeddedPostgresError
from registry_service import config
from registry_service.config import BadSettings, Settings
from registry_service.server import serve
from registry_service.storage import migrate
from registry_service.storage.embedded import running as running_embedded

FAILED: Final = 1
MISCONFIGURED: Final = CANNOT_SERVE


def main(arguments: Sequence[str] | None = None) -> int:
    chosen = _parser().parse_args(arguments)
    command: Callable[[argparse.Namespace], int] = chosen.command
    try:
        return command(chosen)
    except BadSettings as wrong:
        for problem in wrong.problems:
            _say(problem)
        return MISCONFIGURED
    except (CredentialsInvalid, ListenRefused) as wrong:
        _say(str(wrong))
        return MISCONFIGURED
    except (EmbeddedPostgresError, CommandError, OSError) as failure:
        _say(str(failure))
        return FAILED
    except SQLAlchemyError as failure:
        _say(f"the database refused: {_first_line(failure)}")
        return FAILED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="registry-service", description="Identity of agent workspaces, over gRPC."
    )
    parser.add_argument("--version", action="version", version=version_of("registry-service"))
    commands = parser.add_subparsers(required=True, metavar="command")

    def add(name: str, command: Callable[[argparse.Namespace], int], text: str) -> _Parser:
        added = commands.add_parser(name, help=text, description=text)
        added.set_defaults(command=command)
        return added

    serving = add("serve", _serve, "serve until SIGTERM")
    serving.add_argument("--processes", type=_processes, help="default: REGISTRY_PROCESSES, or 1")
    migrating = add("migrate", _migrate, "bring the schema of the database up to date")
    checking = add("check-migrations", _check_migrations, "compare the schema with the models")
    for each in (serving, migrating, checking):
        each.add_argument(
            "--embedded",
            action="store_true",
            help="start a PostgreSQL of its own below WORKSPACE_SERVICES_HOME",
        )
    add("check-config", _check_config, "list every setting, and what is wrong with it")
    return parser


_Parser = argparse.ArgumentParser


def _serve(chosen: argparse.Namespace) -> int:
    settings = config.load(os.environ)
    config.require_for_serving(settings, embedded=chosen.embedded)
    logs.configure(as_json=settings.log_format == "json", level=settings.log_level)
    _end_on_sigterm()
    with _database(settings, embedded=chosen.embedded) as url:
        if chosen.embedded:
            migrate.upgrade(url.reveal())
        processes: int = chosen.processes or settings.processes
        if processes == 1:
            run(serve(settings, url))
            # The loop took its handlers along; what is left is to close the database in peace.
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            return 0
        with reserved(settings.listen) as listen:
            return Supervisor(
                "registry", lambda index: _serve_one(settings, url, listen, index), processes
            ).run()


def _serve_one(settings: Settings, url: Secret, listen: str, index: int) -> int:
    """One of several processes; what it says on the way out is its own last word."""
    try:
        run(serve(settings, url, listen=listen, reuse_port=True, process=index))
    except (CredentialsInvalid, ListenRefused, OSError) as wrong:
        _say(str(wrong))
        return MISCONFIGURED
    return 0


def _migrate(chosen: argparse.Namespace) -> int:
    with _database(config.load(os.environ), embedded=chosen.embedded) as url:
        migrate.upgrade(url.reveal())
    print("the schema is up to date")
    return 0


def _check_migrations(chosen: argparse.Namespace) -> int:
    with _database(config.load(os.environ), embedded=chosen.embedded) as url:
        migrate.check(url.reveal())
    print("the migrations and the models agree")
    return 0


def _check_config(_chosen: argparse.Namespace) -> int:
    for row in config.shown(os.environ):
        default = f" (default {row.default})" if row.default else ""
        print(f"{row.name}={row.value}\n    {row.meaning}{default}")
    settings = config.load(os.environ)
    if settings.credentials_file is not None:
        CredentialsFile(settings.credentials_file)
    try:
        config.require_for_serving(settings, embedded=False)
    except BadSettings as missing:
        print("\nserve would not start as it is:")
        for problem in missing.problems:
            print(f"    {problem}")
    return 0


@contextmanager
def _database(settings: Settings, *, embedded: bool) -> Iterator[Secret]:
    """The database to use. A URL that is set counts before the embedded one."""
    if settings.database_url is not None:
        yield settings.database_url
    elif embedded:
        with running_embedded(settings.home) as url:
            yield Secret(url)
    else:
        raise BadSettings(["REGISTRY_DATABASE_URL must be set, or use --embedded"])


def _processes(text: str) -> int:
    if not (text.isascii() and text.isdecimal()) or not 1 <= int(text) <= config.MOST_PROCESSES:
        raise argparse.ArgumentTypeError(f"must be 1 to {config.MOST_PROCESSES}")
    return int(text)


def _end_on_sigterm() -> None:
    """SIGTERM unwinds before the loop handles it, too: no embedded server must stay behind."""

    def end(_number: int, _frame: object) -> NoReturn:
        sys.exit(0)

    signal.signal(signal.SIGTERM, end)


def _first_line(failure: SQLAlchemyError) -> str:
    """Not the statement, and never the URL."""
    original = getattr(failure, "orig", None)
    lines = str(original or type(failure).__name__).strip().splitlines()
    return lines[0] if lines else type(failure).__name__


def _say(text: str) -> None:
    print(f"registry-service: {text}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
