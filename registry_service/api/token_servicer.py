"""TokenService: parse, run one command, render."""

from __future__ import annotations

from collections.abc import AsyncIterator

from typing_extensions import override

from agentworkspace.registry.v1 import token_service_pb2 as pb
from agentworkspace.registry.v1.token_service_pb2_grpc import TokenServiceServicer
from agentworkspace.rpc import calls
from registry_service.api.core import Core
from registry_service.api.parse import tokens as parse
from registry_service.api.render import tokens as render
from registry_service.commands import (
    list_tokens,
    revoke_token,
    revoke_workspace_tokens,
    rotate_token,
)
from registry_service.commands.validate_tokens import ValidatedTokens
from registry_service.domain.principal import Principal
from registry_service.workers.feed import Beat, RevocationFeed


class Tokens(TokenServiceServicer):
    def __init__(self, core: Core, feed: RevocationFeed) -> None:
        self._core = core
        self._feed = feed

    @override
    async def MintToken(
        self, request: pb.MintTokenRequest, context: object
    ) -> pb.MintTokenResponse:
        command = parse.mint_token(request, calls.current())
        made = await self._core.ask(self._core.hot.mints, command)
        return pb.MintTokenResponse(issued=render.issued(made))

    @override
    async def RotateToken(
        self, request: pb.RotateTokenRequest, context: object
    ) -> pb.RotateTokenResponse:
        command = parse.rotate_token(request, calls.current())
        made = await self._core.run(
            rotate_token.run, command, new_secret=self._core.sources.new_secret
        )
        return pb.RotateTokenResponse(issued=render.issued(made))

    @override
    async def ListTokens(
        self, request: pb.ListTokensRequest, context: object
    ) -> pb.ListTokensResponse:
        command = parse.list_tokens(request, calls.current())
        return render.page(await self._core.run(list_tokens.run, command))

    @override
    async def RevokeToken(
        self, request: pb.RevokeTokenRequest, context: object
    ) -> pb.RevokeTokenResponse:
        command = parse.revoke_token(request, calls.current())
        return render.revoked(await self._core.run(revoke_token.run, command))

    @override
    async def RevokeWorkspaceTokens(
        self, request: pb.RevokeWorkspaceTokensRequest, context: object
    ) -> pb.RevokeWorkspaceTokensResponse:
        command = parse.revoke_workspace_tokens(request, calls.current())
        receipt = await self._core.run(revoke_workspace_tokens.run, command)
        return render.revoked_of_workspace(receipt)

    @override
    async def ValidateToken(
        self, request: pb.ValidateTokenRequest, context: object
    ) -> pb.ValidateTokenResponse:
        question = parse.validate_token(request, calls.current())
        found = await self._core.validate(question)
        self._note(found)
        return render.validated(found.answers[0], found.revision)

    @override
    async def BatchValidateTokens(
        self, request: pb.BatchValidateTokensRequest, context: object
    ) -> pb.BatchValidateTokensResponse:
        questions = parse.batch_validate_tokens(request, calls.current())
        found = await self._core.validate_many(questions)
        self._note(found)
        return render.validated_batch(found.answers, found.revision)

    @override
    async def WatchRevocations(
        self, request: pb.WatchRevocationsRequest, context: object
    ) -> AsyncIterator[pb.WatchRevocationsResponse]:
        after = parse.watch_revocations(request)
        concerns = calls.current().require_caller().may_act_for
        async for news in self._feed.watch(after, concerns=concerns):
            if isinstance(news, Beat):
                yield render.keep_alive(news.revision, reset=news.reset)
            else:
                yield render.revocation(news)

    def _note(self, found: ValidatedTokens) -> None:
        note = self._core.last_uses.note
        for answer in found.answers:
            if isinstance(answer, Principal):
                note(answer.token_id, found.time)
