"""What a database fault means: try again, or refuse, and with which reason. Never a decision."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Final, TypeVar

from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from agentworkspace.core.refusal import Recovery, Refusal, SharedReason
from registry_service.storage.store import CommitUnknown

T = TypeVar("T")

TRIES: Final = 3
COME_BACK_AFTER: Final = timedelta(seconds=1)

SERIALIZATION_FAILURE: Final = "40001"
DEADLOCK_DETECTED: Final = "40P01"
LOST_RACE: Final = frozenset({SERIALIZATION_FAILURE, DEADLOCK_DETECTED})
# query_canceled, lock_not_available
OUT_OF_TIME: Final = frozenset({"57014", "55P03"})
# No such table, column or schema: not migrated yet, or a newer service on an older schema.
NO_SCHEMA: Final = frozenset({"42P01", "42703", "3F000"})
NOT_MIGRATED: Final = (
    "the store has no schema, or an older one: run registry-service migrate; nothing was decided"
)
# Connection exceptions, insufficient resources, operator intervention, system errors; also a
# standby that takes no writes, and an idle transaction that was ended.
STORE_AWAY: Final = ("08", "53", "57", "58", "25006", "25P03")


class StoreFault(Exception):
    """A statement of ours was wrong. Says what PostgreSQL said first: the rest of its text may
    quote the statement with its values.
    """


def attempt(work: Callable[[], T], *, tries: int = TRIES) -> T:
    """Run a command. What changed nothing, a lost race or a connection that broke before its
    commit, is run again; what is left becomes a Refusal, unless it is a fault of ours.
    """
    for left in reversed(range(tries)):
        try:
            return work()
        except (SQLAlchemyError, CommitUnknown) as error:
            if left and _changed_nothing_and_may_pass(error):
                continue
            refusal = refusal_of(error)
            if refusal is not None:
                raise refusal from None
            raise _ours(error).with_traceback(error.__traceback__) from None
    raise AssertionError("the last try returns or raises")


def refusal_of(error: BaseException) -> Refusal | None:
    """None: not the store's condition but a fault of ours (INTERNAL)."""
    if isinstance(error, CommitUnknown | PoolTimeoutError):
        return store_unavailable()
    if not isinstance(error, DBAPIError):
        return None
    code = sqlstate(error)
    if code in LOST_RACE:
        return Refusal(
            SharedReason.CONFLICT,
            "lost a race against another change; call again",
            retry_after=_SOON,
        )
    if code in OUT_OF_TIME:
        return Refusal(SharedReason.DEADLINE, "the store did not answer in time")
    if _lost_connection(error) or code.startswith(STORE_AWAY):
        return store_unavailable()
    return store_unavailable(NOT_MIGRATED) if code in NO_SCHEMA else None


def store_unavailable(
    message: str = "the store did not answer; nothing was decided",
) -> Refusal:
    return Refusal(
        SharedReason.STORE_UNAVAILABLE,
        message,
        retry_after=COME_BACK_AFTER,
        recovery=Recovery.RETRY,
    )


def described(error: BaseException) -> str:
    """For the log: no statement and no value of a row."""
    if not isinstance(error, DBAPIError):
        return type(error).__name__
    diagnosis = getattr(error.orig, "diag", None)
    said: str | None = getattr(diagnosis, "message_primary", None)
    return f"{sqlstate(error) or type(error.orig).__name__}: {said or 'no answer'}"


def sqlstate(error: DBAPIError) -> str:
    """The five characters PostgreSQL gave, or empty when it could not say anything."""
    code: str | None = getattr(error.orig, "pgcode", None)
    return code or ""


_SOON: Final = timedelta(milliseconds=100)


def _changed_nothing_and_may_pass(error: BaseException) -> bool:
    if not isinstance(error, DBAPIError):
        return False
    return sqlstate(error) in LOST_RACE or error.connection_invalidated


def _ours(error: BaseException) -> Exception:
    return StoreFault(described(error))


def _lost_connection(error: DBAPIError) -> bool:
    if error.connection_invalidated:
        return True
    # No connection at all: libpq failed before a server could give a code.
    return not sqlstate(error) and type(error.orig).__name__ in (
        "OperationalError",
        "InterfaceError",
    )
