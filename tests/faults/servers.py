"""PostgreSQL servers that a test may kill, copy and promote."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from agentworkspace.service import embedded_postgres
from tests.postgres import FASTER_BECAUSE_THROWN_AWAY, superuser

_GONE_SECONDS: Final = 30.0
_ROOT: Final = Path(__file__).resolve().parents[2]
_SOCKET_LOCK: Final = ".s.PGSQL.5432.lock"


class Server:
    """One server of the wheel, in a directory of its own; it listens on a UNIX socket only."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._cluster = embedded_postgres._Cluster(directory)
        self.sockets = self._cluster.sockets

    def start(self) -> None:
        """By a process of its own: for root's server one forks, and gRPC's calls under way here
        would sometimes be the end of that child.
        """
        command = (sys.executable, "-m", "tests.faults.servers", str(self.directory))
        subprocess.run(command, cwd=_ROOT, stdin=subprocess.DEVNULL, check=True)

    def stop(self) -> None:
        self._cluster.stop()

    def kill(self) -> None:
        """`kill -9` of all its processes, and wait until they are gone."""
        parent = int((self._cluster.data / "postmaster.pid").read_text().splitlines()[0])
        # The parent first: it would start its helpers again.
        victims = [parent, *_children_of(parent)]
        for pid in victims:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        give_up = time.monotonic() + _GONE_SECONDS
        while any(map(_lives, victims)):
            assert time.monotonic() < give_up, "PostgreSQL does not die"
            time.sleep(0.01)
        # A dead process that nobody buries still counts as running for the next start.
        (self._cluster.data / "postmaster.pid").unlink()
        (self.sockets / _SOCKET_LOCK).unlink()

    def sql(self, statement: str, *, database: str = "postgres") -> list[Any]:
        """Its rows; in a transaction of its own."""
        with superuser(self.sockets, database) as cursor:
            cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def url(self, database: str) -> str:
        user = embedded_postgres.SUPERUSER
        return f"postgresql://{user}@/{database}?host={self.sockets}"

    def backed_up(self, database: str) -> Path:
        """A backup of it as it is now, while whoever likes goes on writing."""
        dump = self.sockets / f"{database}.dump"
        self._cluster._run("pg_dump", "--format=custom", f"--file={dump}", *self._of(database))
        return dump

    def restore(self, database: str, dump: Path) -> None:
        """The database is what it was when the backup was made."""
        self.sql(f"DROP DATABASE {database} WITH (FORCE)")
        self.sql(f"CREATE DATABASE {database}")
        self._cluster._run("pg_restore", "--exit-on-error", *self._of(database), str(dump))

    def _of(self, database: str) -> tuple[str, ...]:
        user = embedded_postgres.SUPERUSER
        return (f"--host={self.sockets}", f"--username={user}", f"--dbname={database}")

    def copied_to(self, directory: Path) -> Server:
        """A standby that follows this one, not started yet."""
        copy = Server(directory)
        copy._cluster._private_directory(copy._cluster.data)
        whole = ("--checkpoint=fast", "--wal-method=stream", "--write-recovery-conf", "--no-sync")
        source = ("--host", str(self.sockets), "--username", embedded_postgres.SUPERUSER)
        copy._cluster._run("pg_basebackup", "--pgdata", str(copy._cluster.data), *source, *whole)
        (copy._cluster.data / _SOCKET_LOCK).unlink(missing_ok=True)
        return copy

    def follow_synchronously(self) -> None:
        """From now on a commit waits until the standby has it, too."""
        self.sql("ALTER SYSTEM SET synchronous_standby_names = '*'")
        self.sql("SELECT pg_reload_conf()")
        while not self.sql("SELECT 1 FROM pg_stat_replication WHERE sync_state = 'sync'"):
            time.sleep(0.02)

    def promote(self) -> None:
        assert self.sql("SELECT pg_promote(true, 30)") == [(True,)]


@contextmanager
def reachable_directory() -> Iterator[Path]:
    """One into which PostgreSQL gets, whoever runs it for us."""
    directory = Path(tempfile.mkdtemp(prefix="agentworkspace-faults-"))
    directory.chmod(0o711)
    try:
        yield directory
    finally:
        shutil.rmtree(directory)


@contextmanager
def started(server: Server) -> Iterator[Server]:
    """Up until the block ends, unless it is dead by then."""
    server.start()
    try:
        yield server
    finally:
        server.stop()


def _children_of(parent: int) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with suppress(OSError):
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                if int(fields[1]) == parent:
                    found.append(int(entry.name))
    return found


def _lives(pid: int) -> bool:
    try:
        return (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


if __name__ == "__main__":
    embedded_postgres._Cluster(Path(sys.argv[1])).ensure_started(FASTER_BECAUSE_THROWN_AWAY)
