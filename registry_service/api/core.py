"""How the servicers reach the core: commands on the pool, hot ones through a coalescer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Concatenate, Final, ParamSpec, TypeVar

from agentworkspace.rpc import calls
from registry_service.api.announced import AnnouncedUrls
from registry_service.api.throttle import Throttle
from registry_service.batching import Coalescer, RunBatch
from registry_service.blocking import BlockingPool
from registry_service.commands import (
    authenticated_registers,
    heartbeats,
    mint_tokens_batch,
    validate_tokens,
)
from registry_service.commands.heartbeats import Heartbeat, Heartbeaten
from registry_service.commands.issued import Issued, NewSecret
from registry_service.commands.mint_token import MintToken
from registry_service.commands.register import Register, Registered
from registry_service.commands.validate_tokens import ValidatedTokens, ValidateToken
from registry_service.domain.refusals import Reason, Refusal
from registry_service.domain.standing import BootstrapPolicy
from registry_service.metrics import RegistryMetrics
from registry_service.storage.engine import STATEMENT_TIMEOUT
from registry_service.storage.faults import attempt
from registry_service.storage.store import Store
from registry_service.write_behind import LastUses, RefusedLedger

# A transaction takes a few milliseconds at best.
LEAST_SECONDS: Final = 0.005

P = ParamSpec("P")
T = TypeVar("T")
Item = TypeVar("Item")
Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What the settings decide about answers."""

    bootstrap_policy: BootstrapPolicy
    heartbeat_interval: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Randomness and clock, which only the composition root makes."""

    new_secret: NewSecret
    new_id: Callable[[], str]
    # Seconds of a clock that never goes back.
    monotonic: Callable[[], float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Core:
    """What the servicers of one process share."""

    store: Store
    pool: BlockingPool
    rules: Rules
    sources: Sources
    urls: AnnouncedUrls
    throttle: Throttle
    metrics: RegistryMetrics
    last_uses: LastUses
    refused: RefusedLedger
    hot: HotCalls

    async def run(
        self, command: Callable[Concatenate[Store, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run a command on the pool, within what is left of the current call's time."""

        def work() -> T:
            # Looked at on the thread, because the call may have waited for one.
            left = _time_left()
            # The connection's own limit costs nothing; a shorter one costs a round trip.
            store = self.store if left >= STATEMENT_TIMEOUT else self.store.within(left)
            return attempt(partial(command, store, *args, **kwargs))

        _seconds_left()
        return await self.pool.run(work)

    async def ask(self, queue: Coalescer[Item, Answer], item: Item) -> Answer:
        """Let a hot call share a batch."""
        _seconds_left()
        return await queue.ask(item)


def _time_left() -> timedelta:
    return timedelta(seconds=min(_seconds_left(), STATEMENT_TIMEOUT.total_seconds()))


def _seconds_left() -> float:
    """What is left of the current call's time. Refusal DEADLINE when nothing can be done in it:
    a caller that will not hear the answer should find nothing changed.
    """
    seconds = calls.current().remaining()
    if seconds < LEAST_SECONDS:
        raise Refusal(Reason.DEADLINE, "too little time is left to begin; nothing was changed")
    return seconds


class HotCalls:
    """The calls that come by the thousand: what waits together is answered together."""

    def __init__(
        self,
        *,
        store: Store,
        pool: BlockingPool,
        new_secret: NewSecret,
        metrics: RegistryMetrics,
        max_batch: int,
        max_waiting: int,
    ) -> None:
        def coalescer(name: str, run: RunBatch[Item, Answer]) -> Coalescer[Item, Answer]:
            made = Coalescer(
                run,
                pool=pool,
                max_batch=max_batch,
                max_waiting=max_waiting,
                observe=metrics.batch_observer(name),
            )
            metrics.watch_queue(name, lambda: made.waiting)
            return made

        self.validations: Coalescer[ValidateToken, ValidatedTokens] = coalescer(
            "validate",
            lambda questions: attempt(partial(validate_tokens.run_each, store, questions)),
        )
        self.heartbeats: Coalescer[Heartbeat, Heartbeaten] = coalescer(
            "heartbeat", lambda commands: attempt(partial(heartbeats.run, store, commands))
        )
        self.registers: Coalescer[Register, Registered | None] = coalescer(
            "register",
            lambda commands: attempt(partial(authenticated_registers.run, store, commands)),
        )
        self.mints: Coalescer[MintToken, Issued] = coalescer(
            "mint",
            lambda commands: attempt(
                partial(mint_tokens_batch.run, store, commands, new_secret=new_secret)
            ),
        )
