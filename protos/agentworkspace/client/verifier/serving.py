"""Tells the code that serves a call who makes it: asyncio or threads, gRPC or HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import Context, ContextVar, copy_context
from typing import Final

from agentworkspace.client.verifier.principals import Principal

_principal: Final[ContextVar[Principal | None]] = ContextVar(
    "agentworkspace_principal", default=None
)


def principal() -> Principal:
    """Whom the call being served speaks for. LookupError outside of a checked call."""
    found = _principal.get()
    if found is None:
        raise LookupError("no call with a checked token is being served here")
    return found


def serve_as(found: Principal) -> None:
    """Let the current task serve this caller from here on."""
    _principal.set(found)


@contextmanager
def served_as(found: Principal) -> Iterator[None]:
    """Serve this caller within the block, since one task may serve several calls in turn."""
    before = _principal.set(found)
    try:
        yield
    finally:
        _principal.reset(before)


def context_of(found: Principal) -> Context:
    """A context that serves this caller, for work on a thread of a pool: the next call on that
    thread finds nothing of this one."""
    context = copy_context()
    context.run(serve_as, found)
    return context
