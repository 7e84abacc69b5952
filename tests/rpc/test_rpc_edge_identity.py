"""Who gets in: credentials, roles, tokens, and what the servicer then knows."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest

from agentworkspace.rpc import calls
from agentworkspace.rpc.calls import Call
from agentworkspace.rpc.policy import Lane, Rule
from tests.rpc.echo_server import (
    COUNT,
    LAUNCH,
    LAUNCHER_SECRET,
    POLICY,
    SAY,
    VERIFIER_SECRET,
    Text,
    failure_of,
    serving,
    story,
    stream_failure_of,
)

StatusCode = grpc.StatusCode
BOX_ONLY = Rule(bearer_allowed=True, lane=Lane.AGENT)
CALLER_OR_TOKEN = Rule(roles=frozenset({"launcher"}), bearer_allowed=True, lane=Lane.AGENT)
ANYBODY_KNOWN = Rule(any_caller=True, bearer_allowed=True, lane=Lane.AGENT)


class Seen:
    """A behaviour that keeps the call it was given."""

    def __init__(self) -> None:
        self.calls: list[Call] = []

    async def __call__(self, request: Text, _context: Any) -> Text:
        self.calls.append(calls.current())
        return request

    def behaviour(self) -> Any:
        async def say(request: Text, context: Any) -> Text:
            return await self(request, context)

        return say


@story
async def test_a_call_without_a_credential_is_unauthenticated() -> None:
    async with serving() as parts:
        failure = await failure_of(parts.launch())
        blank = await failure_of(parts.launch(metadata=(("authorization", "Bearer "),)))
    for each in (failure, blank):
        assert each.code is StatusCode.UNAUTHENTICATED
        assert each.reason == "ERROR_REASON_CREDENTIAL_MISSING"


@pytest.mark.parametrize(
    "authorization",
    ["Bearer junk", "Basic bGF1bmNoZXItc2VjcmV0", f"Bearer {LAUNCHER_SECRET}x", "Bearer a b"],
)
@story
async def test_an_unknown_credential_is_unauthenticated(authorization: str) -> None:
    async with serving() as parts:
        failure = await failure_of(parts.launch(metadata=(("authorization", authorization),)))
    assert failure.code is StatusCode.UNAUTHENTICATED
    assert failure.reason == "ERROR_REASON_CREDENTIAL_REJECTED"


@story
async def test_two_different_credentials_name_nobody() -> None:
    async with serving() as parts:
        failure = await failure_of(
            parts.launch(
                metadata=(
                    ("authorization", f"Bearer {LAUNCHER_SECRET}"),
                    ("authorization", f"Bearer {VERIFIER_SECRET}"),
                )
            )
        )
    assert failure.reason == "ERROR_REASON_CREDENTIAL_REJECTED"


@story
async def test_a_known_caller_without_the_role_is_denied_and_told_which() -> None:
    async with serving() as parts:
        failure = await failure_of(parts.launch(bearer=VERIFIER_SECRET))
    assert failure.code is StatusCode.PERMISSION_DENIED
    assert failure.reason == "ERROR_REASON_ROLE_REQUIRED"
    assert failure.metadata == {"roles": "launcher"}


@story
async def test_a_caller_with_the_role_gets_in_and_is_known_by_name() -> None:
    seen = Seen()
    async with serving(launch=seen.behaviour()) as parts:
        await parts.launch(bearer=LAUNCHER_SECRET)
        lower_case = (("authorization", f"bearer {LAUNCHER_SECRET}"),)
        await parts.launch(metadata=lower_case)
    for call in seen.calls:
        assert call.caller is not None
        assert call.caller.name == "launch-1"
        assert call.bearer is None
        assert call.method == LAUNCH


@story
async def test_a_refused_caller_never_reaches_the_servicer() -> None:
    seen = Seen()
    async with serving(launch=seen.behaviour()) as parts:
        await failure_of(parts.launch())
        await failure_of(parts.launch(bearer="junk"))
        await failure_of(parts.launch(bearer=VERIFIER_SECRET))
    assert seen.calls == []


@story
async def test_a_token_goes_to_the_command_wrapped_where_tokens_may_call() -> None:
    seen = Seen()
    policy = {**POLICY, SAY: CALLER_OR_TOKEN}
    async with serving(say=seen.behaviour(), policy=policy) as parts:
        await parts.say(bearer="awi_whatever")
        missing = await failure_of(parts.say())
        foreign = await failure_of(parts.say(bearer=VERIFIER_SECRET))
    (call,) = seen.calls
    assert call.caller is None
    assert call.bearer is not None
    assert call.bearer.reveal() == "awi_whatever"
    assert "awi_whatever" not in repr(call)
    assert missing.reason == "ERROR_REASON_CREDENTIAL_MISSING"
    assert foreign.reason == "ERROR_REASON_ROLE_REQUIRED"


@story
async def test_a_callers_secret_on_a_box_method_is_a_bearer_that_is_no_token() -> None:
    seen = Seen()
    async with serving(say=seen.behaviour(), policy={**POLICY, SAY: BOX_ONLY}) as parts:
        await parts.say(bearer=LAUNCHER_SECRET)
    (call,) = seen.calls
    assert call.bearer is not None
    assert call.caller is None


@story
async def test_a_call_without_evidence_reaches_the_command_only_where_the_rule_says_so() -> None:
    seen = Seen()
    async with serving(say=seen.behaviour()) as parts:
        await parts.say()
    (call,) = seen.calls
    assert call.caller is None
    assert call.bearer is None


@story
async def test_any_known_caller_may_where_the_rule_says_so() -> None:
    seen = Seen()
    async with serving(say=seen.behaviour(), policy={**POLICY, SAY: ANYBODY_KNOWN}) as parts:
        await parts.say(bearer=VERIFIER_SECRET)
        await parts.say(bearer="awa_token")
        missing = await failure_of(parts.say())
    assert [call.caller is not None for call in seen.calls] == [True, False]
    assert missing.reason == "ERROR_REASON_CREDENTIAL_MISSING"


@story
async def test_streams_ask_for_identity_too() -> None:
    policy = {**POLICY, COUNT: Rule(roles=frozenset({"verifier"}))}
    async with serving(policy=policy) as parts:
        missing = await stream_failure_of(parts.count())
        answers = [each.value async for each in parts.count(bearer=VERIFIER_SECRET)]
    assert missing.reason == "ERROR_REASON_CREDENTIAL_MISSING"
    assert answers == ["0", "1", "2"]


@story
async def test_the_clients_correlation_id_comes_back_also_on_success() -> None:
    async with serving() as parts:
        unary = parts.say(correlation_id="order-66.a_b")
        await unary
        stream = parts.count(correlation_id="order-67")
        async for _ in stream:
            pass
        assert dict(await unary.trailing_metadata()) == {
            "agentworkspace-correlation-id": "order-66.a_b"
        }
        assert dict(await stream.trailing_metadata()) == {
            "agentworkspace-correlation-id": "order-67"
        }


@pytest.mark.parametrize(
    "sent", ["", "x" * 65, "a b", "awi_looksLikeAToken", "ü".encode().hex() + "!"]
)
@story
async def test_an_unusable_correlation_id_is_replaced(sent: str) -> None:
    async with serving() as parts:
        call = parts.say(correlation_id=sent)
        await call
        answered = dict(await call.trailing_metadata())["agentworkspace-correlation-id"]
    assert answered != sent
    assert calls.is_correlation_id(answered)


@story
async def test_fresh_correlation_ids_differ() -> None:
    seen = Seen()
    async with serving(say=seen.behaviour()) as parts:
        for _ in range(3):
            await parts.say()
    assert len({call.correlation_id for call in seen.calls}) == 3


def test_outside_of_a_call_there_is_none() -> None:
    with pytest.raises(LookupError):
        calls.current()
    assert calls.current_or_none() is None
    assert calls.current_correlation_id() is None


@story
async def test_calls_of_one_connection_at_the_same_time_are_each_known_by_their_own() -> None:
    async with serving() as parts:

        async def outcome(call: Any) -> str:
            try:
                await call
            except grpc.aio.AioRpcError as error:
                return error.code().name
            return "OK"

        rounds = [
            (
                parts.launch(),
                parts.launch(bearer=LAUNCHER_SECRET),
                parts.launch(bearer=VERIFIER_SECRET),
                parts.say(bearer=LAUNCHER_SECRET),
            )
            for _ in range(60)
        ]
        found = await asyncio.gather(*(outcome(call) for each in rounds for call in each))
    assert found == ["UNAUTHENTICATED", "OK", "PERMISSION_DENIED", "OK"] * 60
