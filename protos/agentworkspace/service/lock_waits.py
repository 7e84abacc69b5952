"""What a session waits for, and who has it: for the operator of a migration that does not go on."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import SQLAlchemyError

# What is over within a second needs no word.
_LOOK_SECONDS: Final = 1.0
# Not the statements: their literals may be secrets.
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
    """A session of the database that has, or is to get first, what another one waits for."""

    pid: int
    # What it calls itself.
    name: str
    # PostgreSQL's word, such as `idle in transaction`.
    state: str
    # How long its transaction lasts; None outside of one.
    seconds: int | None
    # None: no table, but the turn.
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
        # Of the last look that found anybody.
        self.holders: tuple[Holder, ...] = ()

    def look_until_over(self) -> None:
        try:
            with self._engine.connect() as connection:
                while not self._over.wait(_LOOK_SECONDS):
                    self._look(connection)
        except SQLAlchemyError:
            # Who cannot look on can still wait.
            self._say("waits for a lock, or not: the database does not say who has it")

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
