"""What PostgreSQL itself says that it was sent: the other side of the spans of statements."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sqlalchemy import make_url

from agentworkspace.service.statement_spans import name_of
from tests.postgres import PostgresServer, superuser

_ENTRY: Final = re.compile(r"^\S+ \S+ \S+ \[(\d+)\] LOG:  statement: (.*(?:\n\t.*)*)", re.MULTILINE)
_SETTINGS: Final = re.compile(r"^(?:SET [^;]*; )+")
_ENDS: Final = ("COMMIT", "ROLLBACK")


@dataclass(frozen=True)
class StatementLog:
    """The server's log from `start` on."""

    file: Path
    start: int

    def transactions(self, *words: str) -> list[list[str]]:
        """Those in which each of the words stands, as the names that spans give to statements;
        their BEGIN is left out, and the settings that a statement is sent with.
        """
        return [
            [name_of(_SETTINGS.sub("", each)) for each in sent]
            for sent in self._transactions()
            if all(any(word in each for each in sent) for word in words)
        ]

    def _transactions(self) -> Iterator[list[str]]:
        open_now: dict[str, list[str]] = defaultdict(list)
        with self.file.open() as log:
            log.seek(self.start)
            text = log.read()
        for process, statement in _ENTRY.findall(text):
            if statement == "BEGIN":
                continue
            open_now[process].append(statement)
            if statement in _ENDS:
                yield open_now.pop(process)


@contextmanager
def logging_statements(server: PostgresServer, *urls: str) -> Iterator[StatementLog]:
    """Connections that are made to these databases from now on are logged."""
    file = server.directory / "data" / "postgres.log"
    with superuser(server.sockets) as cursor:
        for url in urls:
            cursor.execute(f"ALTER DATABASE {make_url(url).database} SET log_statement = 'all'")
    yield StatementLog(file, file.stat().st_size)
