"""What a command sends to its database."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Engine, event


@contextmanager
def statements(engine: Engine) -> Iterator[list[str]]:
    """Until the block ends, but for what prepares them."""
    sent: list[str] = []

    def note(_: Any, __: Any, statement: str, *___: object) -> None:
        if not statement.startswith("PREPARE"):
            sent.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    try:
        yield sent
    finally:
        event.remove(engine, "before_cursor_execute", note)


@contextmanager
def commits(engine: Engine) -> Iterator[list[None]]:
    """One entry for each transaction that is committed until the block ends."""
    made: list[None] = []

    def note(_: Any) -> None:
        made.append(None)

    event.listen(engine, "commit", note)
    try:
        yield made
    finally:
        event.remove(engine, "commit", note)
