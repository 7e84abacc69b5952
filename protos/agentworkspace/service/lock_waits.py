"""Tells the operator of a migration that hangs which lock it waits for, and who holds it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import SQLAlchemyError

# How often to look; a wait that is over before the first look is not reported.
_LOOK_SECONDS: Final = 1.0
# The statements of the holders are not read, because their literals may be secrets.
_HOLDERS: Final = text(
    """
    SELECT holder.pid,
           coalesce(nullif(holder.application_name, ''), holder.backend_type, 'unnamed') AS name,
           coalesce(holder.state, 'in a state that this role may not see') AS state,
           floor(extract(epoch FROM clock_timestamp() - holder.xact_start))::bigint AS seconds,
           (SELECT min(wanted.relation::regclass::text) FROM pg_locks wanted
             WHERE wanted.pid = :pid AND NOT wanted.granted) AS relation
      FROM pg_stat_activity holder
     WHERE holder.pid = ANY (pg_blocking_pids(:pid))
     ORDER BY holder.pid
    """
)


@dataclass(frozen=True, slots=True)
class Holder:
    """A session that holds the lock for which another one waits, or is before it in the queue."""

    pid: int
    # Its application_name, or else its backend type.
    name: str
    # As in pg_stat_activity, such as `idle in transaction`.
    state: str
    # How long its transaction has lasted; None outside of one.
    seconds: int | None
    # The table that is locked; None: it is the advisory lock by which migrations take turns.
    relation: str | None

    def __str__(self) -> str:
        since = "" if self.seconds is None else f" for {self.seconds} s"
        what = f"table {self.relation}" if self.relation else "its turn"
        return f"{what}, which process {self.pid} has ({self.name}, {self.state}{since})"


class Watch:
    """Looks at one session, from another connection, until it is told to stop."""

    def __init__(self, engine: Engine, pid: int, say: Callable[[str], None]) -> None:
        self._engine = engine
        self._pid = pid
        self._say = say
        self._over = threading.Event()
        # What the last look found that found anybody.
        self.holders: tuple[Holder, ...] = ()

    def look_until_over(self) -> None:
        try:
            with self._engine.connect() as connection:
                while not self._over.wait(_LOOK_SECONDS):
                    self._look(connection)
        except SQLAlchemyError:
            # The migration can go on waiting without being watched.
            self._say("goes on without seeing which locks it waits for: the database does not tell")

    def stop(self) -> None:
        self._over.set()

    def _look(self, connection: Connection) -> None:
        rows = connection.execute(_HOLDERS, {"pid": self._pid}).all()
        connection.rollback()
        found = tuple(Holder(*row) for row in rows)
        news = {each.pid for each in found} - {each.pid for each in self.holders}
        for each in found:
            if each.pid in news:
                self._say(f"waits for {each}")
        self.holders = found or self.holders


@contextmanager
def watched(engine: Engine, pid: int, say: Callable[[str], None]) -> Iterator[Watch]:
    """Say what the session `pid` waits for, each holder once, while the block lasts."""
    watch = Watch(engine, pid, say)
    thread = threading.Thread(target=watch.look_until_over, name="lock-waits")
    thread.start()
    try:
        yield watch
    finally:
        watch.stop()
        thread.join()
