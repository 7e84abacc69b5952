"""What a database error means for a caller, and when the work is simply done again."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Final, TypeVar

import psycopg2
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from agentworkspace.core.refusal import Refusal, SharedReason

MAX_TRIES: Final = 3
RETRY_AFTER: Final = timedelta(seconds=1)

_LOST_A_RACE: Final = frozenset({"40001", "40P01"})
_OUT_OF_TIME: Final = frozenset({"57014", "55P03"})
_UNAVAILABLE_CLASSES: Final = frozenset({"08", "53", "57", "58"})
# The server is up but not as a store: read-only standby, or a schema that was never migrated.
_UNAVAILABLE: Final = frozenset({"25006", "3F000", "42P01", "42703"})

T = TypeVar("T")


def guarded(operation: Callable[[], T]) -> T:
    """Run a use case; do it again when it only lost a race, else say what went wrong.

    Every transaction of a use case may be repeated: nothing of a lost one was written,
    and what spans several is found again by its request id.
    """
    for _ in range(MAX_TRIES):
        try:
            return operation()
        except SQLAlchemyError as error:
            refusal = refusal_for(error)
            if refusal is None:
                raise
            if refusal.reason is not SharedReason.CONFLICT:
                raise refusal from error
            lost = error
    raise conflict() from lost


def refusal_for(error: SQLAlchemyError) -> Refusal | None:
    """The public answer to a database error; None for a fault of this service."""
    if isinstance(error, PoolTimeout):
        return Refusal(
            SharedReason.OVERLOADED,
            "every database connection is in use",
            retry_after=RETRY_AFTER,
        )
    if not isinstance(error, DBAPIError):
        return None
    state = getattr(error.orig, "pgcode", None) or ""
    if state in _LOST_A_RACE:
        return conflict()
    if state in _OUT_OF_TIME:
        return deadline()
    return unavailable() if _is_unavailable(error, state) else None


def _is_unavailable(error: DBAPIError, state: str) -> bool:
    if error.connection_invalidated or state in _UNAVAILABLE or state[:2] in _UNAVAILABLE_CLASSES:
        return True
    lost = psycopg2.OperationalError | psycopg2.InterfaceError
    return not state and isinstance(error.orig, lost)


def conflict() -> Refusal:
    """Lost a race several times over."""
    return Refusal(
        SharedReason.CONFLICT, "another change came first several times over; call again"
    )


def deadline() -> Refusal:
    """No time was left for the database."""
    return Refusal(
        SharedReason.DEADLINE,
        "the deadline passed before the answer was ready; the change may have been made",
    )


def unavailable() -> Refusal:
    """The database did not answer."""
    return Refusal(
        SharedReason.STORE_UNAVAILABLE,
        "the database did not answer; nothing was decided and nothing changed",
        retry_after=RETRY_AFTER,
    )
