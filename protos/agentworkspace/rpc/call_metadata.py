"""What a call brings in its metadata: a secret, a correlation id and a W3C trace context, all of
them from strangers.
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


# (secret, correlation id, traceparent), each None when absent or blank. A plain tuple: a busy edge
# makes one with every call.
Brought: TypeAlias = tuple[str | None, str | None, str | None]


def arrive(metadata: Pairs) -> None:
    """Keep a call's metadata for its own task: gRPC builds it anew whenever asked."""
    _arrived.set(metadata)


def read() -> Brought:
    """What the call of this task brought; see `read_from`."""
    return read_from(_arrived.get())


def read_from(metadata: Pairs) -> Brought:
    """What is in it.

    Two different authorization values name nobody: joined, as HTTP reads a repeated header,
    they match no credential. A value under another scheme is taken whole, and matches none
    either; an empty bearer is a box that lost its token, and counts as none presented.
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
