"""How all servicers run their commands: on the thread pool, within the time of the call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Concatenate, Final, Generic, ParamSpec, TypeVar

from agentworkspace.core.refusal import Refusal, SharedReason
from agentworkspace.rpc import calls
from agentworkspace.service.coalescer import Coalescer
from agentworkspace.service.store import Store
from agentworkspace.service.store_faults import attempt
from agentworkspace.service.thread_pool import BlockingPool

# A transaction takes a few milliseconds at best, so with less time left none is begun.
LEAST_SECONDS: Final = 0.005

P = ParamSpec("P")
T = TypeVar("T")
Item = TypeVar("Item")
Answer = TypeVar("Answer")
S = TypeVar("S", bound=Store[Any])


@dataclass(frozen=True, slots=True, kw_only=True)
class Commanding(Generic[S]):
    """Runs commands. `store` raises STORE_UNAVAILABLE for as long as there is no store."""

    store: Callable[[], S]
    pool: BlockingPool

    async def run(
        self, command: Callable[Concatenate[S, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run a command on the pool, within what is left of the current call's time.

        Raises Refusal, also OVERLOADED and DEADLINE, or StoreFault.
        """

        def work() -> T:
            # Checked again on the thread, for which the call may have waited.
            require_time()
            store = self.store().within(calls.current().remaining)
            return attempt(partial(command, store, *args, **kwargs))

        require_time()
        return await self.pool.run(work)

    async def ask(self, queue: Coalescer[Item, Answer], item: Item) -> Answer:
        """Let a call share a batch."""
        require_time()
        return await queue.ask(item)

    async def ask_all(
        self, queue: Coalescer[Item, Answer | None], items: Sequence[Item]
    ) -> list[Answer | None]:
        """Let the items of one call share a batch. None for each that the batch did not answer, or
        could not; if that is all of them, what the first one met is raised.
        """
        require_time()
        answers = await queue.ask_all(items)
        failures = [each for each in answers if isinstance(each, BaseException)]
        if len(failures) == len(answers):
            raise failures[0]
        return [None if isinstance(each, BaseException) else each for each in answers]

    async def finish(
        self, command: Callable[Concatenate[S, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run the rest of a command of which something is stored by now. It is never turned away,
        and is run when its caller has left or its time is over, too: it alone can say what became
        of what is stored, or take it back.
        """
        store = self.store().within(calls.current().remaining)
        return await self.pool.finish(attempt, partial(command, store, *args, **kwargs))


def require_time() -> None:
    """Raise Refusal DEADLINE when too little of the current call's time is left.

    A caller that would not hear the answer should find nothing changed.
    """
    if calls.current().remaining() < LEAST_SECONDS:
        raise Refusal(
            SharedReason.DEADLINE, "too little time is left to begin; nothing was changed"
        )
