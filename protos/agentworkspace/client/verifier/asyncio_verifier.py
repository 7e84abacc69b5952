"""Checks workspace tokens by a cache, which the registry's feed of revocations keeps up to date.

    async with aio_channel(address, bearer=own) as channel, Verifier(channel) as verifier:
        principal = await verifier.check(Secret(presented), Requirement(scopes={"tasks:read"}))

A cached answer is used for five minutes at most, and only while the feed is heard. Once the feed
was silent for three keep-alives, the registry is asked for every check; if it cannot be reached,
the check fails with UNAVAILABLE. A feed that broke off is resumed after the last revision heard.
The cache survives that only if the feed has caught up before it would have counted as silent.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import math
import time
from collections.abc import Callable
from typing import Any, Final, Self

import grpc
import grpc.aio

from agentworkspace.client.verifier.cache import Known, VerifierCache
from agentworkspace.client.verifier.lookups import Found, Lookup, Lookups
from agentworkspace.client.verifier.principals import (
    LIVE,
    Principal,
    Rejected,
    Rejection,
    Requirement,
    require,
)
from agentworkspace.core.backoff import Backoff
from agentworkspace.core.secret import Secret
from agentworkspace.core.token_format import is_well_formed
from agentworkspace.registry.v1 import token_service_pb2 as pb
from agentworkspace.registry.v1.token_service_pb2_grpc import TokenServiceStub
from agentworkspace.rpc.errors import RpcFailure, failure_from
from agentworkspace.rpc.redaction import is_token_shaped

__all__ = ["LIVE", "Principal", "Rejected", "Rejection", "Requirement", "Verifier"]

DOMAIN: Final = "agentworkspace.rpc"
SILENT_KEEP_ALIVES: Final = 3
_LONGEST_TOKEN: Final = 1024
_LONGEST_RECONNECT_SECONDS: Final = 5.0
_NEVER: Final = -math.inf

_log: Final = logging.getLogger("agentworkspace.verifier")


class Verifier:
    """Checks tokens, on one event loop. `channel` carries a credential with the role `verifier`.

    `keep_alive_seconds` is how often the registry sends a keep-alive on the feed. `now` reads the
    wall clock, for expiry; `monotonic` measures the feed's silence.
    """

    def __init__(
        self,
        channel: grpc.aio.Channel,
        *,
        max_entries: int = 100_000,
        max_age_seconds: float = 300.0,
        keep_alive_seconds: float = 1.0,
        lookup_seconds: float = 5.0,
        now: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stub: Any = TokenServiceStub(channel)
        self._cache = VerifierCache(max_entries)
        self._entries = self._cache.entries
        self._lookups = Lookups(self._stub, timeout_seconds=lookup_seconds, answered=self._remember)
        self._max_age_seconds = max_age_seconds
        self._silent_seconds = SILENT_KEEP_ALIVES * keep_alive_seconds
        self._now = now
        self._monotonic = monotonic
        self._heard_at = _NEVER
        # Whether this connection resumes an earlier one and has not caught up yet, which its first
        # keep-alive shows.
        self._is_resuming = False
        # How often the cache was cleared: an answer to a question from before that is not cached.
        self._connection = 0
        self._first_revision = 0
        self._revision = 0
        self._watching: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._watching = asyncio.create_task(self._watch(), name="revocations")
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)
        self._heard_at = _NEVER
        self._cache.clear()
        await self._lookups.close()

    @property
    def revision(self) -> int:
        """The revision up to which the feed of revocations was heard."""
        return self._revision

    @property
    def hears(self) -> bool:
        """Whether the feed is heard, so that cached answers may be used."""
        return self._monotonic() - self._heard_at < self._silent_seconds

    def __len__(self) -> int:
        """How many tokens are cached."""
        return len(self._cache)

    async def check(
        self,
        token: Secret,
        requirement: Requirement = LIVE,
        *,
        workspace_id: str | None = None,
        min_revision: int = 0,
        seconds: float | None = None,
    ) -> Principal:
        """Whom the token speaks for. `workspace_id` None accepts a token of any workspace.

        `min_revision` is that of a revocation's answer, which the check is then sure to know.
        Raises Rejected when the token is not accepted, and RpcFailure: UNAVAILABLE when it cannot
        be checked now, DEADLINE_EXCEEDED when that took longer than `seconds`.
        """
        known = self.known(token, requirement, workspace_id=workspace_id, min_revision=min_revision)
        if known is not None:
            return known
        try:
            async with asyncio.timeout(seconds):
                principal = await self._ask(token, min_revision)
        except TimeoutError:
            raise _too_late() from None
        return require(principal, requirement, workspace_id)

    def known(
        self,
        token: Secret,
        requirement: Requirement = LIVE,
        *,
        workspace_id: str | None = None,
        min_revision: int = 0,
    ) -> Principal | None:
        """`check` from the cache alone; None when the registry must be asked. For any thread."""
        known = self._entries.get(_digest(token))
        if known is None or known.until <= self._now():
            return None
        if self._monotonic() - self._heard_at >= self._silent_seconds:
            return None
        if min_revision > self._revision and min_revision > known.revision:
            return None
        return require(known.principal, requirement, workspace_id)

    async def _ask(self, token: Secret, min_revision: int) -> Principal:
        if _is_junk(token):
            raise Rejected(Rejection.TOKEN_INVALID)
        connection = self._connection if self.hears else 0
        found = await self._found(token, connection)
        if found.revision < min_revision:
            # This joined a question that was asked before that revocation; ask once more.
            found = await self._found(token, connection)
            if found.revision < min_revision:
                raise _unavailable("the registry has not come to that revision yet")
        if found.principal is None:
            raise Rejected(Rejection.TOKEN_INVALID)
        return found.principal

    async def _found(self, token: Secret, connection: int) -> Found:
        try:
            return await self._lookups.ask(_digest(token), token, connection)
        except RpcFailure as failure:
            # Whatever failed, it says nothing about the token.
            _log.warning("a token could not be checked: %r", failure)
            raise _unavailable("the token cannot be checked at the moment") from failure

    def _remember(self, lookup: Lookup, found: Found) -> None:
        principal = found.principal
        if principal is None or lookup.is_outdated(found) or found.revision < self._first_revision:
            return
        if lookup.connection == 0 or lookup.connection != self._connection or not self.hears:
            return
        now = self._now()
        until = min(now + self._max_age_seconds, principal.expires_at or math.inf)
        if until > now:
            self._cache.put(lookup.digest, Known(principal, found.revision, until))

    async def _watch(self) -> None:
        backoff = Backoff(first=0.1, longest=_LONGEST_RECONNECT_SECONDS)
        while True:
            try:
                await self._follow(backoff)
            except grpc.RpcError as error:
                _log.warning("lost the feed of revocations: %r", failure_from(error))
            except TimeoutError:
                _log.warning("the feed of revocations is silent; connecting anew")
            await asyncio.sleep(backoff.seconds())

    async def _follow(self, backoff: Backoff) -> None:
        """One connection to the feed, until it breaks off or falls silent."""
        # With revision 0 there is nothing to resume: the feed then sends only what is new.
        self._is_resuming = self.hears and self._revision > 0
        if not self._is_resuming:
            self._heard_at = _NEVER
        after_revision = self._revision if self._is_resuming else 0
        stream = self._stub.WatchRevocations(
            pb.WatchRevocationsRequest(after_revision=after_revision)
        )
        try:
            while True:
                async with asyncio.timeout(self._silent_seconds):
                    message = await stream.read()
                if message is grpc.aio.EOF:
                    return
                backoff.reset()
                self._hear(message)
        finally:
            stream.cancel()

    def _hear(self, message: pb.WatchRevocationsResponse) -> None:
        if message.reset or not self.hears:
            self._start_anew(message.revision)
        self._revision = max(self._revision, message.revision)
        subject = message.WhichOneof("subject")
        if subject == "token_sha256":
            digest = bytes.fromhex(message.token_sha256)
            self._cache.drop(digest)
            self._lookups.token_revoked(digest, message.revision)
        elif subject == "workspace_id":
            self._cache.drop_workspace(message.workspace_id)
            self._lookups.workspace_revoked(message.workspace_id, message.revision)
        else:
            self._is_resuming = False
        # While the feed repeats what was missed, later revocations are not known yet: not heard.
        if not self._is_resuming:
            self._heard_at = self._monotonic()

    def _start_anew(self, revision: int) -> None:
        self._cache.clear()
        self._connection += 1
        self._first_revision = self._revision = revision
        self._is_resuming = False


def _digest(token: Secret) -> bytes:
    return hashlib.sha256(token.reveal().encode("utf-8", "surrogatepass")).digest()


def _is_junk(token: Secret) -> bool:
    """Whether the text cannot be a token, and is not worth a call."""
    text = token.reveal()
    if not text or not text.isascii() or len(text) > _LONGEST_TOKEN:
        return True
    return is_token_shaped(text[:4]) and not is_well_formed(token)


def _too_late() -> RpcFailure:
    return RpcFailure(
        grpc.StatusCode.DEADLINE_EXCEEDED,
        DOMAIN,
        "ERROR_REASON_DEADLINE",
        "the token could not be checked within the time that the call had left",
    )


def _unavailable(message: str) -> RpcFailure:
    return RpcFailure(
        grpc.StatusCode.UNAVAILABLE, DOMAIN, "ERROR_REASON_REGISTRY_UNAVAILABLE", message
    )
