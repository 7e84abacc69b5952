"""Reads a call's metadata: a secret, a correlation id and a W3C trace context.

All of it comes from whoever calls, and none of it is trusted yet.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextvars import ContextVar
from typing import Final, TypeAlias

from agentworkspace.core.tracing import TRACEPARENT
from agentworkspace.rpc.errors import CORRELATION_KEY

AUTHORIZATION_KEY: Final = "authorization"
_SCHEME: Final = "bearer "
Pairs = Iterable[tuple[str, str | bytes]]
_arrived: Final[ContextVar[Pairs]] = ContextVar("agentworkspace_metadata", default=())


# (secret, correlation id, traceparent), each None when absent or blank. A plain tuple for speed:
# one is made for every call.
Brought: TypeAlias = tuple[str | None, str | None, str | None]


def arrive(metadata: Pairs) -> None:
    """Keep a call's metadata for its own task, because gRPC builds it anew whenever it is asked."""
    _arrived.set(metadata)


def read() -> Brought:
    """What the call of this task brought, as `read_from` returns it."""
    return read_from(_arrived.get())


def read_from(metadata: Pairs) -> Brought:
    """(secret, correlation id, traceparent) of these pairs, each None when absent or blank.

    Two different authorization values are joined, as HTTP reads a repeated header, and so match no
    credential. A value of another scheme than Bearer is taken whole, and matches none either. An
    empty bearer comes from a box that lost its token, and counts as absent.
    """
    secret: str | None = None
    correlation_id: str | None = None
    traceparent: str | None = None
    for key, value in metadata:
        if key == AUTHORIZATION_KEY and isinstance(value, str):
            secret = value if secret is None or secret == value else f"{secret}, {value}"
        elif key == CORRELATION_KEY and isinstance(value, str):
            correlation_id = value
        elif key == TRACEPARENT and isinstance(value, str):
            traceparent = value
    if secret is not None:
        secret = _without_scheme(secret) or None
    return secret, correlation_id or None, traceparent or None


def _without_scheme(value: str) -> str:
    if value[: len(_SCHEME)].lower() == _SCHEME:
        return value[len(_SCHEME) :].strip()
    value = value.strip()
    return "" if value.lower() == _SCHEME.strip() else value
