"""Explains for the log why there is no usable connection to PostgreSQL, and what to do about it.

libpq's own message may quote the URL, so it is never repeated: known messages are recognised, and
each is replaced by a sentence of ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from agentworkspace.core.refusal import Refusal
from agentworkspace.service.store_faults import NO_SCHEMA, NOT_MIGRATED

# Sentences for an operator, by a part of what libpq, PostgreSQL or a pooler says.
_STANDBY: Final = (
    "every host of {SERVICE}_DATABASE_URL is a standby; name the primary too, or wait for the"
    " fail-over"
)
_FULL: Final = (
    "the server has no connection left: raise its max_connections, lower {SERVICE}_THREADS, or put"
    " a pooler between"
)
_REMEDIES: Final[Mapping[str, str]] = {
    "unsupported startup parameter": (
        "the URL leads to a pooler that takes no settings with a connection: set"
        " {SERVICE}_DATABASE_POOLED=1; the registry then also wants REGISTRY_DATABASE_LISTEN_URL,"
        " which leads to PostgreSQL itself"
    ),
    "authentication failed": (
        "the server refuses the user or the password of {SERVICE}_DATABASE_URL; correct them"
    ),
    "no password supplied": (
        "the server wants a password and {SERVICE}_DATABASE_URL has none; add it there"
    ),
    "no pg_hba.conf entry": (
        "the server lets this user in from no such address, or with TLS only: add a line to its"
        " pg_hba.conf, or sslmode=require to {SERVICE}_DATABASE_URL"
    ),
    "could not translate host name": (
        "the host of {SERVICE}_DATABASE_URL is unknown here; correct it, or the DNS"
    ),
    "session is read-only": _STANDBY,
    "server is in hot standby": _STANDBY,
    "too many clients": _FULL,
    "remaining connection slots": _FULL,
    "no such file or directory": (
        "no server listens on that socket; start PostgreSQL, or correct {SERVICE}_DATABASE_URL"
    ),
    "connection refused": (
        "no server listens there; start PostgreSQL, or correct {SERVICE}_DATABASE_URL"
    ),
    "timeout expired": (
        "the server does not answer; see whether it runs, and what the network between does"
    ),
    "did not answer a moment ago": (
        "the server did not answer a moment ago; it is asked again within a second"
    ),
}
_NO_DATABASE: Final = "3D000"


def why(fault: BaseException, service: str) -> str:
    """A sentence on what is wrong; the fault's type and SQLSTATE when none is known.

    `fault` is the driver's own, or SQLAlchemy's around it. `service` is the one whose settings the
    sentence names.
    """
    return _sentence(fault).replace("{SERVICE}", service.upper())


def _sentence(fault: BaseException) -> str:
    if isinstance(fault, Refusal):
        return fault.message
    fault = getattr(fault, "orig", None) or fault
    code: str = getattr(fault, "pgcode", None) or ""
    if code in NO_SCHEMA:
        return NOT_MIGRATED
    said = str(fault).lower()
    if code == _NO_DATABASE or ("database" in said and "does not exist" in said):
        return "the database that {SERVICE}_DATABASE_URL names does not exist; create it"
    for fragment, remedy in _REMEDIES.items():
        if fragment in said:
            return remedy
    return f"{type(fault).__name__} {code}".strip()
