"""The invariants of the registry, raced on a real database.

| race | at stake |
|---|---|
| 64 registers without evidence | one bootstrap, one token |
| one ticket presented many times | one live token, whoever answers last |
| launches against launches, registers, retirement | one number each, no token left over |
| first use against replacement | a used token is never taken for a lost one |
| mints of one hash | usable once, ever |
| revocation against validation | nothing is accepted after the receipt |
| heartbeat against leaving, sweep against sweep | no revival, one announcement |
| heartbeats written behind against leaving, launch, retirement, sweep | no revival, no time lost |
| a fence against whoever is being let in | nobody is in behind it, and no ticket is out |
| a theft against what a thief makes meanwhile | nothing of it is accepted afterwards |
| launches that are only begun if needed | one is begun, whoever asks |
| leaving against coming back | one of them is the last word |
| an admission against admissions | one first token |
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial

import pytest

from agentworkspace.core.ids import WorkspaceId
from agentworkspace.core.refusal import Refusal, SharedReason
from agentworkspace.core.secret import Secret
from registry_service.commands import (
    first_registers,
    heartbeats,
    mint_tokens_batch,
    register,
    retire_workspace,
    validate_tokens,
)
from registry_service.commands.admit_workspace import FirstToken
from registry_service.commands.begin_incarnation import BegunIncarnation, NotNeeded
from registry_service.commands.heartbeats import Heartbeat, Heartbeaten
from registry_service.commands.issued import Issued
from registry_service.commands.register import Registered, RegisterRefused
from registry_service.commands.retire_workspace import RetireWorkspace
from registry_service.commands.validate_tokens import (
    Rejection,
    ValidatedTokens,
    ValidateToken,
)
from registry_service.domain.admission_line import AdmissionLine
from registry_service.domain.liveness import RegistrationState
from registry_service.domain.principal import Principal
from registry_service.domain.refusals import Reason
from registry_service.domain.standing import BootstrapPolicy
from registry_service.domain.tokens import RevokeReason, TokenKind
from registry_service.storage import workspaces
from registry_service.workers import flush_heartbeats
from tests.storage.registry_world import (
    OPERATOR,
    ORIGIN,
    World,
    all_at_once,
    mint_of,
    new_request_id,
    new_secret,
    new_workspace_id,
    register_of,
    sha256,
    sweep_offline,
    world_at,
)

ROUNDS = range(20)


@pytest.fixture(scope="module")
def world(registry_database_of_module: str) -> Iterator[World]:
    with world_at(registry_database_of_module, pool_size=16) as world:
        yield world


def secrets_of(results: list[Registered | Exception]) -> list[Secret]:
    return [
        result.auth_token
        for result in results
        if isinstance(result, Registered) and result.auth_token
    ]


@pytest.mark.parametrize("_round", range(3))
def test_of_64_boxes_without_a_ticket_exactly_one_is_handed_a_token(
    world: World, _round: int
) -> None:
    workspace_id = world.workspace()
    results = all_at_once([partial(world.register, workspace_id)] * 64)
    handed = secrets_of(results)
    refused = [result for result in results if isinstance(result, RegisterRefused)]
    assert (len(handed), len(refused)) == (1, 63)
    assert {refusal.reason for refusal in refused} == {Reason.BEARER_MISSING}
    assert world.live_instances(workspace_id) == [
        world.token_of(workspace_id, handed[0]).token.token_id
    ]


def test_one_ticket_presented_by_many_leaves_one_live_token(world: World) -> None:
    workspace_id = world.workspace()
    ticket = world.ticket(workspace_id)
    results = all_at_once([partial(world.register, workspace_id, ticket=ticket)] * 16)
    lines = sorted(result.line for result in results if isinstance(result, Registered))
    assert lines == [AdmissionLine.TICKET] + [AdmissionLine.TICKET_AGAIN] * 15
    accepted = [
        secret
        for secret in secrets_of(results)
        if isinstance(world.validate(secret, workspace_id), Principal)
    ]
    assert len(accepted) == len(world.live_instances(workspace_id)) == 1


def test_one_ticket_with_one_derived_hash_is_one_token(world: World) -> None:
    workspace_id, secret = world.workspace(), new_secret(TokenKind.INSTANCE)
    ticket = world.ticket(workspace_id)
    register = partial(world.register, workspace_id, ticket=ticket, token_sha256=sha256(secret))
    results = all_at_once([register] * 16)
    tokens = {result.token.token_id for result in results if isinstance(result, Registered)}
    assert (len(tokens), len(world.tokens(workspace_id, dead=True))) == (1, 1)


def test_batches_and_single_calls_with_the_same_tickets_let_each_box_in_once(
    world: World,
) -> None:
    """Batches in either order against each other, single calls, launches and revocations."""
    for _ in range(5):
        ids = [world.workspace() for _ in range(8)]
        hashes = [sha256(new_secret(TokenKind.INSTANCE)) for _ in ids]
        commands = [
            register_of(each, ticket=world.ticket(each), token_sha256=wanted)
            for each, wanted in zip(ids, hashes, strict=True)
        ]
        batches = [commands, commands[::-1], commands[4:] + commands[:4]]
        calls: list[Callable[[], object]] = [
            *(
                partial(first_registers.run, world.store, batch, new_secret=new_secret)
                for batch in batches
            ),
            *(
                partial(register.run, world.store, command, new_secret=new_secret)
                for command in commands[2:]
            ),
            partial(world.begin, ids[0]),
            partial(world.revoke_all, ids[1], RevokeReason.SUSPENDED),
        ]
        results = all_at_once(calls)
        faults = [item for item in results if isinstance(item, Exception)]
        assert all(isinstance(fault, Refusal) for fault in faults), faults
        assert [world.live_instances(each) for each in ids[:2]] == [[], []]
        for each, wanted in zip(ids[2:], hashes[2:], strict=True):
            (minted,) = world.tokens(each, dead=True)
            assert minted.token.token_sha256 == wanted
            assert minted.token.revoke_time is None


def test_batches_that_want_each_others_hashes_all_end(world: World) -> None:
    """Whoever is first with a hash has it; nobody waits for ever for a hash."""
    for _ in range(5):
        hashes = [sha256(new_secret(TokenKind.INSTANCE)) for _ in range(6)]
        batches = [
            [
                register_of(each, ticket=world.ticket(each), token_sha256=wanted)
                for wanted in order
                for each in [world.workspace()]
            ]
            for order in (hashes, hashes[::-1], hashes[3:] + hashes[:3])
        ]
        results = all_at_once(
            [
                partial(first_registers.run, world.store, batch, new_secret=new_secret)
                for batch in batches
            ]
        )
        answers = [answer for result in results for answer in result]
        assert len([answer for answer in answers if answer is not None]) == 6


def test_a_lost_answer_asked_for_by_many_is_still_one_token(world: World) -> None:
    workspace_id, secret = world.workspace(), new_secret(TokenKind.INSTANCE)
    register = partial(
        world.register, workspace_id, token_sha256=sha256(secret), request_id=new_request_id()
    )
    results = all_at_once([register] * 32)
    tokens = {result.token.token_id for result in results if isinstance(result, Registered)}
    assert len(tokens) == 1
    assert len(world.live_instances(workspace_id)) == 1


def test_launches_at_once_get_a_number_each_and_one_ticket_counts(world: World) -> None:
    workspace_id = world.workspace()
    results = all_at_once([partial(world.begin, workspace_id)] * 8)
    begun = [result for result in results if isinstance(result, BegunIncarnation)]
    assert sorted(item.incarnation for item in begun) == list(range(1, 9))
    admitted = [
        item.incarnation
        for item in begun
        if not isinstance(
            all_at_once([partial(world.register, workspace_id, ticket=item.bootstrap_ticket)])[0],
            Exception,
        )
    ]
    assert admitted == [8]


def test_one_launch_asked_for_many_times_is_one_launch(world: World) -> None:
    workspace_id = world.workspace()
    begin = partial(world.begin, workspace_id, request_id=new_request_id())
    results = all_at_once([begin] * 8)
    begun = [result for result in results if isinstance(result, BegunIncarnation)]
    assert [item.incarnation for item in begun] == [1] * 8
    registers = all_at_once(
        [partial(world.register, workspace_id, ticket=item.bootstrap_ticket) for item in begun]
    )
    assert len(secrets_of(registers)) == 1


def test_a_used_token_is_never_replaced_as_lost(world: World) -> None:
    """Line 3 against the first use of the very token it would replace."""
    for _ in ROUNDS:
        workspace_id = world.workspace()
        ticket = world.ticket(workspace_id)
        token = world.box(workspace_id, ticket=ticket)
        used, again = all_at_once(
            [
                lambda: world.validate(token, workspace_id),  # noqa: B023
                partial(world.register, workspace_id, ticket=ticket),
            ]
        )
        if isinstance(used, Principal):
            assert isinstance(again, RegisterRefused)
            assert again.line == AdmissionLine.ANOTHER_LIVES
            assert isinstance(world.validate(token, workspace_id), Principal)
        else:
            assert isinstance(again, Registered)
            assert used is Rejection.TOKEN_INVALID
        assert len(world.live_instances(workspace_id)) == 1


def test_a_replayed_mint_never_revokes_a_token_that_was_used(world: World) -> None:
    for _ in ROUNDS:
        workspace_id, request_id = world.workspace(), new_request_id()
        first = world.mint(workspace_id, request_id=request_id)
        assert first.plaintext is not None
        calls: list[Callable[[], object]] = [
            partial(world.validate, first.plaintext, workspace_id),
            partial(world.mint, workspace_id, request_id=request_id),
        ]
        used, again = all_at_once(calls)
        assert isinstance(again, Issued)
        assert isinstance(used, Principal) == (again.plaintext is None)
        assert len(world.tokens(workspace_id)) == 1


def test_the_first_use_of_a_rotated_token_ends_the_old_one_once(world: World) -> None:
    workspace_id, new = world.workspace(), new_secret(TokenKind.INSTANCE)
    old = world.box(workspace_id)
    world.register(workspace_id, bearer=old, token_sha256=sha256(new))
    before = world.sql("SELECT revision FROM registry.feed")[0][0]
    calls: list[Callable[[], object]] = [
        *[partial(world.validate, new, workspace_id)] * 8,
        *[partial(world.heartbeat, workspace_id, new)] * 4,
        *[partial(world.register, workspace_id, bearer=new)] * 4,
    ]
    results = all_at_once(calls)
    assert not [result for result in results if isinstance(result, Exception)]
    assert world.validate(old) is Rejection.TOKEN_INVALID
    assert world.sql("SELECT revision FROM registry.feed")[0][0] == before + 1


def test_one_hash_minted_for_many_workspaces_is_minted_once(world: World) -> None:
    digest = sha256(new_secret(TokenKind.API))
    workspaces = [world.workspace() for _ in range(12)]
    results = all_at_once([partial(world.mint, item, token_sha256=digest) for item in workspaces])
    won = [result for result in results if isinstance(result, Issued)]
    lost = [result for result in results if isinstance(result, Refusal)]
    assert (len(won), {refusal.reason for refusal in lost}) == (1, {SharedReason.TOKEN_HASH_IN_USE})
    assert len(lost) == 11


def test_batches_that_want_one_hash_mint_it_once_and_the_rest_all_the_same(
    world: World,
) -> None:
    digest = sha256(new_secret(TokenKind.API))
    batches = [
        [mint_of(world.workspace()) for _ in range(5)]
        + [mint_of(world.workspace(), token_sha256=digest)]
        for _ in range(6)
    ]
    results = all_at_once(
        [
            partial(mint_tokens_batch.run, world.store, batch, new_secret=new_secret)
            for batch in batches
        ]
    )
    answers = [answer for batch in results if isinstance(batch, list) for answer in batch]
    assert sum(isinstance(answer, Issued) for answer in answers) == 31
    reasons = [answer.reason for answer in answers if isinstance(answer, Refusal)]
    assert reasons == [SharedReason.TOKEN_HASH_IN_USE] * 5


def until_waiting(world: World, count: int) -> None:
    """Until so many transactions wait for another one."""
    while True:
        ((waiting,),) = world.sql(
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE wait_event_type = 'Lock' AND datname = current_database()"
        )
        if waiting == count:
            return


def test_batches_that_mint_the_same_tokens_in_another_order_wait_in_one_direction(
    world: World,
) -> None:
    """As when calls are sent again, to another replica."""
    workspace_id = world.workspace()
    hashes = sorted(sha256(new_secret(TokenKind.API)) for _ in range(3))
    first, second, third = (mint_of(workspace_id, token_sha256=each) for each in hashes)
    with ThreadPoolExecutor(2) as pool:
        with world.store.database.engine.connect() as other:
            # Has the one in the middle until both batches wait, and then has never been.
            other.exec_driver_sql(
                "INSERT INTO registry.tokens"
                " (workspace_id, kind, token_sha256, prefix, create_time, client_made, created_by)"
                " VALUES (%(id)s, 'API', %(hash)s, '', clock_timestamp(), true, '')",
                {"id": workspace_id, "hash": hashes[1]},
            )
            ends = []
            for batch in ([first, second, third], [third, first]):
                run = partial(mint_tokens_batch.run, world.store, batch, new_secret=new_secret)
                ends.append(pool.submit(run))
                until_waiting(world, len(ends))
            other.rollback()
        answers = [answer for end in ends for answer in end.result()]
    assert all(isinstance(answer, Issued) for answer in answers), answers
    assert len(world.tokens(workspace_id)) == 3


def test_nothing_is_accepted_after_the_receipt_of_a_revocation(world: World) -> None:
    for _ in ROUNDS:
        workspace_id = world.workspace()
        issued = world.mint(workspace_id)
        assert issued.plaintext is not None
        validate = partial(world.validate, issued.plaintext, workspace_id)

        def revoke_then_validate() -> object:
            world.revoke(workspace_id, issued.token.token_id)  # noqa: B023
            return validate()  # noqa: B023

        calls: list[Callable[[], object]] = [revoke_then_validate, *[validate] * 3]
        after, *meanwhile = all_at_once(calls)
        assert after is Rejection.TOKEN_INVALID
        assert not [item for item in meanwhile if isinstance(item, Exception)]


def test_retiring_leaves_no_token_whatever_is_being_issued(world: World) -> None:
    for _ in ROUNDS:
        workspace_id = world.workspace()
        ticket = world.ticket(workspace_id)
        retire = RetireWorkspace(origin=ORIGIN, caller=OPERATOR, workspace_id=workspace_id)
        calls: list[Callable[[], object]] = [
            partial(retire_workspace.run, world.store, retire),
            partial(world.mint, workspace_id),
            partial(
                mint_tokens_batch.run,
                world.store,
                [mint_of(workspace_id)],
                new_secret=new_secret,
            ),
            partial(world.register, workspace_id, ticket=ticket),
            partial(world.begin, workspace_id),
        ]
        faults = [
            result
            for result in all_at_once(calls)
            if isinstance(result, Exception) and not isinstance(result, Refusal)
        ]
        assert faults == []
        assert world.tokens(workspace_id) == ()
        assert world.registration(workspace_id).state is RegistrationState.REMOVED


def test_a_launch_and_the_boxes_of_the_old_one_never_leave_two_live_tokens(
    world: World,
) -> None:
    for _ in ROUNDS:
        workspace_id = world.workspace()
        old_ticket = world.ticket(workspace_id)
        old = world.box(workspace_id, ticket=old_ticket)
        world.register(workspace_id, bearer=old)
        calls: list[Callable[[], object]] = [
            partial(world.begin, workspace_id),
            partial(world.register, workspace_id, bearer=old),
            partial(world.register, workspace_id, ticket=old_ticket),
            partial(
                world.register,
                workspace_id,
                bearer=old,
                token_sha256=sha256(new_secret(TokenKind.INSTANCE)),
            ),
            partial(world.revoke_all, workspace_id, RevokeReason.OPERATOR),
        ]
        begun, *others = all_at_once(calls)
        assert isinstance(begun, BegunIncarnation)
        assert not [
            item for item in others if isinstance(item, Exception) and not isinstance(item, Refusal)
        ]
        assert world.validate(old) is Rejection.TOKEN_INVALID
        assert world.live_instances(workspace_id) == []
        final = world.register(workspace_id, ticket=begun.bootstrap_ticket)
        assert (final.line, final.incarnation) == (AdmissionLine.TICKET, 2)


def test_a_token_that_others_decide_about_holds_up_nobody_else(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch goes round what is locked; only that one item waits, and then gives up."""
    for module in (validate_tokens, heartbeats):
        monkeypatch.setattr(module, "ALONE_AT_MOST", timedelta(milliseconds=200))
    busy, free = world.workspace(), world.workspace()
    held, other = world.box(busy), world.box(free)
    pending = new_secret(TokenKind.INSTANCE)
    world.register(busy, bearer=held, token_sha256=sha256(pending))

    def ask(token: Secret) -> ValidateToken:
        return ValidateToken(caller=OPERATOR, token=token, workspace_id=None)

    def beat(workspace_id: WorkspaceId, token: Secret) -> Heartbeat:
        policy = BootstrapPolicy.ADAPTIVE
        return Heartbeat(workspace_id=workspace_id, bearer=token, policy=policy)

    with world.store.transaction() as connection:
        workspaces.lock(connection, busy)
        first, second = validate_tokens.run_each(world.store, [ask(pending), ask(other)])
        third, fourth = heartbeats.run(world.store, [beat(busy, pending), beat(free, other)])
    assert isinstance(second, ValidatedTokens)
    assert isinstance(second.answers[0], Principal)
    assert isinstance(fourth, Heartbeaten)
    assert [getattr(item, "reason", None) for item in (first, third)] == [SharedReason.DEADLINE] * 2
    assert isinstance(world.validate(pending), Principal)


def test_a_heartbeat_never_revives_a_box_that_left(world: World) -> None:
    for _ in ROUNDS:
        workspace_id = world.workspace()
        token = world.box(workspace_id)
        world.heartbeat(workspace_id, token)
        calls: list[Callable[[], object]] = [
            partial(world.deregister, workspace_id, token),
            *[partial(world.heartbeat, workspace_id, token)] * 3,
        ]
        assert not [item for item in all_at_once(calls) if isinstance(item, Exception)]
        seen = world.registration(workspace_id)
        assert (seen.state, seen.left) == (RegistrationState.OFFLINE, True)


def test_heartbeats_that_are_written_behind_revive_nobody_and_take_nothing_back(
    world: World,
) -> None:
    for _ in ROUNDS:
        boxes = [world.workspace() for _ in range(5)]
        leaving, ending, replaced, silent, busy = boxes
        tokens = [world.launched(each) for each in boxes]
        for workspace_id, token in zip(boxes, tokens, strict=True):
            world.heartbeat(workspace_id, token)
            assert world.steady(workspace_id, token) is not None
        heard = world.heard.take(500)
        _up_since_yesterday(world)
        world.silence(silent, timedelta(hours=1))
        retire = RetireWorkspace(origin=ORIGIN, caller=OPERATOR, workspace_id=ending)
        calls: list[Callable[[], object]] = [
            partial(flush_heartbeats.run, world.store, heard),
            partial(world.deregister, leaving, tokens[0]),
            partial(retire_workspace.run, world.store, retire),
            partial(world.launched, replaced),
            partial(sweep_offline, world.store),
            partial(world.heartbeat, busy, tokens[4], active_tasks=3),
            # Another replica, which heard them in another order.
            partial(flush_heartbeats.run, world.store, dict(reversed(heard.items()))),
        ]
        results = all_at_once(calls)
        assert not [item for item in results if isinstance(item, Exception)]
        (first, second), gone, beaten = (results[0], results[6]), results[4], results[5]
        assert isinstance(beaten, Heartbeaten)
        # What was busy is written a little later.
        for left_over in (first, second):
            flush_heartbeats.run(world.store, {each: heard[each] for each in left_over})
        seen = {each: world.registration(each) for each in boxes}
        assert (seen[leaving].state, seen[leaving].left) == (RegistrationState.OFFLINE, True)
        assert seen[ending].state is RegistrationState.REMOVED
        assert _last_heard(world, replaced, since="register_time")
        marked = silent in [item.workspace_id for item in gone]
        assert (seen[silent].state is RegistrationState.OFFLINE) == marked
        assert (seen[silent].last_heartbeat_time == heard[silent].time) == (not marked)
        assert seen[busy].active_tasks == 3
        assert _last_heard(world, busy, since="%(time)s", time=beaten.time)


def _last_heard(world: World, workspace_id: WorkspaceId, *, since: str, **fields: object) -> bool:
    ((later,),) = world.sql(
        f"SELECT last_heartbeat_time >= {since} FROM registry.registrations"  # noqa: S608
        " WHERE workspace_id = %(id)s",
        id=workspace_id,
        **fields,
    )
    return bool(later)


def _up_since_yesterday(world: World) -> None:
    world.sql(
        "INSERT INTO registry.pulse VALUES (1, clock_timestamp(), 'yesterday')"
        " ON CONFLICT (id) DO UPDATE SET last_time = clock_timestamp(), up_since = 'yesterday'"
    )


def test_sweeps_at_once_announce_a_death_once(world: World) -> None:
    workspaces = [world.workspace() for _ in range(10)]
    for workspace_id in workspaces:
        world.box(workspace_id)
    _up_since_yesterday(world)
    world.sql(
        "UPDATE registry.registrations SET last_heartbeat_time = clock_timestamp() - %(span)s"
        " WHERE workspace_id = ANY(%(ids)s::uuid[])",
        span=timedelta(hours=1),
        ids=workspaces,
    )
    results = all_at_once([partial(sweep_offline, world.store)] * 6)
    announced = [
        item.workspace_id for result in results if isinstance(result, tuple) for item in result
    ]
    assert sorted(announced) == sorted(workspaces)


@pytest.mark.parametrize("fence", [RevokeReason.SUSPENDED, RevokeReason.COMPROMISED])
def test_nobody_is_in_behind_a_fence_whoever_was_being_let_in(
    world: World, fence: RevokeReason
) -> None:
    for _ in ROUNDS:
        workspace_id = world.workspace()
        ticket = world.ticket(workspace_id)
        box = world.box(workspace_id, ticket=ticket)
        rotated = new_secret(TokenKind.INSTANCE)
        calls: list[Callable[[], object]] = [
            partial(world.revoke_all, workspace_id, fence),
            partial(world.register, workspace_id, ticket=ticket),
            partial(world.register, workspace_id, bearer=box, token_sha256=sha256(rotated)),
            partial(world.heartbeat, workspace_id, box),
            partial(world.mint, workspace_id, kind=TokenKind.INSTANCE),
        ]
        faults = [item for item in all_at_once(calls) if isinstance(item, Exception)]
        assert all(isinstance(fault, Refusal) for fault in faults), faults
        assert world.live_instances(workspace_id) == []
        assert world.refused(workspace_id, ticket=ticket)[0] is AdmissionLine.FENCED


def test_nothing_that_a_thief_makes_meanwhile_is_accepted_after_the_receipt(
    world: World,
) -> None:
    for _ in ROUNDS:
        workspace_id = world.workspace()
        stolen = world.launched(workspace_id)
        made = [new_secret(TokenKind.INSTANCE) for _ in range(3)]
        calls: list[Callable[[], object]] = [
            partial(world.revoke_text, stolen, reason=RevokeReason.COMPROMISED),
            *(
                partial(world.register, workspace_id, bearer=stolen, token_sha256=sha256(each))
                for each in made
            ),
            *(partial(world.heartbeat, workspace_id, each) for each in made),
        ]
        all_at_once(calls)
        for each in (stolen, *made):
            assert world.validate(each) is Rejection.TOKEN_INVALID
        world.begin(workspace_id)
        world.expire(workspace_id, TokenKind.TICKET)
        for each in (stolen, *made):
            assert isinstance(world.refused(workspace_id, bearer=each)[0], AdmissionLine)


def test_of_launches_that_are_begun_only_if_needed_one_is(world: World) -> None:
    for _ in ROUNDS:
        workspace_id = world.workspace()
        world.launched(workspace_id)
        world.sql(
            "UPDATE registry.workspaces SET restore_time = clock_timestamp()"
            " WHERE workspace_id = %(id)s",
            id=workspace_id,
        )
        ask = partial(world.begin_if_needed, workspace_id)
        answers = all_at_once([ask] * 6)
        begun = [answer for answer in answers if isinstance(answer, BegunIncarnation)]
        skipped = [answer for answer in answers if answer == NotNeeded(incarnation=10_002)]
        assert (len(begun), len(skipped)) == (1, 5)


def test_leaving_and_coming_back_at_once_leaves_one_last_word(world: World) -> None:
    for _ in ROUNDS:
        workspace_id = world.workspace()
        ticket = world.ticket(workspace_id)
        box = world.box(workspace_id, ticket=ticket)
        world.heartbeat(workspace_id, box)
        calls: list[Callable[[], object]] = [
            partial(world.deregister, workspace_id, box),
            partial(world.register, workspace_id, ticket=ticket),
        ]
        left, back = all_at_once(calls)
        assert not isinstance(left, Exception)
        came_back = isinstance(back, Registered)
        assert len(world.live_instances(workspace_id)) == came_back
        assert world.registration(workspace_id).left is not came_back


def test_admissions_at_once_mint_one_first_token(world: World) -> None:
    for _ in ROUNDS:
        workspace_id = new_workspace_id()
        calls = [
            partial(
                world.admit, workspace_id, request_id=new_request_id(), first_token=FirstToken()
            )
            for _ in range(4)
        ]
        answers = all_at_once(calls)
        assert sum(answer.issued is not None for answer in answers) == 1
        assert len(world.tokens(workspace_id, dead=True)) == 1
