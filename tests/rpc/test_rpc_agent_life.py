"""The decisions of a box, one at a time: what it presents, what it keeps, and when it stops."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timedelta
from itertools import count

import grpc
import pytest

from agentworkspace.client.agent.launch import Launch
from agentworkspace.client.agent.life import AgentLife
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
    StopCause,
    Stopped,
    Wait,
)
from agentworkspace.core.backoff import Backoff
from agentworkspace.core.refusal import Recovery
from agentworkspace.core.secret import Secret
from agentworkspace.core.token_format import TokenKind, derive_instance_token, new_token, sha256_hex
from agentworkspace.rpc.errors import RpcFailure

WORKSPACE = "3f0c6a52-6c39-4c3f-9a1d-6a7d4b9f5a10"
TICKET = new_token(TokenKind.TICKET)
DERIVED = derive_instance_token(TICKET, WORKSPACE, 3)
LAUNCHED = Launch(workspace_id=WORKSPACE, address="r:1", ticket=TICKET, incarnation=3)
BARE = Launch(workspace_id=WORKSPACE, address="r:1")
IN = Admission(outcome="BOOTSTRAPPED", incarnation=3, heartbeat_interval=timedelta(seconds=30))
FOREVER = range(200)


def refused(
    reason: str = "", recovery: Recovery = Recovery.RETRY, *, code: str = "UNAVAILABLE"
) -> RpcFailure:
    name = f"ERROR_REASON_{reason}" if reason else ""
    return RpcFailure(grpc.StatusCode[code], "", name, "no", recovery=recovery)


@dataclass
class Played:
    """A life whose secrets are s1, s2… and whose chance is always 0."""

    launch: Launch
    remembered: Remembered | OSError | None = None
    saved: list[Remembered] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        secrets, requests = count(1), count(1)
        self.life = AgentLife(
            self.launch,
            new_secret=lambda: Secret(f"s{next(secrets)}"),
            new_request_id=lambda: f"r{next(requests)}",
            chance=lambda: 0.0,
        )
        self.steps = self.life.steps()

    def next_call(self, answer: Answer = None) -> CallRegister | CallHeartbeat:
        """Send an answer and perform everything up to the next call."""
        while True:
            step: Step = self.steps.send(answer)
            match step:
                case CallRegister() | CallHeartbeat():
                    return step
                case Recall():
                    answer = self.remembered
                case Save():
                    self.saved.append(step.remembered)
                    answer = None
                case Wait():
                    self.waits.append(step.seconds)
                    answer = None

    def next_register(self, answer: Answer = None) -> CallRegister:
        call = self.next_call(answer)
        assert isinstance(call, CallRegister)
        return call

    def next_heartbeat(self, answer: Answer = None) -> CallHeartbeat:
        call = self.next_call(answer)
        assert isinstance(call, CallHeartbeat)
        return call


def test_with_a_ticket_the_token_is_derived_and_nothing_is_stored() -> None:
    box = Played(LAUNCHED)
    call = box.next_register()
    assert call.ticket == TICKET
    assert call.token_sha256 == sha256_hex(DERIVED)
    assert box.next_heartbeat(IN).bearer == DERIVED
    assert box.saved == []


def test_without_a_ticket_the_secret_is_stored_before_it_is_used() -> None:
    box = Played(BARE)
    call = box.next_register()
    assert call.token_sha256 == sha256_hex(Secret("s1"))
    assert box.saved == [Remembered(candidate=Secret("s1"), request_id=call.request_id)]
    assert box.next_heartbeat(IN).bearer == Secret("s1")
    assert box.saved[-1] == Remembered(held=Secret("s1"))


def test_a_secret_that_cannot_be_stored_is_not_used() -> None:
    box = Played(BARE)
    step = box.steps.send(None)
    step = box.steps.send(None)
    for _ in FOREVER:
        assert isinstance(step, Save)
        step = box.steps.send(OSError("disk full"))
        assert isinstance(step, Wait)
        step = box.steps.send(None)


def test_one_registration_keeps_its_request_id_and_its_secret() -> None:
    box = Played(BARE)
    first = box.next_register()
    for _ in range(5):
        again = box.next_register(refused("STORE_UNAVAILABLE"))
        assert again == first


def test_a_restarted_box_repeats_the_registration_it_had_begun() -> None:
    begun = Remembered(candidate=Secret("s0"), request_id="r0")
    call = Played(BARE, begun).next_register()
    assert (call.token_sha256, call.request_id) == (sha256_hex(Secret("s0")), "r0")


def test_a_restarted_box_presents_the_token_it_held() -> None:
    call = Played(BARE, Remembered(held=Secret("s0"))).next_register()
    assert (call.bearer, call.token_sha256) == (Secret("s0"), sha256_hex(Secret("s0")))


def test_a_token_of_an_earlier_launch_is_not_used_with_a_ticket() -> None:
    left_over = Remembered(held=Secret("old"), ticket_sha256=sha256_hex(Secret("old ticket")))
    box = Played(LAUNCHED, left_over)
    assert box.next_register().bearer == DERIVED
    assert box.next_heartbeat(IN).bearer == DERIVED


def test_a_token_made_for_this_very_ticket_is_used() -> None:
    own = Remembered(held=Secret("s0"), ticket_sha256=sha256_hex(TICKET))
    assert Played(LAUNCHED, own).next_register().bearer == Secret("s0")


def test_a_revoked_derived_token_is_followed_by_a_fresh_secret_at_once() -> None:
    box = Played(LAUNCHED)
    box.next_register()
    call = box.next_register(
        refused("TOKEN_HASH_IN_USE", Recovery.FIX_REQUEST, code="ALREADY_EXISTS")
    )
    assert box.waits == []
    assert call.token_sha256 == sha256_hex(Secret("s1"))
    assert call.bearer == DERIVED
    assert box.saved[-1].candidate == Secret("s1")
    assert box.next_heartbeat(IN).bearer == Secret("s1")


def test_hashes_in_use_again_and_again_do_not_spin() -> None:
    box = Played(BARE)
    box.next_register()
    for _ in range(10):
        box.next_register(refused("TOKEN_HASH_IN_USE", Recovery.FIX_REQUEST))
    assert len(box.waits) == 9


def test_a_reused_request_id_is_replaced_and_the_secret_kept() -> None:
    box = Played(BARE)
    first = box.next_register()
    second = box.next_register(refused("REQUEST_ID_REUSED", Recovery.FIX_REQUEST))
    assert second.request_id != first.request_id
    assert second.token_sha256 == first.token_sha256


@pytest.mark.parametrize("recovery", [each for each in Recovery if each is not Recovery.STOP])
@pytest.mark.parametrize("code", [each.name for each in grpc.StatusCode])
def test_nothing_but_stop_ends_a_box(recovery: Recovery, code: str) -> None:
    box = Played(BARE)
    box.next_register()
    for _ in FOREVER:
        box.next_register(refused("ANYTHING", recovery, code=code))
    box.next_heartbeat(IN)
    for _ in FOREVER:
        call = box.next_call(refused("ANYTHING", recovery, code=code))
        if isinstance(call, CallRegister):
            box.next_heartbeat(IN)
    assert max(box.waits) <= 60.0


def test_stop_ends_a_box_wherever_it_is_said() -> None:
    stop = refused("WORKSPACE_REMOVED", Recovery.STOP, code="FAILED_PRECONDITION")
    registering = Played(BARE)
    registering.next_register()
    with pytest.raises(Stopped, match="WORKSPACE_REMOVED"):
        registering.next_call(stop)
    beating = Played(BARE)
    beating.next_register()
    beating.next_heartbeat(IN)
    with pytest.raises(Stopped, match="WORKSPACE_REMOVED"):
        beating.next_call(stop)


@pytest.mark.parametrize(
    ("answer", "cause"),
    [
        (refused("INCARNATION_SUPERSEDED", Recovery.STOP), StopCause.REPLACED),
        (refused("WORKSPACE_SUSPENDED", Recovery.STOP), StopCause.SUSPENDED),
        (refused("WORKSPACE_REMOVED", Recovery.STOP), StopCause.RETIRED),
        (refused("STORE_UNAVAILABLE"), StopCause.UNKNOWN),
        (IN, StopCause.UNKNOWN),
    ],
)
def test_a_heartbeat_s_stop_is_asked_about_once_and_obeyed_in_any_case(
    answer: Answer, cause: StopCause
) -> None:
    box = Played(BARE)
    box.next_register()
    box.next_heartbeat(IN)
    assert box.next_register(NextAction.STOP).bearer == Secret("s1")
    with pytest.raises(Stopped) as caught:
        box.next_call(answer)
    assert caught.value.cause is cause
    assert str(caught.value).startswith(cause.value)
    assert box.waits == []


def test_a_registration_that_was_asked_for_comes_before_the_next_heartbeat() -> None:
    box = Played(BARE)
    box.next_register()
    box.next_heartbeat(IN)
    box.life.request_registration()
    again = box.next_register(NextAction.NONE)
    assert (again.bearer, again.token_sha256) == (Secret("s1"), sha256_hex(Secret("s1")))
    box.next_heartbeat(IN)
    assert box.life.admissions == 2
    box.next_heartbeat(NextAction.NONE)


def test_an_api_token_lets_in_and_never_becomes_the_box_s_own() -> None:
    box = Played(replace(BARE, api_token=Secret("api")))
    first = box.next_register()
    assert (first.bearer, first.token_sha256) == (Secret("api"), sha256_hex(Secret("s1")))
    used = refused("TOKEN_HASH_IN_USE", Recovery.FIX_REQUEST, code="ALREADY_EXISTS")
    second = box.next_register(used)
    assert (second.bearer, second.token_sha256) == (Secret("api"), sha256_hex(Secret("s2")))
    assert box.next_heartbeat(IN).bearer == Secret("s2")
    back = box.next_register(NextAction.REGISTER)
    assert back.bearer == Secret("s2")
    revoked = refused("BEARER_REJECTED", Recovery.RELAUNCH, code="UNAUTHENTICATED")
    assert box.next_register(revoked).bearer == Secret("api")


def test_a_heartbeat_that_says_register_leads_to_register_with_what_is_held() -> None:
    for said in (
        NextAction.REGISTER,
        refused("BEARER_REJECTED", Recovery.REGISTER, code="UNAUTHENTICATED"),
        refused("BEARER_REJECTED", Recovery.RELAUNCH, code="UNAUTHENTICATED"),
        refused(code="UNAUTHENTICATED"),
    ):
        box = Played(BARE)
        box.next_register()
        box.next_heartbeat(IN)
        assert box.next_register(said).bearer == Secret("s1")


def test_a_heartbeat_without_an_answer_is_repeated_with_the_same_token() -> None:
    box = Played(BARE)
    box.next_register()
    box.next_heartbeat(IN)
    for _ in range(20):
        box.next_heartbeat(refused("STORE_UNAVAILABLE"))
    assert max(box.waits) <= IN.heartbeat_interval.total_seconds()


def test_heartbeats_follow_the_interval_and_are_never_late() -> None:
    box = Played(BARE)
    box.next_register()
    box.next_heartbeat(IN)
    for _ in range(3):
        box.next_heartbeat(NextAction.NONE)
    assert box.waits == [30.0, 30.0, 30.0]


def test_register_and_heartbeat_that_contradict_each_other_do_not_spin() -> None:
    box = Played(BARE)
    box.next_register()
    for _ in range(12):
        box.next_heartbeat(IN)
        box.next_register(NextAction.REGISTER)
    assert box.waits == sorted(box.waits)
    assert box.waits[-1] == 30.0  # half of 60, at chance 0


def test_rotation_stores_the_new_secret_first_and_uses_it_at_once() -> None:
    box = Played(LAUNCHED)
    box.next_register()
    box.next_heartbeat(IN)
    box.life.request_rotation()
    call = box.next_register(NextAction.NONE)
    assert (call.bearer, call.token_sha256) == (DERIVED, sha256_hex(Secret("s1")))
    assert (box.saved[-1].held, box.saved[-1].candidate) == (DERIVED, Secret("s1"))
    assert box.next_heartbeat(IN).bearer == Secret("s1")
    assert box.next_heartbeat(NextAction.NONE).bearer == Secret("s1")


def test_heartbeats_go_on_with_the_old_token_while_a_rotation_fails() -> None:
    box = Played(LAUNCHED)
    box.next_register()
    box.next_heartbeat(IN)
    box.life.request_rotation()
    first = box.next_register(NextAction.NONE)
    assert box.next_heartbeat(refused("RATE_LIMITED")).bearer == DERIVED
    assert box.next_register(NextAction.NONE) == first


def test_a_fresh_token_revoked_before_its_first_use_gives_way_to_the_one_before_it() -> None:
    box = Played(LAUNCHED)
    box.next_register()
    box.next_heartbeat(IN)
    box.life.request_rotation()
    box.next_register(NextAction.NONE)
    relaunch = refused("BEARER_REJECTED", Recovery.RELAUNCH, code="UNAUTHENTICATED")
    assert box.next_heartbeat(IN).bearer == Secret("s1")
    assert box.next_register(relaunch).bearer == Secret("s1")
    assert box.next_register(relaunch).bearer == DERIVED
    call = box.next_register(refused("TOKEN_HASH_IN_USE", Recovery.FIX_REQUEST))
    assert (call.bearer, call.token_sha256) == (DERIVED, sha256_hex(Secret("s2")))
    assert box.next_heartbeat(IN).bearer == Secret("s2")


def test_once_the_fresh_token_was_used_the_one_before_it_is_forgotten() -> None:
    box = Played(LAUNCHED)
    box.next_register()
    box.next_heartbeat(IN)
    box.life.request_rotation()
    box.next_register(NextAction.NONE)
    box.next_heartbeat(IN)
    box.next_heartbeat(NextAction.NONE)
    relaunch = refused("BEARER_REJECTED", Recovery.RELAUNCH, code="UNAUTHENTICATED")
    presented = [box.next_register(relaunch).bearer for _ in range(2)]
    assert presented == [Secret("s1"), Secret("s1")]


def test_a_refused_bearer_makes_room_for_the_secret_whose_answer_was_lost() -> None:
    crashed = Remembered(held=Secret("old"), candidate=Secret("new"), request_id="r0")
    box = Played(BARE, crashed)
    assert box.next_register().bearer == Secret("old")
    relaunch = refused("BEARER_REJECTED", Recovery.RELAUNCH, code="UNAUTHENTICATED")
    assert box.next_register(relaunch).bearer == Secret("new")
    assert box.next_register(relaunch).bearer == Secret("old")


def test_back_off_doubles_with_jitter_up_to_a_minute() -> None:
    low, high = Backoff(chance=lambda: 0.0), Backoff(chance=lambda: 0.999999)
    lows = [low.seconds() for _ in range(10)]
    highs = [high.seconds() for _ in range(10)]
    assert lows == [0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]
    assert highs == pytest.approx([0.5, 1, 2, 4, 8, 16, 32, 60, 60, 60], rel=1e-5)


def test_a_hint_of_the_server_is_honoured_up_to_a_minute() -> None:
    assert Backoff(chance=lambda: 0.0).seconds(timedelta(seconds=7)) == 7.0
    assert Backoff(chance=lambda: 0.0).seconds(timedelta(minutes=45)) == 60.0
    assert Backoff(chance=lambda: 0.999).seconds(timedelta(minutes=45)) < 60.0
