"""The command line: serve, migrate, check-migrations, check-config, rekey.

Exit status 0: done; 1: the database or the network refused; 2: wrong usage or configuration.
"""

from __future__ import annotations

import argparse
import os
import secrets
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final, NoReturn

from alembic.util import CommandError
from sqlalchemy.exc import SQLAlchemyError

from agentworkspace.core.installation import version_of
from agentworkspace.core.refusal import Refusal
from agentworkspace.core.secret import Secret
from agentworkspace.server import logs
from agentworkspace.server.credentials import CredentialsFile, CredentialsInvalid
from agentworkspace.server.listening import ListenRefused
from agentworkspace.server.server import run
from agentworkspace.server.supervision import CANNOT_SERVE, Supervisor, reserved
from agentworkspace.service.embedded_postgres import EmbeddedPostgresError
from provision_service import config
from provision_service.catalogue.catalogue import Catalogue
from provision_service.catalogue.usage import removed_ids
from provision_service.clients.token_file import TokenFile, TokenFileInvalid
from provision_service.config import BadSettings, Settings
from provision_service.server import serve
from provision_service.storage import catalogue_use, migrate
from provision_service.storage.embedded import running as running_embedded
from provision_service.storage.engine import BadDatabaseUrl, build_engine
from provision_service.storage.faults import guarded
from provision_service.storage.keyring import BadKeys, KeysFile
from provision_service.storage.opening import WrongKey, open_store
from provision_service.wiring import keys_file
from provision_service.workers import rekey
from provision_service.workers.files import FileRefused, load
from provision_service.workers.rekey import Rekey

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
    except _WRONG_CONFIGURATION as wrong:
        _say(str(wrong))
        return MISCONFIGURED
    except (EmbeddedPostgresError, CommandError, OSError, Refusal) as failure:
        _say(str(failure))
        return FAILED
    except SQLAlchemyError as failure:
        _say(f"the database refused: {_first_line(failure)}")
        return FAILED


_WRONG_CONFIGURATION: Final = (
    BadDatabaseUrl,
    BadKeys,
    CredentialsInvalid,
    FileRefused,
    ListenRefused,
    TokenFileInvalid,
    WrongKey,
)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="provision-service", description="The launch of agent workspaces, over gRPC."
    )
    parser.add_argument("--version", action="version", version=version_of("provision-service"))
    commands = parser.add_subparsers(required=True, metavar="command")

    def add(name: str, command: Callable[[argparse.Namespace], int], text: str) -> _Parser:
        added = commands.add_parser(name, help=text, description=text)
        added.set_defaults(command=command)
        return added

    serving = add("serve", _serve, "serve until SIGTERM")
    serving.add_argument("--processes", type=_processes, help="default: PROVISION_PROCESSES, or 1")
    migrating = add("migrate", _migrate, "bring the schema of the database up to date")
    checking = add("check-migrations", _check_migrations, "compare the schema with the models")
    rekeying = add("rekey", _rekey, "encrypt every secret under the current key; resumable")
    for each in (serving, migrating, checking, rekeying):
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
                "provision", lambda index: _serve_one(settings, url, listen, index), processes
            ).run()


def _serve_one(settings: Settings, url: Secret, listen: str, index: int) -> int:
    """One of several processes; what it says on the way out is its own last word."""
    try:
        run(serve(settings, url, listen=listen, reuse_port=True, process=index))
    except (*_WRONG_CONFIGURATION, OSError) as wrong:
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
        differences = migrate.check(url.reveal())
    for difference in differences:
        _say(difference)
    if differences:
        return FAILED
    print("the migrations and the models agree")
    return 0


def _rekey(chosen: argparse.Namespace) -> int:
    """Batch by batch, each committed: to stop it and to start it again loses nothing."""
    settings = config.load(os.environ)
    if settings.secrets_keys_file is None:
        raise BadSettings(["PROVISION_SECRETS_KEYS_FILE must be set"])
    keys = keys_file(settings)
    with _database(settings, embedded=chosen.embedded) as url:
        return _rekey_all(url, keys)


def _rekey_all(url: Secret, keys: KeysFile) -> int:
    engine = build_engine(url.reveal(), pool_size=1)
    try:
        store = open_store(engine, keys.current, secrets.token_bytes)
        done = 0
        while True:
            result = guarded(lambda: rekey.run(store, Rekey()))
            done += result.rewritten
            print(f"{done} under {result.key_id}, {result.remaining} to go", flush=True)
            if not result.rewritten:
                break
    finally:
        engine.dispose()
    if result.remaining:
        _say(f"{result.undecryptable} of {result.remaining} rows open with no key of the file")
        return FAILED
    return 0


def _check_config(_chosen: argparse.Namespace) -> int:
    for row in config.shown(os.environ):
        default = f" (default {row.default})" if row.default else ""
        print(f"{row.name}={row.value}\n    {row.meaning}{default}")
    settings = config.load(os.environ)
    loaded = load(settings.catalogue_file, settings.templates_file)
    print(f"\ncatalogue {loaded.catalogue.version}, {len(loaded.templates)} templates")
    if settings.credentials_file is not None:
        CredentialsFile(settings.credentials_file)
    if settings.secrets_keys_file is not None:
        keys_file(settings)
    if settings.registry_token_file is not None:
        TokenFile(settings.registry_token_file)
    try:
        config.require_for_serving(settings, embedded=False)
    except BadSettings as missing:
        print("\nserve would not start as it is:")
        for problem in missing.problems:
            print(f"    {problem}")
    if settings.database_url is None:
        return 0
    return _check_use(settings.database_url, loaded.catalogue)


def _check_use(url: Secret, catalogue: Catalogue) -> int:
    """Whether the catalogue still serves what the stored workspaces use."""
    engine = build_engine(url.reveal(), pool_size=1)
    try:
        with engine.connect() as connection:
            used = catalogue_use.used_models(connection)
    finally:
        engine.dispose()
    removed = removed_ids(None, catalogue, used)
    for each in removed:
        _say(f"stored workspaces need it: {each.what}; {each.remedy}")
    return MISCONFIGURED if removed else 0


@contextmanager
def _database(settings: Settings, *, embedded: bool) -> Iterator[Secret]:
    """The database to use. A URL that is set counts before the embedded one."""
    if settings.database_url is not None:
        yield settings.database_url
    elif embedded:
        with running_embedded(settings.home) as url:
            yield Secret(url)
    else:
        raise BadSettings(["PROVISION_DATABASE_URL must be set, or use --embedded"])


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
    print(f"provision-service: {text}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
