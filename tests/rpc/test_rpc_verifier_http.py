"""The HTTP doors: Starlette, FastAPI and Flask behind them, one behaviour."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest
from fastapi import FastAPI
from flask import Flask, Response
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route

from agentworkspace.client.channel import aio_channel
from agentworkspace.client.verifier import Requirement, principal
from agentworkspace.client.verifier.asgi import BearerMiddleware
from agentworkspace.client.verifier.wsgi import BearerWrapper
from agentworkspace.core.secret import Secret
from agentworkspace.core.token_format import TokenKind, new_token
from agentworkspace.registry.v1 import token_pb2
from tests.rpc.verifier_registry_server import TokenRegistry, serving

TOKEN, WRITER = new_token(TokenKind.API), new_token(TokenKind.API)
SCOPED = Requirement(scopes=frozenset({"tasks:write", "tasks:all"}))
REQUIREMENTS = {
    "/who": Requirement(),
    "/stream": Requirement(),
    "/who/write": SCOPED,
    "/who/take": Requirement(kind=TokenKind.INSTANCE),
    "/open": None,
}
# (status, headers in lower case, body) of a GET.
Reply = tuple[int, dict[str, str], bytes]
Get = Callable[..., Awaitable[Reply]]
Served = Callable[[TokenRegistry], AbstractAsyncContextManager[Get]]


def guard(registry: TokenRegistry) -> dict[str, Any]:
    return {
        "channel": lambda: aio_channel(registry.address, retries=False),
        "requirements": REQUIREMENTS,
        "domain": "acme.tasks",
    }


def nobody() -> str:
    with pytest.raises(LookupError):
        principal()
    return "nobody"


def starlette_app(registry: TokenRegistry) -> Any:
    async def who(_request: Request) -> PlainTextResponse:
        return PlainTextResponse(principal().workspace_id)

    async def stream(_request: Request) -> StreamingResponse:
        async def parts() -> AsyncIterator[str]:
            for _ in range(3):
                yield principal().workspace_id

        return StreamingResponse(parts())

    async def free(_request: Request) -> PlainTextResponse:
        return PlainTextResponse(nobody())

    routes = [Route(path, who) for path in ("/who", "/who/write", "/who/take", "/whose")]
    app = Starlette(routes=[*routes, Route("/stream", stream), Route("/open", free)])
    app.add_middleware(BearerMiddleware, **guard(registry))
    return app


def fastapi_app(registry: TokenRegistry) -> Any:
    app = FastAPI()
    app.add_middleware(BearerMiddleware, **guard(registry))

    # Not `async`: FastAPI runs it on a thread, where the caller is known too.
    def who() -> PlainTextResponse:
        return PlainTextResponse(principal().workspace_id)

    def stream() -> StreamingResponse:
        def parts() -> Iterator[str]:
            for _ in range(3):
                yield principal().workspace_id

        return StreamingResponse(parts())

    for path in ("/who", "/who/write", "/who/take", "/whose"):
        app.get(path)(who)
    app.get("/stream")(stream)
    app.get("/open")(lambda: PlainTextResponse(nobody()))
    return app


@asynccontextmanager
async def served_asgi(app: Any) -> AsyncIterator[Get]:
    """With the lifespan that a server announces."""
    incoming: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    outgoing: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    living = asyncio.create_task(app({"type": "lifespan"}, incoming.get, outgoing.put))
    await incoming.put({"type": "lifespan.startup"})
    assert (await outgoing.get())["type"] == "lifespan.startup.complete"

    async def get(path: str, *headers: tuple[str, str]) -> Reply:
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "GET",
            "path": path,
            "raw_path": path.encode(),
            "root_path": "",
            "query_string": b"",
            "headers": [(name.lower().encode(), value.encode()) for name, value in headers],
        }
        sent: list[dict[str, Any]] = []

        asked = iter([{"type": "http.request", "body": b"", "more_body": False}])

        async def receive() -> dict[str, Any]:
            for message in asked:
                return message
            await asyncio.Event().wait()  # nobody disconnects
            raise AssertionError

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        await app(scope, receive, send)
        found = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
        return sent[0]["status"], found, b"".join(each.get("body", b"") for each in sent[1:])

    try:
        yield get
    finally:
        await incoming.put({"type": "lifespan.shutdown"})
        await living


@asynccontextmanager
async def served_starlette(registry: TokenRegistry) -> AsyncIterator[Get]:
    async with serving(registry), served_asgi(starlette_app(registry)) as get:
        yield get


@asynccontextmanager
async def served_fastapi(registry: TokenRegistry) -> AsyncIterator[Get]:
    async with serving(registry), served_asgi(fastapi_app(registry)) as get:
        yield get


@asynccontextmanager
async def served_flask(registry: TokenRegistry) -> AsyncIterator[Get]:
    app = Flask("test")

    def who() -> str:
        return principal().workspace_id

    def stream() -> Response:
        def parts() -> Iterator[str]:
            for _ in range(3):
                yield principal().workspace_id

        return Response(parts())

    for path in ("/who", "/who/write", "/who/take", "/whose"):
        app.add_url_rule(path, path.replace("/", "_"), who)
    app.add_url_rule("/stream", "stream", stream)
    app.add_url_rule("/open", "open", nobody)
    async with serving(registry):
        wrapper = BearerWrapper(app.wsgi_app, **guard(registry))
        app.wsgi_app = wrapper  # type: ignore[method-assign]

        async def get(path: str, *headers: tuple[str, str]) -> Reply:
            def ask() -> Reply:
                answer = app.test_client().get(path, headers=list(headers))
                found = {name.lower(): value for name, value in answer.headers.items()}
                return answer.status_code, found, answer.get_data()

            return await asyncio.to_thread(ask)

        try:
            yield get
        finally:
            await asyncio.to_thread(wrapper.close)


everywhere = pytest.mark.parametrize("served", [served_starlette, served_fastapi, served_flask])


def known_tokens() -> TokenRegistry:
    registry = TokenRegistry()
    registry.admit(TOKEN, "w1")
    scopes = ["tasks:write", "tasks:all"]
    registry.admit(WRITER, "w2", scopes=scopes, kind=token_pb2.TOKEN_KIND_INSTANCE)
    return registry


def bearer(token: Secret) -> tuple[str, str]:
    return ("Authorization", f"Bearer {token.reveal()}")


@everywhere
async def test_the_service_knows_who_calls(served: Served) -> None:
    async with served(known_tokens()) as get:
        assert (await get("/who", bearer(TOKEN)))[::2] == (200, b"w1")
        assert (await get("/who/write", bearer(WRITER)))[::2] == (200, b"w2")
        assert (await get("/who/take", bearer(WRITER)))[::2] == (200, b"w2")
        assert (await get("/stream", bearer(TOKEN)))[::2] == (200, b"w1w1w1")
        assert (await get("/open"))[::2] == (200, b"nobody")
        assert (await get("/open", bearer(TOKEN)))[::2] == (200, b"nobody")


REALM = 'Bearer realm="agentworkspace"'


INVALID = f'{REALM}, error="invalid_token"'
LACKING = f'{REALM}, error="insufficient_scope"'
REFUSED = {
    "missing": ("/who", None, (401, "BEARER_MISSING", "REGISTER", REALM)),
    "empty": ("/who", "Bearer", (401, "BEARER_MISSING", "REGISTER", REALM)),
    "password": ("/who", "Basic dXNlcjpw", (401, "BEARER_MISSING", "REGISTER", REALM)),
    "junk": ("/who", "Bearer junk", (401, "BEARER_REJECTED", "REGISTER", INVALID)),
    "scope": (
        *("/who/write", bearer(TOKEN)[1]),
        (403, "TOKEN_SCOPE", "FIX_REQUEST", f'{LACKING}, scope="tasks:all tasks:write"'),
    ),
    "kind": ("/who/take", bearer(TOKEN)[1], (403, "TOKEN_KIND", "FIX_REQUEST", LACKING)),
    "unlisted": ("/whose", bearer(TOKEN)[1], (403, "METHOD_CLOSED", "FIX_REQUEST", REALM)),
    "root": ("/", bearer(TOKEN)[1], (403, "METHOD_CLOSED", "FIX_REQUEST", REALM)),
}


@everywhere
@pytest.mark.parametrize(("path", "header", "expected"), REFUSED.values(), ids=REFUSED.keys())
async def test_the_others_are_told_why_and_what_to_do(
    served: Served, path: str, header: str | None, expected: tuple[int, str, str, str]
) -> None:
    registry = known_tokens()
    headers = [("Agentworkspace-Correlation-Id", "mine-1")]
    if header is not None:
        headers.append(("Authorization", header))
    async with served(registry) as get:
        status, told, body = await get(path, *headers)
    error = json.loads(body)["error"]
    reason = error["reason"].removeprefix("ERROR_REASON_")
    assert (status, reason, error["recovery"], told["www-authenticate"]) == expected
    assert told["agentworkspace-reason"] == error["reason"]
    assert told["agentworkspace-recovery"] == error["recovery"]
    assert told["agentworkspace-correlation-id"] == "mine-1"
    if header is not None and header.startswith("Basic"):
        assert registry.calls == [], "a person's password is none of the registry's business"


@everywhere
@pytest.mark.parametrize("path", ["/open/../who", "/open//who", "//who", "/open%2f..%2fwho"])
async def test_no_path_leads_through_an_open_prefix_to_another_route(
    served: Served, path: str
) -> None:
    async with served(known_tokens()) as get:
        status, _, body = await get(path)
    assert status in (308, 403, 404)
    assert b"w1" not in body


@everywhere
async def test_when_nobody_can_tell_the_request_is_to_be_made_again(served: Served) -> None:
    registry = known_tokens()
    registry.refusing = registry.silent = True
    async with served(registry) as get:
        status, told, body = await get("/who", bearer(TOKEN))
    error = json.loads(body)["error"]
    assert (status, told["retry-after"], told["www-authenticate"]) == (503, "1", REALM)
    assert (error["code"], error["recovery"]) == ("UNAVAILABLE", "RETRY")


@everywhere
async def test_two_different_tokens_name_nobody(served: Served) -> None:
    async with served(known_tokens()) as get:
        status, _, _ = await get("/who", bearer(TOKEN), bearer(WRITER))
    assert status == 401


async def test_a_websocket_is_refused_before_it_is_accepted() -> None:
    registry = known_tokens()
    reached: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        reached.append(principal().workspace_id)

    guarded = BearerMiddleware(app, **guard(registry))

    async def connect(*headers: tuple[bytes, bytes]) -> list[dict[str, Any]]:
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            return {"type": "websocket.connect"}

        async def send(message: Any) -> None:
            sent.append(message)

        await guarded({"type": "websocket", "path": "/who", "headers": headers}, receive, send)
        return sent

    async with serving(registry):
        refused = {"type": "websocket.close", "code": 1008, "reason": "Unauthorized"}
        assert await connect() == [refused]
        value = bearer(TOKEN)[1].encode()
        assert await connect((b"authorization", value)) == []
        await guarded._stack.aclose()
    assert reached == ["w1"]


@pytest.mark.parametrize(
    ("requirements", "complaint"),
    [({"who": None}, "no path"), ({"/who": Requirement(workspace_field="id")}, "no fields")],
)
def test_a_mapping_that_makes_no_sense_is_refused_at_once(
    requirements: Any, complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint):
        BearerWrapper(lambda _environ, _start: [], channel=lambda: None, requirements=requirements)  # type: ignore[arg-type, return-value]
