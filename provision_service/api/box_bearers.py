"""Checks a bearer token that names no configured caller: is it some workspace's live token?"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import timedelta
from typing import Final, Protocol

from agentworkspace.core.refusal import Refusal, SharedReason
from agentworkspace.core.secret import Secret
from agentworkspace.rpc.calls import Call
from agentworkspace.service.thread_pool import BlockingPool
from provision_service.domain.registry_port import RegistryRefused

# For at most this long a revoked token still reads the catalogue, the same for everybody.
KEPT_SECONDS: Final = 10.0
_MOST_KEPT: Final = 10_000
_TIMEOUT: Final = timedelta(seconds=2)


class TokenCheck(Protocol):
    """The one question asked of the registry."""

    def is_workspace_token(self, *, token: Secret, timeout: timedelta) -> bool: ...


class BoxBearers:
    """Asks the registry, and remembers a yes by the token's hash. A no is never remembered:
    the token may be made a moment later. Used from one event loop.
    """

    def __init__(
        self, registry: TokenCheck, pool: BlockingPool, monotonic: Callable[[], float]
    ) -> None:
        self._registry = registry
        self._pool = pool
        self._monotonic = monotonic
        self._good_until: dict[bytes, float] = {}

    async def require(self, call: Call) -> None:
        """Raise CREDENTIAL_REJECTED unless the call has a caller or a live workspace token."""
        token = call.bearer
        if token is None:
            return
        digest = hashlib.sha256(token.reveal().encode("utf-8", "surrogatepass")).digest()
        now = self._monotonic()
        if self._good_until.get(digest, 0.0) > now:
            return
        if not await self._pool.run(self._is_live, token):
            raise Refusal(
                SharedReason.CREDENTIAL_REJECTED,
                "the presented credential is unknown or has expired",
            )
        if len(self._good_until) >= _MOST_KEPT:
            self._good_until.clear()
        self._good_until[digest] = now + KEPT_SECONDS

    def _is_live(self, token: Secret) -> bool:
        try:
            return self._registry.is_workspace_token(token=token, timeout=_TIMEOUT)
        except RegistryRefused:
            # The registry answered and refused to look the text up: no token has this form.
            return False
