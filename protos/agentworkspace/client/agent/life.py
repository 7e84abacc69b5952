"""What a box's client does next, as pure decisions: no network, no clock, no disk, no thread.

`AgentLife.steps()` is a generator. It yields one step, and whoever drives it (the asyncio client,
the blocking client or a test) performs the step and sends back the result.

The rules it keeps:
- A new secret is saved, unless it can be derived again, before the call that makes it a token.
- One registration keeps its request_id and its secret, however often it is repeated.
- Register comes before the first heartbeat, and a token of an earlier launch is never used.
- Whatever the registry answers, the client tries again, except after STOP.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import replace
from typing import Final

import grpc

from agentworkspace.client.agent.launch import Launch
from agentworkspace.client.agent.memory import Remembered
from agentworkspace.client.agent.steps import (
    Admission,
    Answer,
    CallHeartbeat,
    CallRegister,
    NextAction,
    Recall,
    Save,
    Step,
    Steps,
    Stopped,
    Wait,
)
from agentworkspace.core.backoff import LONGEST_SECONDS, Backoff
from agentworkspace.core.refusal import Recovery
from agentworkspace.core.secret import Secret
from agentworkspace.core.token_format import derive_instance_token, sha256_hex
from agentworkspace.rpc.errors import RpcFailure

HASH_IN_USE: Final = "ERROR_REASON_TOKEN_HASH_IN_USE"
REQUEST_ID_REUSED: Final = "ERROR_REASON_REQUEST_ID_REUSED"
# Heartbeats come a little early, never late, and those of many boxes not at once.
_EARLY_SHARE: Final = 0.1
_SHORTEST_INTERVAL_SECONDS: Final = 0.05


class AgentLife:
    """The state of one box. `chance` returns random numbers in [0, 1)."""

    def __init__(
        self,
        launch: Launch,
        *,
        new_secret: Callable[[], Secret],
        new_request_id: Callable[[], str],
        chance: Callable[[], float],
    ) -> None:
        self._ticket = launch.ticket
        self._api_token = launch.api_token
        self._derived = _derive(launch)
        self._new_secret = new_secret
        self._new_request_id = new_request_id
        self._chance = chance
        self._own = Remembered(ticket_sha256=sha256_hex(launch.ticket) if launch.ticket else "")
        self._recalled = False
        # Whether `_own` holds what the launch cannot derive again, and is not saved yet.
        self._unsaved = False
        # The token before `held`. It is valid until `held` is used for the first time, and lets the
        # box back in if `held` is revoked before that.
        self._previous: Secret | None = None
        # Counts up when a bearer was refused, so that `_presented` tries the next of the secrets.
        self._turn = 0
        self._rotating = False
        self._registering = False
        self.admission: Admission | None = None
        # Counts admissions, so that whoever asked for a registration sees that it took place.
        self.admissions = 0

    @property
    def bearer(self) -> Secret | None:
        """The token by which other services know this box; None before the first admission."""
        return self._own.held if self.admission is not None else None

    def request_rotation(self) -> None:
        """Change the token at the next heartbeat."""
        self._rotating = True

    def request_registration(self) -> None:
        """Register at the next step, as if the answer to a heartbeat had been REGISTER."""
        self._registering = True

    def steps(self) -> Steps:
        """Steps without an end; raises Stopped when the registry says STOP."""
        in_circles = self._backoff()
        while True:
            yield from self._get_in()
            went_well = yield from self._stay_in()
            if went_well:
                in_circles.reset()
            # Do not spin when the registry asks for another registration right after each one.
            yield Wait(in_circles.seconds())

    def _recall(self) -> Steps:
        """Load what is remembered, again and again until that works.

        A box whose secret is derived from its launch can do without, and makes only one attempt.
        """
        backoff = self._backoff()
        while not self._recalled:
            answer = yield Recall()
            if not isinstance(answer, OSError):
                self._recalled = True
                if isinstance(answer, Remembered) and self._is_of_this_launch(answer):
                    self._own = replace(answer, ticket_sha256=self._own.ticket_sha256)
            elif self._derived is not None:
                return
            else:
                # Do not register with a new secret: the registry may know the box by the old one.
                yield Wait(backoff.seconds(), f"cannot read the state file: {answer}")

    def _is_of_this_launch(self, found: Remembered) -> bool:
        return not self._own.ticket_sha256 or found.ticket_sha256 == self._own.ticket_sha256

    def _get_in(self) -> Steps:
        backoff = self._backoff()
        hash_was_free = True
        while True:
            yield from self._recall()
            self._have_a_secret()
            yield from self._keep()
            answer = yield self._register()
            if isinstance(answer, Admission):
                yield from self._admitted(answer)
                return
            failure = _failure(answer)
            self._learn(failure)
            if failure.reason == HASH_IN_USE and hash_was_free:
                hash_was_free = False  # the next secret is fresh: no need to wait
                continue
            yield Wait(backoff.seconds(failure.retry_after), f"not admitted: {failure}")

    def _stay_in(self) -> Generator[Step, Answer, bool]:
        """Send heartbeats until told to register; returns whether at least one went well."""
        interval = self._interval()
        backoff = self._backoff(longest=min(LONGEST_SECONDS, interval))
        went_well = False
        while True:
            if self._registering:
                self._registering = False
                yield from self._get_in()
            if self._rotating:
                yield from self._rotate()
            answer = yield CallHeartbeat(self._held())
            if answer is NextAction.NONE:
                went_well = True
                self._previous = None
                backoff.reset()
                yield Wait(interval * (1.0 - _EARLY_SHARE * self._chance()))
            elif answer is NextAction.REGISTER:
                return went_well
            elif answer is NextAction.STOP:
                yield from self._ask_why()
            else:
                failure = _failure(answer)
                _stop_if_told(failure)
                if _asks_to_register(failure):
                    return went_well
                because = f"heartbeat failed: {failure}"
                yield Wait(backoff.seconds(failure.retry_after), because)

    def _ask_why(self) -> Steps:
        """Raise Stopped, if possible with a reason.

        A heartbeat's STOP carries no reason, but the refusal of a registration does: so register
        once, and stop whatever the answer is.
        """
        self._have_a_secret()
        answer = yield self._register()
        if isinstance(answer, RpcFailure):
            _stop_if_told(answer)
        raise Stopped("NEXT_ACTION_STOP", "the answer to a heartbeat was STOP")

    def _rotate(self) -> Steps:
        """One attempt: heartbeats go on with the old token until the new one is admitted."""
        if self._own.candidate is None:
            self._begin(self._new_secret())
        yield from self._keep()
        answer = yield self._register()
        if isinstance(answer, Admission):
            yield from self._admitted(answer)
            return
        failure = _failure(answer)
        _stop_if_told(failure)
        if failure.reason == HASH_IN_USE:
            self._begin(self._new_secret())
        elif failure.reason == REQUEST_ID_REUSED:
            self._begin(self._own.candidate)

    def _have_a_secret(self) -> None:
        own = self._own
        if own.candidate is None and own.held is None:
            if self._derived is None:
                self._begin(self._new_secret())
            else:
                # It need not be saved: the same launch derives the same secret.
                self._own = replace(own, candidate=self._derived, request_id=self._new_request_id())
        elif not own.request_id:
            self._own = replace(own, request_id=self._new_request_id())

    def _begin(self, candidate: Secret | None) -> None:
        """Begin another registration, which is to be saved before the first call for it."""
        self._own = replace(self._own, candidate=candidate, request_id=self._new_request_id())
        self._unsaved = candidate != self._derived

    def _keep(self) -> Steps:
        backoff = self._backoff()
        while self._unsaved:
            answer = yield Save(self._own)
            if isinstance(answer, OSError):
                yield Wait(backoff.seconds(), f"cannot write the state file: {answer}")
            else:
                self._unsaved = False

    def _register(self) -> CallRegister:
        return CallRegister(
            bearer=self._presented(),
            ticket=self._ticket,
            token_sha256=sha256_hex(self._own.candidate or self._held()),
            request_id=self._own.request_id,
        )

    def _presented(self) -> Secret:
        """The bearer for the next registration: the held token first, then the others in turn.

        The candidate is among them because it is a token already when an answer was lost.
        """
        known = (self._own.held, self._api_token, self._own.candidate, self._previous)
        choices = [each for each in known if each is not None]
        return choices[self._turn % len(choices)]

    def _admitted(self, admission: Admission) -> Steps:
        own, self._turn = self._own, 0
        was_kept = own.candidate is not None and own.candidate != self._derived
        if own.candidate is not None:
            self._rotating = False
            self._previous = own.held
        self._own = replace(own, held=own.candidate or own.held, candidate=None, request_id="")
        self.admission = admission
        self.admissions += 1
        if was_kept:
            # Not repeated when it fails: the saved candidate leads here again after a restart.
            yield Save(self._own)

    def _learn(self, failure: RpcFailure) -> None:
        """Change the secrets as the refusal asks for. Raises Stopped for STOP."""
        _stop_if_told(failure)
        if failure.reason == HASH_IN_USE:
            # The bearer was accepted, but the new secret's hash was used by a token before.
            if self._presented() != self._api_token:
                self._own = replace(self._own, held=self._presented())
            self._begin(self._new_secret())
            self._turn = 0
        elif failure.reason == REQUEST_ID_REUSED:
            self._begin(self._own.candidate)
        elif _asks_to_register(failure):
            self._turn += 1

    def _held(self) -> Secret:
        held = self._own.held
        if held is None:
            raise AssertionError("a box without a candidate holds a token")
        return held

    def _interval(self) -> float:
        admission = self.admission
        seconds = admission.heartbeat_interval.total_seconds() if admission else 0.0
        return max(seconds, _SHORTEST_INTERVAL_SECONDS)

    def _backoff(self, *, longest: float = LONGEST_SECONDS) -> Backoff:
        return Backoff(longest=longest, chance=self._chance)


def _derive(launch: Launch) -> Secret | None:
    if launch.ticket is None or launch.incarnation is None:
        return None
    try:
        return derive_instance_token(launch.ticket, launch.workspace_id, launch.incarnation)
    except ValueError:
        return None  # the ticket has a format of its issuer's; a random secret is used instead


def _failure(answer: Answer) -> RpcFailure:
    if isinstance(answer, RpcFailure):
        return answer
    raise TypeError(f"a call was answered with {type(answer).__name__}")


def _stop_if_told(failure: RpcFailure) -> None:
    if failure.recovery == Recovery.STOP:
        raise Stopped(failure.reason or failure.code.name, failure.message)


def _asks_to_register(failure: RpcFailure) -> bool:
    if failure.recovery in (Recovery.REGISTER, Recovery.RELAUNCH):
        return True
    # From a proxy, whose answers carry no recovery.
    return failure.code is grpc.StatusCode.UNAUTHENTICATED
