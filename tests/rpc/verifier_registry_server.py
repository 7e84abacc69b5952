"""A registry for verifiers on loopback: answers checks from a dict, and a feed one can steer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
import grpc.aio

from agentworkspace.core.secret import Secret
from agentworkspace.core.token_format import sha256_hex
from agentworkspace.registry.v1 import token_pb2
from agentworkspace.registry.v1 import token_service_pb2 as pb
from agentworkspace.registry.v1.token_service_pb2_grpc import (
    add_TokenServiceServicer_to_server,
)

INVALID = pb.Rejection(reason=pb.REJECTION_REASON_TOKEN_INVALID)


@dataclass
class TokenRegistry:
    """`revision` is the feed's. `gate` holds checks back after they were decided while cleared.
    `silent` keeps the feed's keep-alives back; `refusing` fails every call."""

    principals: dict[str, token_pb2.Principal] = field(default_factory=dict)
    revision: int = 7
    silent: bool = False
    refusing: bool = False
    keep_alive_seconds: float = 0.05
    # How many tokens each call asked for.
    calls: list[int] = field(default_factory=list)
    # What each connection to the feed said that it knew.
    resumed_after: list[int] = field(default_factory=list)
    told: list[pb.WatchRevocationsResponse] = field(default_factory=list)
    port: int = 0

    def __post_init__(self) -> None:
        self.gate = asyncio.Event()
        self.gate.set()
        self.decided = asyncio.Event()
        self._watchers: set[asyncio.Queue[pb.WatchRevocationsResponse | None]] = set()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def admit(self, token: Secret, workspace_id: str = "w1", **more: Any) -> None:
        kind = more.pop("kind", token_pb2.TOKEN_KIND_API)
        self.principals[token.reveal()] = token_pb2.Principal(
            workspace_id=workspace_id,
            tenant_id="acme",
            token_id=f"id-{len(self.principals)}",
            kind=kind,
            **more,
        )

    def revoke(self, token: Secret, *, tell: bool = True) -> int:
        """The receipt's revision."""
        del self.principals[token.reveal()]
        self.revision += 1
        if tell:
            self.tell(token_sha256=sha256_hex(token))
        return self.revision

    def revoke_workspace(self, workspace_id: str) -> None:
        for token, principal in tuple(self.principals.items()):
            if principal.workspace_id == workspace_id:
                del self.principals[token]
        self.revision += 1
        self.tell(workspace_id=workspace_id)

    def tell(self, **subject: Any) -> None:
        message = pb.WatchRevocationsResponse(revision=self.revision, **subject)
        if message.WhichOneof("subject"):
            self.told.append(message)
        for watcher in self._watchers:
            watcher.put_nowait(message)

    def hang_up(self) -> None:
        for watcher in self._watchers:
            watcher.put_nowait(None)

    async def ValidateToken(self, request: Any, context: Any) -> pb.ValidateTokenResponse:  # noqa: N802
        return (await self._answer([request], context))[0]

    async def BatchValidateTokens(self, request: Any, context: Any) -> Any:  # noqa: N802
        results = await self._answer(request.requests, context)
        return pb.BatchValidateTokensResponse(results=results, revision=self.revision)

    async def WatchRevocations(  # noqa: N802
        self, request: Any, context: Any
    ) -> AsyncIterator[pb.WatchRevocationsResponse]:
        if self.refusing:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "no store")
        mine: asyncio.Queue[pb.WatchRevocationsResponse | None] = asyncio.Queue()
        self._watchers.add(mine)
        self.resumed_after.append(request.after_revision)
        try:
            if request.after_revision:
                for missed in self.told:
                    if missed.revision > request.after_revision:
                        yield missed
            elif not self.silent:
                yield pb.WatchRevocationsResponse(revision=self.revision)
            while True:
                try:
                    message = await asyncio.wait_for(mine.get(), self.keep_alive_seconds)
                except TimeoutError:
                    message = pb.WatchRevocationsResponse(revision=self.revision)
                if message is None:
                    return
                if not self.silent:
                    yield message
        finally:
            self._watchers.discard(mine)

    async def _answer(self, questions: Any, context: Any) -> list[pb.ValidateTokenResponse]:
        if self.refusing:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "no store")
        self.calls.append(len(questions))
        answers = []
        for question in questions:
            assert question.any_workspace
            found = self.principals.get(question.token)
            answers.append(
                pb.ValidateTokenResponse(principal=found, revision=self.revision)
                if found and _answers_to(found.kind, question.required_kind)
                else pb.ValidateTokenResponse(rejection=INVALID, revision=self.revision)
            )
        self.decided.set()
        await self.gate.wait()
        return answers


def _answers_to(kind: int, required: int) -> bool:
    """As the registry: of a proxy token it speaks only when asked for one."""
    if required == token_pb2.TOKEN_KIND_UNSPECIFIED:
        return kind != token_pb2.TOKEN_KIND_PROXY
    return kind == required


@asynccontextmanager
async def serving(registry: TokenRegistry) -> AsyncIterator[TokenRegistry]:
    server = grpc.aio.server()
    untyped: Any = registry
    for method in ("MintToken", "RotateToken", "ListTokens", "RevokeToken"):
        setattr(untyped, method, None)
    untyped.RevokeWorkspaceTokens = None
    add_TokenServiceServicer_to_server(untyped, server)
    registry.port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield registry
    finally:
        await server.stop(None)
