"""The command line of a service: serve, migrate, check-migrations, check-config, health, audit.

Exit status 0: done; 1: the answer is no, or the database or the network failed; 2: wrong usage or
configuration; 3: the audit was changed.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from typing import Final, Generic, NoReturn, Protocol, TypeVar

import structlog
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
from agentworkspace.service import application_role, health_check, migrate
from agentworkspace.service import settings_values as values
from agentworkspace.service.audit import commands as audit_commands
from agentworkspace.service.audit.commands import AuditCommand
from agentworkspace.service.audit.keys import BadAuditKey, read_keys
from agentworkspace.service.audit.tables import AuditLog
from agentworkspace.service.declared_settings import BadSettings, refuse
from agentworkspace.service.embedded_postgres import EmbeddedPostgresError, running_database
from agentworkspace.service.ending import leave
from agentworkspace.service.exporting import exporting, missing
from agentworkspace.service.migrate import Schema
from agentworkspace.service.outcome import FAILED, outcome
from agentworkspace.service.serving import Process, require_protected, serve_until_told
from agentworkspace.service.settings import MOST_PROCESSES, ServiceSettings
from agentworkspace.service.store_faults import StoreFault, described

MISCONFIGURED: Final = CANNOT_SERVE
_WAIT: Final = timedelta(minutes=5)

S = TypeVar("S", bound=ServiceSettings)
S_contra = TypeVar("S_contra", bound=ServiceSettings, contravariant=True)


class Service(Protocol[S_contra]):
    """Makes what serves in one process; called on the running event loop."""

    def __call__(
        self, settings: S_contra, database_url: Secret, *, reuse_port: bool = False
    ) -> Process: ...


def _no_arguments(_parser: argparse.ArgumentParser) -> None:
    """For a command without arguments."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnCommand(Generic[S]):
    """A command that only one service has. `run` takes settings, database URL and arguments, and
    returns the exit status.
    """

    name: str
    help: str
    run: Callable[[S, Secret, argparse.Namespace], int]
    add_arguments: Callable[[argparse.ArgumentParser], None] = _no_arguments


def _nothing_more(_settings: object) -> Iterable[str]:
    return ()


def _nothing_to_tell(_settings: object, _url: Secret) -> Iterable[str]:
    return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandLine(Generic[S]):
    """The command line of a service: the commands that all services have, and its `own`.

    `check` yields what is wrong with the files that the settings name, or raises one of
    `misconfigured`, the service's exceptions that end a command with status 2. `migrated` yields
    what an operator should know after `migrate`.
    """

    name: str
    description: str
    settings: type[S]
    schema: Schema
    audit: AuditLog
    service: Service[S]
    misconfigured: tuple[type[Exception], ...] = ()
    check: Callable[[S], Iterable[str]] = _nothing_more
    migrated: Callable[[S, Secret], Iterable[str]] = _nothing_to_tell
    own: Sequence[OwnCommand[S]] = ()

    def main(self, arguments: Sequence[str] | None = None) -> int:
        """Run the command; a failure is a sentence on standard error, never a traceback."""
        chosen = self._parser().parse_args(arguments)
        return outcome(f"{self.name}-service", lambda: self._status(chosen))

    def _status(self, chosen: argparse.Namespace) -> int:
        command: Callable[[argparse.Namespace], int] = chosen.command
        try:
            return command(chosen)
        except BadSettings as wrong:
            self._say(*wrong.problems)
            return MISCONFIGURED
        except self._misconfigured as wrong:
            self._say(str(wrong))
            return MISCONFIGURED
        except (EmbeddedPostgresError, CommandError, Refusal, StoreFault) as failure:
            self._say(failure.message if isinstance(failure, Refusal) else str(failure))
            return FAILED
        except SQLAlchemyError as failure:
            self._say(f"the database refused: {described(failure)}")
            return FAILED

    @property
    def _misconfigured(self) -> tuple[type[Exception], ...]:
        return (BadAuditKey, CredentialsInvalid, ListenRefused, *self.misconfigured)

    @property
    def _cannot_start(self) -> tuple[type[Exception], ...]:
        return (BadSettings, OSError, *self._misconfigured)

    def _parser(self) -> argparse.ArgumentParser:
        parser = argparse.ArgumentParser(prog=f"{self.name}-service", description=self.description)
        parser.add_argument(
            "--version", action="version", version=version_of(f"{self.name}-service")
        )
        commands = parser.add_subparsers(required=True, metavar="command")

        def add(
            name: str,
            command: Callable[[argparse.Namespace], int],
            text: str,
            *,
            embedded: bool = True,
        ) -> argparse.ArgumentParser:
            added = commands.add_parser(name, help=text, description=text)
            added.set_defaults(command=command)
            if embedded:
                added.add_argument(
                    "--embedded",
                    action="store_true",
                    help="start a PostgreSQL of its own below WORKSPACE_SERVICES_HOME",
                )
            return added

        serving = add("serve", self._serve, "serve until SIGTERM")
        processes = f"default: {self.settings.SERVICE}_PROCESSES, or 1"
        serving.add_argument(
            "--processes", type=values.of_argument(values.whole(1, MOST_PROCESSES)), help=processes
        )
        migrating = add("migrate", self._migrate, "bring the schema of the database up to date")
        migrating.add_argument(
            "--application-role",
            metavar="NAME",
            help="the role that serves: made if there is none, and given what it needs; it may"
            " add to the audit, and not change it",
        )
        checking = add(
            "check-migrations", self._check_migrations, "compare the schema with the models"
        )
        checking.add_argument(
            "--wait",
            type=values.of_argument(values.seconds(0, 86_400)),
            nargs="?",
            const=_WAIT,
            metavar="SECONDS",
            help="wait until `migrate` has run elsewhere, and compare no more than the revision;"
            f" default {_WAIT.total_seconds():.0f}",
        )
        add("check-config", self._check_config, "list every setting, and what is wrong with it")
        asking = add("health", self._health, health_check.MEANING, embedded=False)
        health_check.add_arguments(asking, self.settings.SERVICE)
        audit = add("audit", self._audit, "prove the audit, prune it, or begin a new chain of it")
        audit_commands.add_arguments(audit)
        for own in self.own:
            own.add_arguments(add(own.name, self._command_of(own), own.help))
        return parser

    def _serve(self, chosen: argparse.Namespace) -> int:
        settings = self.settings.load(os.environ)
        settings.require_for_serving(embedded=chosen.embedded)
        refuse(missing(settings))
        logs.configure(as_json=settings.log_format == "json", level=settings.log_level)
        for sentence in self.settings.misspelt(os.environ):
            structlog.get_logger(self.name).warning("a variable is ignored", problem=sentence)
        _end_on_sigterm()
        with self._database(settings, embedded=chosen.embedded) as url:
            status = self._serve_on(settings, url, chosen)
        return leave(status)

    def _serve_on(self, settings: S, url: Secret, chosen: argparse.Namespace) -> int:
        if chosen.embedded:
            migrate.upgrade(self.schema, url, say=self._say)
        processes: int = chosen.processes or settings.processes
        if processes == 1:
            with exporting(settings):
                run(self._until_told(settings, url))
            # The loop's signal handlers are gone; another SIGTERM must not interrupt what is left.
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            return 0
        with ExitStack() as stack:
            settings = replace(settings, listen=stack.enter_context(reserved(settings.listen)))
            if settings.control_listen is not None:
                control = stack.enter_context(reserved(settings.control_listen))
                settings = replace(settings, control_listen=control)

            def work(index: int) -> int:
                return self._serve_one(settings, url, index)

            return Supervisor(self.name, work, processes).run()

    def _serve_one(self, settings: S, url: Secret, index: int) -> int:
        """Serve in one of several processes. It prints its own failure, which no parent catches."""
        try:
            with exporting(settings):
                run(self._until_told(settings, url, reuse_port=True, process=index))
        except self._cannot_start as wrong:
            self._say(str(wrong))
            return MISCONFIGURED
        return 0

    async def _until_told(
        self, settings: S, url: Secret, *, reuse_port: bool = False, process: int = 0
    ) -> None:
        make = partial(self.service, settings, url, reuse_port=reuse_port)
        await serve_until_told(make, settings, process=process)

    def _migrate(self, chosen: argparse.Namespace) -> int:
        settings = self.settings.load(os.environ)
        with self._database(settings, embedded=chosen.embedded) as url:
            migrate.upgrade(self.schema, url, say=self._say)
            print("the schema is up to date", flush=True)
            if chosen.application_role is not None:
                print(application_role.made(url, self.schema.name, chosen.application_role))
            for sentence in self.migrated(settings, url):
                print(sentence, flush=True)
        return 0

    def _check_migrations(self, chosen: argparse.Namespace) -> int:
        with self._database(self.settings.load(os.environ), embedded=chosen.embedded) as url:
            if chosen.wait is not None:
                migrate.wait_until_applied(self.schema, url, patience=chosen.wait, say=self._say)
                print("the migrations that this version needs are applied")
                return 0
            differences = migrate.check(self.schema, url)
        self._say(*differences)
        if differences:
            return FAILED
        print("the migrations and the models agree")
        return 0

    def _check_config(self, chosen: argparse.Namespace) -> int:
        for row in self.settings.shown(os.environ):
            default = f" (default {row.default})" if row.default else ""
            print(f"{row.name}={row.value}\n    {row.meaning}{default}")
        problems = self._problems(embedded=chosen.embedded)
        self._say(*problems)
        return FAILED if problems else 0

    def _problems(self, *, embedded: bool) -> list[str]:
        """Everything that keeps `serve` from starting, and what looks like a mistake."""
        problems = self.settings.misspelt(os.environ)
        try:
            settings = self.settings.load(os.environ)
        except BadSettings as wrong:
            return problems + list(wrong.problems)
        problems += settings.missing(embedded=embedded) + missing(settings)
        try:
            require_protected(settings)
            if settings.credentials_file is not None:
                CredentialsFile(settings.credentials_file)
            read_keys(settings.audit_key_file)
            problems += self.check(settings)
        except BadSettings as wrong:
            problems += wrong.problems
        except self._cannot_start as wrong:
            problems.append(str(wrong))
        return problems

    def _health(self, chosen: argparse.Namespace) -> int:
        return health_check.answer(self.settings.load(os.environ), chosen)

    def _audit(self, chosen: argparse.Namespace) -> int:
        settings = self.settings.load(os.environ)
        with self._database(settings, embedded=chosen.embedded) as url:
            command = AuditCommand(
                name=f"{self.name}-service", log=self.audit, settings=settings, url=url
            )
            return command.run(chosen)

    def _command_of(self, own: OwnCommand[S]) -> Callable[[argparse.Namespace], int]:
        def run_own(chosen: argparse.Namespace) -> int:
            settings = self.settings.load(os.environ)
            with self._database(settings, embedded=chosen.embedded) as url:
                return own.run(settings, url, chosen)

        return run_own

    @contextmanager
    def _database(self, settings: S, *, embedded: bool) -> Iterator[Secret]:
        """The URL of the database to use: the one that is set, else that of an embedded server.

        BadSettings when there is neither.
        """
        if settings.database_url is not None:
            yield settings.database_url
        elif embedded:
            with running_database(settings.home, self.name) as url:
                yield Secret(url)
        else:
            name = f"{settings.SERVICE}_DATABASE_URL"
            raise BadSettings([f"{name} or {name}_FILE must be set, or use --embedded"])

    def _say(self, *sentences: str) -> None:
        for sentence in sentences:
            print(f"{self.name}-service: {sentence}", file=sys.stderr)


def _end_on_sigterm() -> None:
    """Unwind on SIGTERM even before the event loop handles it, so that no embedded server stays."""

    def end(_number: int, _frame: object) -> NoReturn:
        sys.exit(0)

    signal.signal(signal.SIGTERM, end)
