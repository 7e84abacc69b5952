"""What a fault of the database means: try again, refuse with which reason, or a fault of ours."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Final, TypeVar

import psycopg2
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from agentworkspace.core.refusal import Recovery, Refusal, SharedReason, internal

T = TypeVar("T")

TRIES: Final = 3
COME_BACK_AFTER: Final = timedelta(seconds=1)
_SOON: Final = timedelta(milliseconds=100)

SERIALIZATION_FAILURE: Final = "40001"
DEADLOCK_DETECTED: Final = "40P01"
_LOST_RACE: Final = frozenset({SERIALIZATION_FAILURE, DEADLOCK_DETECTED})
LOCK_NOT_AVAILABLE: Final = "55P03"
# query_canceled, lock_not_available
_OUT_OF_TIME: Final = frozenset({"57014", LOCK_NOT_AVAILABLE})
# No such table, column or schema: not migrated yet, or a newer service on an older schema.
NO_SCHEMA: Final = frozenset({"42P01", "42703", "3F000"})
NOT_MIGRATED: Final = (
    "the database has no schema, or an older one: run this service's `migrate`; nothing was decided"
)
# The server goes away (08, 57P), takes no writes (25006) or ended an idle transaction (25P03). This
# connection cannot be used any more, nor can any other to the same server.
_ENDS_CONNECTION: Final = ("08", "57P", "25006", "25P03")
# Also out of connections, memory or disk (53), operator intervention (57), a system error (58).
_AWAY: Final = (*_ENDS_CONNECTION, "53", "57", "58")


class OutcomeUnknown(Exception):
    """The connection broke while committing: nobody knows whether the change was made."""


class StoreFault(Exception):
    """A statement of ours was wrong. The text is only PostgreSQL's primary message, since the rest
    may quote the statement with its values.
    """


def attempt(work: Callable[[], T], *, tries: int = TRIES) -> T:
    """Run a use case, again after a fault that changed nothing: a lost race, or a connection that
    broke before its commit.

    A last fault is raised as a Refusal, or as StoreFault when it is a fault of ours. A use case of
    several transactions must find by its request id what it has committed before.
    """
    for left in reversed(range(tries)):
        try:
            return work()
        except (SQLAlchemyError, OutcomeUnknown) as error:
            if left and _changed_nothing_and_may_pass(error):
                continue
            refusal = refusal_of(error)
            if refusal is not None:
                raise refusal from None
            raise StoreFault(described(error)).with_traceback(error.__traceback__) from None
    raise AssertionError("the last try returns or raises")


def what_a_client_may_see(error: Exception) -> Refusal:
    """The refusal for any exception of a servicer. Only a Refusal's own text reaches the client."""
    if isinstance(error, Refusal):
        return error
    if isinstance(error, TimeoutError):
        return Refusal(
            SharedReason.DEADLINE,
            "the deadline passed before the answer was ready; a change may have been made: repeat"
            " the call with the same request_id and more time",
        )
    # Commands turn their faults into refusals in `attempt`; this is for work outside of commands.
    return refusal_of(error) or internal()


def refusal_of(error: BaseException) -> Refusal | None:
    """The refusal of a store's fault. None when it is a fault of ours, which is INTERNAL."""
    match error:
        case OutcomeUnknown():
            return _outcome_unknown()
        case PoolTimeoutError():
            return Refusal(
                SharedReason.OVERLOADED,
                "every database connection is in use; nothing was done, call again later",
                retry_after=COME_BACK_AFTER,
            )
        case DBAPIError():
            return _refusal_of_driver(error)
    return None


def _refusal_of_driver(error: DBAPIError) -> Refusal | None:
    code = sqlstate(error)
    if code in _LOST_RACE:
        return Refusal(
            SharedReason.CONFLICT,
            "another change came first several times over; call again",
            retry_after=_SOON,
        )
    if code in _OUT_OF_TIME:
        return out_of_time()
    if is_lost(error) or code.startswith(_AWAY):
        return store_unavailable()
    return store_unavailable(NOT_MIGRATED) if code in NO_SCHEMA else None


def store_unavailable(
    message: str = "the database did not answer and nothing was decided; call again",
) -> Refusal:
    return Refusal(
        SharedReason.STORE_UNAVAILABLE,
        message,
        retry_after=COME_BACK_AFTER,
        recovery=Recovery.RETRY,
    )


def out_of_time() -> Refusal:
    """The refusal when the call's time was used up before the database had answered."""
    return Refusal(SharedReason.DEADLINE, "the database did not answer in time; call again")


def is_busy(error: BaseException) -> bool:
    """Whether another transaction held what was waited for."""
    return isinstance(error, DBAPIError) and sqlstate(error) == LOCK_NOT_AVAILABLE


def is_lost(error: DBAPIError) -> bool:
    """Whether the connection went away under the statement, or there was none to be had."""
    return error.connection_invalidated or ends_connection(error.orig)


def ends_connection(error: BaseException | None) -> bool:
    """Whether this error of the driver means that its connection cannot be used any more."""
    code: str | None = getattr(error, "pgcode", None)
    if code:
        return code.startswith(_ENDS_CONNECTION)
    # libpq failed before a server could give a code.
    return isinstance(error, psycopg2.OperationalError | psycopg2.InterfaceError)


def described(error: BaseException) -> str:
    """The fault for the log, without statements and values."""
    if not isinstance(error, DBAPIError):
        return type(error).__name__
    code = sqlstate(error)
    if not code and is_lost(error):
        # libpq's message names host, port and what is wrong there, never the password.
        return next(iter(str(error.orig).strip().splitlines()), "no answer")
    diagnosis = getattr(error.orig, "diag", None)
    said: str | None = getattr(diagnosis, "message_primary", None)
    return f"{code or type(error.orig).__name__}: {said or 'no answer'}"


def sqlstate(error: DBAPIError) -> str:
    """The SQLSTATE of the error; empty when the server gave none."""
    code: str | None = getattr(error.orig, "pgcode", None)
    return code or ""


def _outcome_unknown() -> Refusal:
    return Refusal(
        SharedReason.OUTCOME_UNKNOWN,
        "the database was lost while the change was committed: it may have been made; repeat the"
        " call with the same request_id",
        retry_after=COME_BACK_AFTER,
        recovery=Recovery.RETRY,
    )


def _changed_nothing_and_may_pass(error: BaseException) -> bool:
    if not isinstance(error, DBAPIError):
        return False
    return sqlstate(error) in _LOST_RACE or error.connection_invalidated
