"""How the servicers run commands: most on the thread pool, frequent ones in shared batches.

A *line* is a direct database connection with prepared statements (`storage.lines`); it answers
the commonest questions without a thread.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Concatenate, Final, ParamSpec, TypeVar

from agentworkspace.core.ids import WorkspaceId
from agentworkspace.core.secret import Secret
from agentworkspace.server.throttle import Throttle
from agentworkspace.service.batches import Batches
from agentworkspace.service.coalescer import Coalescer
from agentworkspace.service.commanding import Commanding
from agentworkspace.service.name_resolution import PublicUrls
from registry_service.commands import (
    admit_workspaces,
    authenticated_registers,
    begin_incarnations,
    evidence,
    first_registers,
    heartbeats,
    mint_tokens_batch,
    validate_tokens,
)
from registry_service.commands.admit_workspace import AdmittedWorkspace, AdmitWorkspace
from registry_service.commands.begin_incarnation import BeginIncarnation, BegunIncarnation
from registry_service.commands.heartbeats import Heartbeat, Heartbeaten
from registry_service.commands.issued import Issued, NewSecret
from registry_service.commands.mint_token import MintToken
from registry_service.commands.register import Register, Registered
from registry_service.commands.validate_tokens import ValidatedTokens, ValidateToken
from registry_service.domain.liveness import half_patience
from registry_service.domain.standing import BootstrapPolicy
from registry_service.domain.tokens import TokenKind
from registry_service.metrics import RegistryMetrics
from registry_service.storage import checks, steady
from registry_service.storage.checks import Checked
from registry_service.storage.lines import LineDown, Lines
from registry_service.storage.registrations import Heard
from registry_service.storage.steady import Box
from registry_service.storage.store import Store
from registry_service.workers.write_behind import LastHeard, LastUses, RefusedLedger

# How many lines there are: one for single checks, one for heartbeats, the others for calls that
# check many tokens.
LINES: Final = 4

# After an outage a whole fleet sends its first Registers. Two batches run at once, because each
# spends more time in the database than here. They are small, because every box of a batch waits
# until the whole batch is done.
FIRST_LANES: Final = 2
FIRST_REGISTERS: Final = 64

# The SHA-256 of each presented token, in order; None for a text that cannot be a token.
Hashes = Sequence[bytes | None]

P = ParamSpec("P")
Item = TypeVar("Item")
Answer = TypeVar("Answer")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """The settings on which answers depend."""

    bootstrap_policy: BootstrapPolicy
    heartbeat_interval: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Randomness and the clock; only the composition root makes them."""

    new_secret: NewSecret
    new_id: Callable[[], str]
    # Seconds, by a clock that never goes back.
    monotonic: Callable[[], float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Core(Commanding[Store]):
    """What the servicers of one process share."""

    rules: Rules
    sources: Sources
    urls: PublicUrls
    throttle: Throttle
    metrics: RegistryMetrics
    last_uses: LastUses
    last_heard: LastHeard
    refused: RefusedLedger
    hot: HotCalls

    async def share(
        self,
        queue: Coalescer[Item, Answer | None],
        alone: Callable[Concatenate[Store, Item, P], Result],
        item: Item,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> Answer | Result:
        """Answer `item` in a batch; if the batch answers None, run the command `alone` for it."""
        answer = await self.ask(queue, item)
        if answer is not None:
            return answer
        return await self.run(alone, item, *args, **kwargs)

    async def validate(self, question: ValidateToken) -> ValidatedTokens:
        """Validate one token: over a line if it was used before and is live, which writes nothing;
        otherwise by the whole command on a thread.
        """
        hashes = (evidence.hash_of(question.token),)
        found = await self._ask_a_line(self.hot.known, hashes)
        if found is None:
            return await self.ask(self.hot.validations, question)
        (answer,) = validate_tokens.answer_known((question,), hashes, found)
        if answer is None:
            return await self.ask(self.hot.unknown, question)
        return ValidatedTokens((answer,), found.revision, found.now)

    async def is_in_use(self, token: Secret | None, workspace_id: WorkspaceId) -> bool:
        """Whether a line knows this as a live, used instance token of the workspace. False means
        only that no line could say so. Changes nothing.
        """
        item = evidence.hash_of(token)
        checked = await self._ask_a_line(self.hot.known, (item,)) if item else None
        found = checked.by_hash.get(item) if checked and item else None
        return (
            found is not None
            and found.kind is TokenKind.INSTANCE
            and found.workspace_id == workspace_id
        )

    async def heartbeat(self, command: Heartbeat) -> Heartbeaten:
        """Answer one heartbeat. One that says nothing new is answered over a line and written
        later; any other, and every one while no line is open, is run on a thread.
        """
        answer = None
        box = await self._box(command)
        if box is not None:
            answer = heartbeats.answer_steady(command, box)
        if answer is None:
            answer = await self.ask(self.hot.heartbeats, command._replace(seen=box))
        elif box is not None:
            self.last_heard.note(box.workspace_id, Heard(box.time, box.incarnation))
        if answer.token_id is not None:
            self.last_uses.note(answer.token_id, answer.time)
        return answer

    async def _box(self, command: Heartbeat) -> Box | None:
        """What a line knows of the box that sends this; None when no line could tell."""
        item = evidence.hash_of(command.bearer)
        if item is None or self.hot.lines.are_down:
            return None
        try:
            box = (await self.hot.boxes.ask(item)).get(item)
        except LineDown:
            return None
        return box if box and box.workspace_id == command.workspace_id else None

    async def validate_many(self, questions: Sequence[ValidateToken]) -> ValidatedTokens:
        """The same as `validate`, for all questions of one call; answers come in their order."""
        hashes = [evidence.hash_of(question.token) for question in questions]
        found = await self._ask_a_line(self.hot.many_known, hashes)
        if found is None:
            return await self.run(validate_tokens.run, questions)
        answers = validate_tokens.answer_known(questions, hashes, found)
        unknown = [place for place, answer in enumerate(answers) if answer is None]
        if unknown:
            asked = await self.run(
                validate_tokens.run, [questions[place] for place in unknown], known_first=False
            )
            for place, answer in zip(unknown, asked.answers, strict=True):
                answers[place] = answer
        settled = tuple(answer for answer in answers if answer is not None)
        return ValidatedTokens(settled, found.revision, found.now)

    async def _ask_a_line(
        self, queue: Coalescer[Hashes, Checked], hashes: Hashes
    ) -> Checked | None:
        """What a line knows of these hashes; None when no line is open."""
        if self.hot.lines.are_down:
            return None
        try:
            return await queue.ask(hashes)
        except LineDown:
            return None


async def _known(lines: Lines, questions: Sequence[Hashes]) -> Sequence[Checked]:
    """Ask for all in one statement; everybody gets the whole answer and looks up its own tokens."""
    wanted = (item for hashes in questions for item in hashes if item is not None)
    found = checks.checked(await lines.ask(checks.KNOWN, checks.parameters(wanted)))
    return [found] * len(questions)


async def _boxes(
    lines: Lines, younger_than: timedelta, hashes: Sequence[bytes]
) -> Sequence[dict[bytes, Box]]:
    """Ask for all in one statement; everybody gets the whole answer and looks up its own box."""
    parameters = steady.parameters(hashes, younger_than=younger_than)
    found = steady.beating(await lines.ask(steady.BEATING, parameters))
    return [found] * len(hashes)


class HotCalls:
    """The queues of the calls that come by the thousand: those that wait together share a batch."""

    def __init__(
        self,
        batches: Batches,
        *,
        store: Store,
        lines: Lines,
        heartbeat_interval: timedelta,
        new_secret: NewSecret,
    ) -> None:
        self.lines = lines
        on_line = partial(_known, lines)
        self.known: Coalescer[Hashes, Checked] = batches.queue("known", on_line)
        # Apart from `known`, so that a call about one token does not wait for one about a thousand.
        self.many_known: Coalescer[Hashes, Checked] = batches.queue(
            "many known", on_line, most=1, lanes=LINES - 2
        )
        self.boxes: Coalescer[bytes, dict[bytes, Box]] = batches.queue(
            "known box", partial(_boxes, lines, half_patience(heartbeat_interval))
        )
        self.validations: Coalescer[ValidateToken, ValidatedTokens] = batches.on_thread(
            "validate", partial(validate_tokens.run_each, store)
        )
        # Tokens that a line did not know: never used yet, dead, or unknown.
        self.unknown: Coalescer[ValidateToken, ValidatedTokens] = batches.on_thread(
            "unknown", partial(validate_tokens.run_each, store, known_first=False)
        )
        self.heartbeats: Coalescer[Heartbeat, Heartbeaten] = batches.on_thread(
            "heartbeat", partial(heartbeats.run, store)
        )
        self.registers: Coalescer[Register, Registered | None] = batches.on_thread(
            "register", partial(authenticated_registers.run, store)
        )
        self.first_registers: Coalescer[Register, Registered | None] = batches.on_thread(
            "first register",
            partial(first_registers.run, store, new_secret=new_secret),
            most=FIRST_REGISTERS,
            lanes=FIRST_LANES,
        )
        self.admissions: Coalescer[AdmitWorkspace, AdmittedWorkspace | None] = batches.on_thread(
            "admit", partial(admit_workspaces.run, store, new_secret=new_secret)
        )
        self.launches: Coalescer[BeginIncarnation, BegunIncarnation | None] = batches.on_thread(
            "begin", partial(begin_incarnations.run, store, new_secret=new_secret)
        )
        self.mints: Coalescer[MintToken, Issued] = batches.on_thread(
            "mint", partial(mint_tokens_batch.run, store, new_secret=new_secret)
        )
