"""How much of the edge's capacity one caller, and one tenant, may hold at a time.

This concerns callers of the credentials file only; boxes are many, and the edge does not know them
apart. Callers with the same set of tenants share the limit per tenant. Nothing is locked, because
only the event loop touches it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from agentworkspace.core.caller import Caller
from agentworkspace.rpc.errors import RpcFailure

# Callers come and go with the credentials file; beyond this many the idle ones are forgotten.
_MOST_CALLERS: Final = 10_000

# (whose: "caller" or "tenant", what: "calls" or "streams", the limit) -> the failure to raise.
Refused = Callable[[str, str, int], RpcFailure]


@dataclass(frozen=True, slots=True, kw_only=True)
class ShareLimits:
    """How many calls and streams may run at once."""

    calls_per_caller: int = 512
    calls_per_tenant: int = 256
    streams_per_caller: int = 512
    streams_per_tenant: int = 256


class _Counts:
    __slots__ = ("calls", "streams")

    def __init__(self) -> None:
        self.calls = 0
        self.streams = 0


class Share:
    """What one caller holds; `tenants` is shared by all callers with the same tenants."""

    __slots__ = ("own", "tenants")

    def __init__(self, tenants: _Counts | None) -> None:
        self.own = _Counts()
        self.tenants = tenants

    def leave(self) -> None:
        self.own.calls -= 1
        if self.tenants is not None:
            self.tenants.calls -= 1

    def leave_stream(self) -> None:
        self.own.streams -= 1
        if self.tenants is not None:
            self.tenants.streams -= 1


class Shares:
    """Counts the running calls and streams of every caller, and refuses those beyond the limits."""

    def __init__(self, limits: ShareLimits, refused: Refused) -> None:
        self._limits = limits
        self._refused = refused
        self._by_caller: dict[Caller, Share] = {}
        self._by_tenants: dict[frozenset[str], _Counts] = {}

    def enter(self, caller: Caller) -> Share:
        """Count one more call; the caller of this calls `leave` on the share when it ends.

        RpcFailure when the caller's or its tenants' share is used up.
        """
        share, limits = self._by_caller.get(caller) or self._new(caller), self._limits
        own, tenants = share.own, share.tenants
        if own.calls >= limits.calls_per_caller:
            raise self._refused("caller", "calls", limits.calls_per_caller)
        if tenants is not None:
            if tenants.calls >= limits.calls_per_tenant:
                raise self._refused("tenant", "calls", limits.calls_per_tenant)
            tenants.calls += 1
        own.calls += 1
        return share

    def enter_stream(self, caller: Caller) -> Share:
        """The same as `enter` for a stream, which ends with `leave_stream`."""
        share, limits = self._by_caller.get(caller) or self._new(caller), self._limits
        own, tenants = share.own, share.tenants
        if own.streams >= limits.streams_per_caller:
            raise self._refused("caller", "streams", limits.streams_per_caller)
        if tenants is not None:
            if tenants.streams >= limits.streams_per_tenant:
                raise self._refused("tenant", "streams", limits.streams_per_tenant)
            tenants.streams += 1
        own.streams += 1
        return share

    def _new(self, caller: Caller) -> Share:
        if len(self._by_caller) >= _MOST_CALLERS:
            self._forget_idle()
        tenants = None
        if caller.tenants is not None:
            tenants = self._by_tenants.setdefault(caller.tenants, _Counts())
        share = self._by_caller[caller] = Share(tenants)
        return share

    def _forget_idle(self) -> None:
        self._by_caller = {
            caller: share
            for caller, share in self._by_caller.items()
            if share.own.calls or share.own.streams
        }
        kept = {caller.tenants for caller in self._by_caller}
        self._by_tenants = {
            tenants: counts for tenants, counts in self._by_tenants.items() if tenants in kept
        }
