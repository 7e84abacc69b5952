"""Look-ups at the registry: one for each token, however many ask for it, and many in one call."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import grpc

from agentworkspace.client.verifier.principals import Principal, principal_of
from agentworkspace.core.secret import Secret
from agentworkspace.core.token_format import PREFIX, TokenKind
from agentworkspace.registry.v1 import token_pb2
from agentworkspace.registry.v1 import token_service_pb2 as pb
from agentworkspace.rpc.errors import RpcFailure, failure_from

MOST_PER_CALL: Final = 1000
# While so many calls are under way, further look-ups wait and then share the next call. There are
# two, so that a call that hangs holds up nobody; more would only make the calls smaller.
_MOST_CALLS: Final = 2
_MOST_WAITING: Final = 50_000


@dataclass(frozen=True, slots=True)
class Found:
    """The registry's answer as of `revision`; no principal: it does not accept the token."""

    principal: Principal | None
    revision: int


@dataclass(slots=True, eq=False)
class Lookup:
    """One look-up under way, with the revocations that the feed sent meanwhile."""

    digest: bytes
    token: Secret
    # `Verifier._connection` when the question was asked; 0: the feed was not heard then.
    connection: int
    answer: asyncio.Future[Found] = field(default_factory=asyncio.Future)
    token_revoked_at: int = 0
    workspaces_revoked_at: dict[str, int] = field(default_factory=dict)

    def is_outdated(self, found: Found) -> bool:
        """Whether the answer accepts the token but is older than a revocation that concerns it."""
        if found.principal is None:
            return False
        of_workspace = self.workspaces_revoked_at.get(found.principal.workspace_id, 0)
        return found.revision < max(self.token_revoked_at, of_workspace)


class Lookups:
    """Asks by `ValidateToken`, or by `BatchValidateTokens` when several look-ups wait.

    `answered` is called with every answer, before those who asked get it.
    """

    def __init__(
        self,
        stub: Any,
        *,
        timeout_seconds: float,
        answered: Callable[[Lookup, Found], None],
    ) -> None:
        self._stub = stub
        self._timeout_seconds = timeout_seconds
        self._answered = answered
        # Look-ups that further askers may still join.
        self._open: dict[bytes, Lookup] = {}
        # All look-ups without an answer.
        self._unanswered: set[Lookup] = set()
        self._waiting: list[Lookup] = []
        self._calls: set[asyncio.Task[None]] = set()
        self._scheduled = False

    async def ask(self, digest: bytes, token: Secret, connection: int) -> Found:
        """The registry's answer for this token, shared with others who ask for it meanwhile.

        RpcFailure when the registry did not answer.
        """
        while True:
            lookup = self._open.get(digest)
            if lookup is None or lookup.connection != connection:
                lookup = self._pose(Lookup(digest, token, connection))
            # One who stops waiting must not take the answer away from the others.
            found = await asyncio.shield(lookup.answer)
            if not lookup.is_outdated(found):
                return found

    def token_revoked(self, digest: bytes, revision: int) -> None:
        """Note a revocation: answers that are older than it are asked for again."""
        self._open.pop(digest, None)
        for lookup in self._unanswered:
            if lookup.digest == digest:
                lookup.token_revoked_at = revision

    def workspace_revoked(self, workspace_id: str, revision: int) -> None:
        """The same for a workspace; noted at every look-up, as only answers tell the workspace."""
        self._open.clear()
        for lookup in self._unanswered:
            lookup.workspaces_revoked_at[workspace_id] = revision

    async def close(self) -> None:
        for call in self._calls:
            call.cancel()
        await asyncio.gather(*self._calls, return_exceptions=True)
        for lookup in self._unanswered:
            lookup.answer.cancel()

    def _pose(self, lookup: Lookup) -> Lookup:
        if len(self._waiting) >= _MOST_WAITING:
            raise RpcFailure(grpc.StatusCode.RESOURCE_EXHAUSTED, "", "", "too many checks wait")
        self._open[lookup.digest] = lookup
        self._unanswered.add(lookup)
        self._waiting.append(lookup)
        if not self._scheduled:
            self._scheduled = True
            # Sent after this turn of the loop, so that what else is asked in it shares the call.
            asyncio.get_running_loop().call_soon(self._send)
        return lookup

    def _send(self) -> None:
        self._scheduled = False
        while self._waiting and len(self._calls) < _MOST_CALLS:
            batch = self._waiting[:MOST_PER_CALL]
            del self._waiting[:MOST_PER_CALL]
            for lookup in batch:
                if lookup.connection == 0:
                    # The feed is not heard: later revocations are not noticed, so nobody may join.
                    self._close_to_others(lookup)
            call = asyncio.get_running_loop().create_task(self._call(batch))
            self._calls.add(call)
            call.add_done_callback(self._done)

    def _done(self, call: asyncio.Task[None]) -> None:
        self._calls.discard(call)
        if not call.cancelled():
            self._send()

    async def _call(self, batch: Sequence[Lookup]) -> None:
        try:
            for lookup, result in zip(batch, await self._results(batch), strict=True):
                self._settle(lookup, _found(result))
        except grpc.RpcError as error:
            self._fail(batch, failure_from(error))
        except Exception as error:  # noqa: BLE001 - whoever waits must hear of it
            self._fail(batch, error)

    async def _results(self, batch: Sequence[Lookup]) -> Sequence[pb.ValidateTokenResponse]:
        questions = [_question(each) for each in batch]
        if len(questions) == 1:
            return [await self._stub.ValidateToken(questions[0], timeout=self._timeout_seconds)]
        request = pb.BatchValidateTokensRequest(requests=questions)
        response = await self._stub.BatchValidateTokens(request, timeout=self._timeout_seconds)
        results: Sequence[pb.ValidateTokenResponse] = response.results
        return results

    def _settle(self, lookup: Lookup, found: Found) -> None:
        self._end(lookup)
        self._answered(lookup, found)
        if not lookup.answer.done():
            lookup.answer.set_result(found)

    def _fail(self, batch: Sequence[Lookup], failure: Exception) -> None:
        for lookup in batch:
            self._end(lookup)
            if not lookup.answer.done():
                lookup.answer.set_exception(failure)
                lookup.answer.exception()  # marked as read: perhaps nobody waits any more

    def _end(self, lookup: Lookup) -> None:
        self._unanswered.discard(lookup)
        self._close_to_others(lookup)

    def _close_to_others(self, lookup: Lookup) -> None:
        if self._open.get(lookup.digest) is lookup:
            del self._open[lookup.digest]


def _question(lookup: Lookup) -> pb.ValidateTokenRequest:
    """Asks for any kind, since the requirement is checked here; proxy tokens must be asked for."""
    text = lookup.token.reveal()
    kind = token_pb2.TOKEN_KIND_UNSPECIFIED
    if text.startswith(PREFIX[TokenKind.PROXY]):
        kind = token_pb2.TOKEN_KIND_PROXY
    return pb.ValidateTokenRequest(token=text, any_workspace=True, required_kind=kind)


def _found(response: pb.ValidateTokenResponse) -> Found:
    principal = None
    if response.WhichOneof("result") == "principal":
        principal = principal_of(response.principal)
    return Found(principal, response.revision)
