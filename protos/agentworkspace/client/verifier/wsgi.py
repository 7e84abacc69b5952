"""A WSGI wrapper that lets requests in by their workspace token, path by path.

    app.wsgi_app = BearerWrapper(
        app.wsgi_app,
        channel=lambda: aio_channel(registry, bearer=own_credential),
        requirements={"/tasks": Requirement(scopes={"tasks:read"}), "/healthz": None},
    )

Inside a request, `principal()` says who calls; so does `environ["agentworkspace.principal"]`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextvars import Context
from functools import partial
from typing import Any, Final

import grpc.aio

from agentworkspace.client.verifier.asyncio_verifier import DOMAIN, Verifier
from agentworkspace.client.verifier.blocking_verifier import BlockingVerifier
from agentworkspace.client.verifier.gate import Gate
from agentworkspace.client.verifier.http_answers import Paths, answer_to, presented
from agentworkspace.client.verifier.principals import Principal, Requirement
from agentworkspace.client.verifier.serving import context_of, principal
from agentworkspace.rpc import call_metadata
from agentworkspace.rpc.errors import CORRELATION_KEY, RpcFailure

__all__ = ["BearerWrapper", "principal"]

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
App = Callable[[Environ, StartResponse], Iterable[bytes]]

PRINCIPAL: Final = "agentworkspace.principal"
_CORRELATION: Final = f"HTTP_{CORRELATION_KEY.upper().replace('-', '_')}"


class BearerWrapper:
    """Admits requests by their token.

    `requirements` maps a path prefix to what the tokens of its callers must be; None: no token
    needed. The verifier starts with the first request that needs it, so that a server can fork its
    workers before. `domain` is that of its refusals.
    """

    def __init__(
        self,
        app: App,
        *,
        channel: Callable[[], grpc.aio.Channel],
        requirements: Mapping[str, Requirement | None],
        verifier: Callable[[grpc.aio.Channel], Verifier] = Verifier,
        domain: str = DOMAIN,
    ) -> None:
        self._app = app
        self._make = partial(BlockingVerifier, channel, verifier)
        self._paths = Paths(requirements, domain)
        self._starting = threading.Lock()
        self._verifier: BlockingVerifier | None = None

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        gate = self._paths.gate(environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", ""))
        if gate is None:
            return self._app(environ, start_response)
        bearer, correlation_id = presented(_headers(environ))
        try:
            found = self._check(gate, bearer)
        except RpcFailure as failure:
            answer = answer_to(failure, gate, correlation_id)
            start_response(f"{answer.status.value} {answer.status.phrase}", list(answer.headers))
            return [answer.body]
        environ[PRINCIPAL] = found
        context = context_of(found)
        return _Within(context, context.run(self._app, environ, start_response))

    def close(self) -> None:
        """Close the verifier; another request would start a new one."""
        with self._starting:
            verifier, self._verifier = self._verifier, None
        if verifier is not None:
            verifier.__exit__(None, None, None)

    def _check(self, gate: Gate, bearer: str | None) -> Principal:
        token, requirement = gate.begin(bearer)
        verifier = self._verifier or self._start()
        with gate.refusing():
            return verifier.check(token, requirement)

    def _start(self) -> BlockingVerifier:
        with self._starting:
            if self._verifier is None:
                self._verifier = self._make().__enter__()
            return self._verifier


class _Within:
    """A response whose parts are all produced in the context of the request."""

    def __init__(self, context: Context, response: Iterable[bytes]) -> None:
        self._context = context
        self._response = response
        self._parts: Iterator[bytes] = context.run(lambda: iter(response))

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        return self._context.run(lambda: next(self._parts))

    def close(self) -> None:
        close: Callable[[], None] | None = getattr(self._response, "close", None)
        if close is not None:
            self._context.run(close)


def _headers(environ: Environ) -> list[tuple[str, str]]:
    names = {"HTTP_AUTHORIZATION": call_metadata.AUTHORIZATION_KEY, _CORRELATION: CORRELATION_KEY}
    return [(key, environ[name]) for name, key in names.items() if name in environ]
