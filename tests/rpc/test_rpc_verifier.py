"""The verifier: what it remembers, when it forgets, and when it refuses to guess."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest

from agentworkspace.client.channel import aio_channel
from agentworkspace.client.verifier import (
    Principal,
    Rejected,
    Rejection,
    Requirement,
    Verifier,
)
from agentworkspace.client.verifier.blocking_verifier import BlockingVerifier
from agentworkspace.client.verifier.principals import principal_of
from agentworkspace.core.refusal import Recovery
from agentworkspace.core.secret import Secret
from agentworkspace.core.token_format import TokenKind, new_token, sha256_hex
from agentworkspace.registry.v1 import token_pb2
from agentworkspace.registry.v1 import token_service_pb2 as pb
from agentworkspace.rpc.errors import RpcFailure
from tests.rpc.verifier_registry_server import TokenRegistry, serving

PATIENCE = 20.0
TOKEN, OTHER = new_token(TokenKind.API), new_token(TokenKind.API)


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


@asynccontextmanager
async def verifying(registry: TokenRegistry, **settings: Any) -> AsyncIterator[Verifier]:
    async with (
        serving(registry),
        aio_channel(registry.address, retries=False) as channel,
        Verifier(channel, **{"keep_alive_seconds": 1.0, **settings}) as verifier,
    ):
        if not registry.silent:
            await until(lambda: verifier.hears)
        yield verifier


async def until(reached: Callable[[], bool]) -> None:
    """Look again and again: what changes is inside the verifier, which tells nobody."""
    async with asyncio.timeout(PATIENCE):
        while not reached():  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(0.005)


async def refused(verifier: Verifier, token: Secret, *args: Any, **kwargs: Any) -> Rejection:
    with pytest.raises(Rejected) as caught:
        await verifier.check(token, *args, **kwargs)
    return caught.value.reason


async def test_what_is_known_is_not_asked_again() -> None:
    registry = TokenRegistry()
    registry.admit(TOKEN, scopes=["tasks:read"], incarnation=2)
    async with verifying(registry) as verifier:
        first = await verifier.check(TOKEN)
        for _ in range(50):
            assert await verifier.check(TOKEN) is first
    assert registry.calls == [1]
    assert first == Principal(
        workspace_id="w1",
        tenant_id="acme",
        token_id="id-0",
        kind=TokenKind.API,
        scopes=frozenset({"tasks:read"}),
        incarnation=2,
        expires_at=None,
    )


async def test_a_refusal_is_never_remembered() -> None:
    registry = TokenRegistry()
    async with verifying(registry) as verifier:
        assert await refused(verifier, TOKEN) is Rejection.TOKEN_INVALID
        registry.admit(TOKEN)
        assert (await verifier.check(TOKEN)).tenant_id == "acme"


async def test_a_revoked_token_is_forgotten_as_soon_as_the_feed_says_so() -> None:
    registry = TokenRegistry()
    registry.admit(TOKEN)
    registry.admit(OTHER, "w2")
    async with verifying(registry) as verifier:
        await verifier.check(TOKEN)
        await verifier.check(OTHER)
        receipt = registry.revoke(TOKEN)
        await until(lambda: verifier.revision >= receipt)
        assert await refused(verifier, TOKEN) is Rejection.TOKEN_INVALID
        assert verifier.known(OTHER) is not None


async def test_the_tokens_of_a_revoked_workspace_are_forgotten() -> None:
    registry = TokenRegistry()
    registry.admit(TOKEN, "w1")
    registry.admit(OTHER, "w2")
    async with verifying(registry) as verifier:
        await verifier.check(TOKEN)
        await verifier.check(OTHER)
        registry.revoke_workspace("w1")
        await until(lambda: verifier.known(TOKEN) is None)
        assert await refused(verifier, TOKEN) is Rejection.TOKEN_INVALID
        assert verifier.known(OTHER) is not None


@pytest.mark.parametrize("by_workspace", [False, True])
async def test_an_answer_that_a_revocation_overtook_is_not_believed(*, by_workspace: bool) -> None:
    registry = TokenRegistry()
    registry.admit(TOKEN)
    async with verifying(registry) as verifier:
        registry.gate.clear()
        asking = asyncio.create_task(verifier.check(TOKEN))
        await registry.decided.wait()
        if by_workspace:
            registry.revoke_workspace("w1")
        else:
            registry.revoke(TOKEN)
        await until(lambda: verifier.revision == registry.revision)
        registry.gate.set()
        with pytest.raises(Rejected):
            await asyncio.wait_for(asking, PATIENCE)
        assert len(verifier) == 0
        assert await refused(verifier, TOKEN) is Rejection.TOKEN_INVALID


async def test_everything_is_forgotten_on_a_reset() -> None:
    registry = TokenRegistry()
    registry.admit(TOKEN)
    async with verifying(registry) as verifier:
        await verifier.check(TOKEN)
        registry.tell(reset=True)
        await until(lambda: len(verifier) == 0)
        await verifier.check(TOKEN)
    assert registry.calls == [1, 1]


async def test_a_feed_that_is_resumed_in_time_keeps_what_is_known_less_what_was_revoked() -> None:
    registry = TokenRegistry()
    registry.admit(TOKEN)
    registry.admit(OTHER, "w2")
    async with verifying(registry) as verifier:
        await verifier.check(TOKEN)
        await verifier.check(OTHER)
        registry.hang_up()
        registry.revoke(TOKEN, tell=False)
        registry.told.append(
            pb.WatchRevocationsResponse(revision=8, token_sha256=sha256_hex(TOKEN))
        )
        await until(lambda: len(registry.resumed_after) == 2)
        await until(lambda: verifier.revision == registry.revision)
        assert registry.resumed_after == [0, 7]
        assert verifier.known(TOKEN) is None
        assert await refused(verifier, TOKEN) is Rejection.TOKEN_INVALID
        assert verifier.known(OTHER) is not None
    assert registry.calls == [1, 1, 1]


async def test_a_feed_that_is_resumed_too_late_starts_from_nothing() -> None:
    registry, clock = TokenRegistry(), Clock()
    registry.admit(TOKEN)
    async with verifying(registry, monotonic=clock) as verifier:
        await verifier.check(TOKEN)
        registry.silent = True
        clock.seconds += 3.0
        registry.hang_up()
        registry.revoke(TOKEN, tell=False)
        registry.silent = False
        await until(lambda: verifier.hears)
        assert registry.resumed_after[-1] == 0
        assert len(verifier) == 0


async def test_a_feed_without_a_revision_yet_cannot_be_resumed() -> None:
    registry = TokenRegistry(revision=0)
    registry.admit(TOKEN)
    async with verifying(registry) as verifier:
        await verifier.check(TOKEN)
        registry.hang_up()
        registry.revoke(TOKEN, tell=False)
        await until(lambda: verifier.revision == registry.revision)
        assert registry.resumed_after == [0, 0]
        assert await refused(verifier, TOKEN) is Rejection.TOKEN_INVALID


async def test_while_what_was_missed_is_told_again_the_feed_does_not_count_as_heard() -> None:
    registry, clock = TokenRegistry(keep_alive_seconds=PATIENCE), Clock()
    registry.admit(OTHER, "w2")
    async with verifying(registry, monotonic=clock) as verifier:
        await verifier.check(OTHER)
        registry.hang_up()
        registry.revision += 1
        registry.told.append(pb.WatchRevocationsResponse(revision=8, token_sha256="0" * 64))
        clock.seconds += 2.0
        await until(lambda: verifier.revision == 8)
        assert verifier.known(OTHER) is not None
        clock.seconds += 1.0
        assert verifier.known(OTHER) is None, "three seconds after the last that was surely all"


async def test_an_answer_from_before_a_reconnect_is_not_remembered() -> None:
    registry = TokenRegistry()
    registry.admit(TOKEN)
    async with verifying(registry) as verifier:
        registry.gate.clear()
        asking = asyncio.create_task(verifier.check(TOKEN))
        await registry.decided.wait()
        registry.tell(reset=True)
        registry.revision += 1
        await until(lambda: verifier.revision == registry.revision)
        registry.gate.set()
        assert (await asyncio.wait_for(asking, PATIENCE)).workspace_id == "w1"
        assert len(verifier) == 0


async def test_while_the_feed_is_silent_the_registry_is_asked_every_time() -> None:
    registry, clock = TokenRegistry(), Clock()
    registry.admit(TOKEN)
    async with verifying(registry, monotonic=clock) as verifier:
        await verifier.check(TOKEN)
        registry.silent = True
        clock.seconds += 3.0
        assert not verifier.hears
        registry.revoke(TOKEN, tell=False)
        assert await refused(verifier, TOKEN) is Rejection.TOKEN_INVALID
        registry.admit(TOKEN)
        for _ in range(3):
            await verifier.check(TOKEN)
        assert verifier.known(TOKEN) is None
    assert registry.calls == [1, 1, 1, 1, 1]


async def test_two_silent_keep_alives_are_not_yet_silence() -> None:
    registry, clock = TokenRegistry(), Clock()
    registry.admit(TOKEN)
    async with verifying(registry, monotonic=clock) as verifier:
        await verifier.check(TOKEN)
        registry.silent = True
        clock.seconds += 2.9
        assert verifier.known(TOKEN) is not None


async def test_silent_and_unreachable_is_unavailable_and_no_guess() -> None:
    registry, clock = TokenRegistry(), Clock()
    registry.admit(TOKEN)
    async with verifying(registry, monotonic=clock) as verifier:
        await verifier.check(TOKEN)
        registry.silent = registry.refusing = True
        clock.seconds += 3.0
        with pytest.raises(RpcFailure) as caught:
            await verifier.check(TOKEN)
    assert caught.value.code is grpc.StatusCode.UNAVAILABLE


async def test_a_feed_that_never_speaks_is_left_for_another_connection() -> None:
    registry = TokenRegistry(silent=True)
    registry.admit(TOKEN)
    async with verifying(registry, keep_alive_seconds=0.1) as verifier:
        await verifier.check(TOKEN)
        assert verifier.known(TOKEN) is None
        registry.silent = False
        await until(lambda: verifier.hears)
        await verifier.check(TOKEN)
        assert verifier.known(TOKEN) is not None


async def test_a_question_posed_in_silence_is_not_shared_once_it_is_on_its_way() -> None:
    registry = TokenRegistry(silent=True)
    registry.admit(TOKEN)
    async with verifying(registry) as verifier:
        registry.gate.clear()
        early = asyncio.create_task(verifier.check(TOKEN))
        await registry.decided.wait()
        registry.revoke(TOKEN, tell=False)
        late = asyncio.create_task(verifier.check(TOKEN))
        await until(lambda: len(registry.calls) == 2)
        registry.gate.set()
        assert (await early).workspace_id == "w1"
        with pytest.raises(Rejected):
            await late


async def test_an_expired_token_is_asked_for_again() -> None:
    registry, clock = TokenRegistry(), Clock()
    registry.admit(TOKEN, expire_time={"seconds": 1060})
    async with verifying(registry, now=clock) as verifier:
        assert (await verifier.check(TOKEN)).expires_at == 1060.0
        clock.seconds = 1059.0
        assert verifier.known(TOKEN) is not None
        clock.seconds = 1060.0
        assert verifier.known(TOKEN) is None
        registry.principals.clear()
        assert await refused(verifier, TOKEN) is Rejection.TOKEN_INVALID


async def test_nothing_is_believed_for_longer_than_its_greatest_age() -> None:
    registry, clock = TokenRegistry(), Clock()
    registry.admit(TOKEN)
    async with verifying(registry, now=clock, max_age_seconds=300.0) as verifier:
        await verifier.check(TOKEN)
        clock.seconds += 300.0
        assert verifier.known(TOKEN) is None


async def test_a_receipt_that_the_feed_has_not_shown_yet_asks_the_registry() -> None:
    registry = TokenRegistry()
    registry.admit(TOKEN)
    registry.admit(OTHER)
    async with verifying(registry) as verifier:
        await verifier.check(TOKEN)
        await verifier.check(OTHER)
        registry.silent = True
        receipt = registry.revoke(TOKEN, tell=False)
        reason = await refused(verifier, TOKEN, min_revision=receipt)
        assert reason is Rejection.TOKEN_INVALID
        await verifier.check(OTHER, min_revision=receipt)
        asked = len(registry.calls)
        await verifier.check(OTHER, min_revision=receipt)
        assert len(registry.calls) == asked, "the answer itself was as new as the receipt"
        with pytest.raises(RpcFailure, match="revision"):
            await verifier.check(OTHER, min_revision=receipt + 1)


async def test_many_who_ask_for_one_token_pose_one_question() -> None:
    registry = TokenRegistry()
    registry.admit(TOKEN)
    async with verifying(registry) as verifier:
        found = await asyncio.gather(*(verifier.check(TOKEN) for _ in range(100)))
    assert len({each.token_id for each in found}) == 1
    assert registry.calls == [1]


async def test_many_tokens_share_a_call_of_at_most_a_thousand() -> None:
    registry = TokenRegistry()
    tokens = [new_token(TokenKind.API) for _ in range(2500)]
    for token in tokens:
        registry.admit(token)
    async with verifying(registry) as verifier:
        await asyncio.gather(*(verifier.check(each) for each in tokens))
    assert sorted(registry.calls) == [500, 1000, 1000]


async def test_what_is_asked_while_calls_are_under_way_goes_together_into_the_next() -> None:
    registry = TokenRegistry()
    tokens = [new_token(TokenKind.API) for _ in range(32)]
    for token in tokens:
        registry.admit(token)
    async with verifying(registry) as verifier:
        registry.gate.clear()
        asked = []
        for number, token in enumerate(tokens):
            asked.append(asyncio.create_task(verifier.check(token)))
            if number < 2:
                await until(lambda: len(registry.calls) == len(asked))
        # Their questions are posed, and wait: every task has run up to its answer.
        await asyncio.sleep(0)
        registry.gate.set()
        found = await asyncio.gather(*asked)
    assert registry.calls == [1, 1, 30], "the first leave at once, and alone"
    assert [each.token_id for each in found] == [f"id-{number}" for number in range(32)]


async def test_a_shared_call_that_fails_is_the_failure_of_each_and_of_nobody_after_it() -> None:
    registry = TokenRegistry()
    registry.admit(TOKEN)
    registry.admit(OTHER)
    async with verifying(registry) as verifier:
        registry.refusing = True
        checks = (verifier.check(TOKEN), verifier.check(OTHER))
        failures = await asyncio.gather(*checks, return_exceptions=True)
        assert [type(each) for each in failures] == [RpcFailure, RpcFailure]
        assert [str(each).count(TOKEN.reveal()) for each in failures] == [0, 0]
        registry.refusing = False
        assert (await verifier.check(OTHER)).workspace_id == "w1"


async def test_one_who_stops_waiting_does_not_take_the_answer_from_the_others() -> None:
    registry = TokenRegistry()
    registry.admit(TOKEN)
    async with verifying(registry) as verifier:
        registry.gate.clear()
        impatient = asyncio.create_task(verifier.check(TOKEN))
        patient = asyncio.create_task(verifier.check(TOKEN))
        await registry.decided.wait()
        impatient.cancel()
        registry.gate.set()
        assert (await patient).workspace_id == "w1"


async def test_workspace_kind_and_scopes_are_checked_on_what_is_known() -> None:
    registry = TokenRegistry()
    registry.admit(TOKEN, "w1", scopes=["a", "b"], kind=token_pb2.TOKEN_KIND_INSTANCE)
    instance, api = Requirement(kind=TokenKind.INSTANCE), Requirement(kind=TokenKind.API)
    async with verifying(registry) as verifier:
        for _asked_and_known in range(2):
            await verifier.check(TOKEN, instance, workspace_id="w1")
            await verifier.check(TOKEN, Requirement(scopes={"a"}))
            wrong = await refused(verifier, TOKEN, api, workspace_id="w2")
            assert wrong is Rejection.TOKEN_INVALID
            assert await refused(verifier, TOKEN, api) is Rejection.TOKEN_KIND
            lacking = await refused(verifier, TOKEN, Requirement(scopes={"a", "c"}))
            assert lacking is Rejection.TOKEN_SCOPE
    assert registry.calls == [1]


async def test_a_proxy_token_serves_only_where_one_is_asked_for() -> None:
    registry, token = TokenRegistry(), new_token(TokenKind.PROXY)
    registry.admit(token, "w1", kind=token_pb2.TOKEN_KIND_PROXY, incarnation=3)
    registry.admit(TOKEN, "w1")
    proxy = Requirement(kind=TokenKind.PROXY)
    async with verifying(registry) as verifier:
        for _asked_and_known in range(2):
            found = await verifier.check(token, proxy)
            assert (found.workspace_id, found.kind, found.incarnation) == ("w1", "PROXY", 3)
            assert await refused(verifier, token) is Rejection.TOKEN_KIND
            api = Requirement(kind=TokenKind.API)
            assert await refused(verifier, token, api) is Rejection.TOKEN_KIND
            assert await refused(verifier, TOKEN, proxy) is Rejection.TOKEN_KIND
    assert registry.calls == [1, 1]


async def test_the_principal_says_whether_evidence_stood_behind_it() -> None:
    registry = TokenRegistry()
    registry.admit(TOKEN)
    registry.admit(OTHER, evidence_backed=True)
    async with verifying(registry) as verifier:
        assert not (await verifier.check(TOKEN)).evidence_backed
        assert (await verifier.check(OTHER)).evidence_backed


async def test_a_check_that_takes_too_long_says_so() -> None:
    registry = TokenRegistry()
    registry.admit(TOKEN)
    registry.gate.clear()
    async with verifying(registry) as verifier:
        with pytest.raises(RpcFailure, match="ERROR_REASON_DEADLINE") as caught:
            await verifier.check(TOKEN, seconds=0.05)
        assert caught.value.code is grpc.StatusCode.DEADLINE_EXCEEDED
        assert caught.value.recovery == Recovery.RETRY
        registry.gate.set()
        assert (await verifier.check(TOKEN, seconds=PATIENCE)).workspace_id == "w1"


@pytest.mark.parametrize(
    "junk",
    ["", "awa_short", TOKEN.reveal()[:-1] + "!", "é", "x" * 5000],
    ids=["nothing", "cut off", "checksum", "not ASCII", "endless"],
)
async def test_junk_is_refused_without_a_call(junk: str) -> None:
    registry = TokenRegistry()
    async with verifying(registry) as verifier:
        assert await refused(verifier, Secret(junk)) is Rejection.TOKEN_INVALID
    assert registry.calls == []


async def test_a_token_of_another_format_is_asked_for() -> None:
    registry, brought = TokenRegistry(), Secret("a token that its owner made")
    registry.admit(brought)
    async with verifying(registry) as verifier:
        assert (await verifier.check(brought)).workspace_id == "w1"


async def test_the_number_of_known_tokens_is_bounded() -> None:
    registry = TokenRegistry()
    tokens = [new_token(TokenKind.API) for _ in range(20)]
    for token in tokens:
        registry.admit(token)
    async with verifying(registry, max_entries=8) as verifier:
        for token in tokens:
            await verifier.check(token)
        assert len(verifier) == 8
        assert verifier.known(tokens[-1]) is not None
        registry.revoke_workspace("w1")
        await until(lambda: len(verifier) == 0)


async def test_the_verifier_starts_without_the_registry_and_finds_it_later() -> None:
    registry = TokenRegistry(refusing=True, silent=True)
    registry.admit(TOKEN)
    async with verifying(registry) as verifier:
        with pytest.raises(RpcFailure):
            await verifier.check(TOKEN)
        registry.refusing = registry.silent = False
        await until(lambda: verifier.hears)
        await verifier.check(TOKEN)


async def test_threads_check_through_the_blocking_verifier() -> None:
    registry = TokenRegistry()
    registry.admit(TOKEN)

    def check() -> list[Principal]:
        with BlockingVerifier(lambda: aio_channel(registry.address)) as verifier:
            with pytest.raises(Rejected):
                verifier.check(OTHER)
            return [verifier.check(TOKEN) for _ in range(3)]

    async with serving(registry):
        found = await asyncio.to_thread(check)
    assert [each.workspace_id for each in found] == ["w1"] * 3


def test_a_kind_of_a_later_version_is_not_accepted() -> None:
    later = pb.ValidateTokenResponse(principal=token_pb2.Principal(workspace_id="w"))
    assert principal_of(later.principal) is None
