"""How thieves came in and boxes stayed out under the rules before, told again under these.

Each test is one story of what was found on the running pair, and is named after it.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from agentworkspace.core.refusal import SharedReason
from registry_service.commands.admit_workspace import FirstToken
from registry_service.commands.validate_tokens import Rejection
from registry_service.domain.admission_line import AdmissionLine
from registry_service.domain.principal import Principal
from registry_service.domain.refusals import Reason
from registry_service.domain.relaunch import RelaunchReason
from registry_service.domain.standing import BootstrapPolicy
from registry_service.domain.tokens import RevokeReason, TokenKind
from registry_service.workers import write_pulse
from tests.storage.registry_world import (
    World,
    new_request_id,
    new_secret,
    new_workspace_id,
    reason_of,
    sha256,
    world_at,
)

COMPROMISED, SUSPENDED = RevokeReason.COMPROMISED, RevokeReason.SUSPENDED
LONG_AGO = timedelta(days=1)


@pytest.fixture(scope="module")
def world(registry_database_of_module: str) -> Iterator[World]:
    with world_at(registry_database_of_module) as world:
        write_pulse.run(world.store)
        world.sql("UPDATE registry.pulse SET up_since = up_since - interval '1 day'")
        yield world


def token_id(world: World, workspace_id: Any, secret: Any) -> Any:
    return world.token_of(workspace_id, secret).token.token_id


class TestACopiedTokenComesBackAfterTwoLaunches:
    """Trace 1: T1 is copied and revoked by an operator, the box comes back with T2, all tokens
    are compromised, a launch lapses: and T1 was let in."""

    @pytest.mark.parametrize("by", ["its ticket", "its dead token"])
    def test_not_any_more(self, world: World, by: str) -> None:
        workspace_id = world.workspace()
        ticket = world.ticket(workspace_id)
        copied = world.box(workspace_id, ticket=ticket)
        world.heartbeat(workspace_id, copied)
        world.revoke(workspace_id, token_id(world, workspace_id, copied))
        shown: dict[str, Any] = {"ticket": ticket} if by == "its ticket" else {"bearer": copied}
        back = world.box(workspace_id, **shown)
        world.heartbeat(workspace_id, back)
        world.revoke_all(workspace_id, COMPROMISED)
        world.begin(workspace_id)
        world.expire(workspace_id, TokenKind.TICKET)
        for token in (copied, back):
            with_it = world.refused(workspace_id, bearer=token)
            assert with_it in (
                (AdmissionLine.COMPROMISED, SharedReason.BEARER_REJECTED),
                (AdmissionLine.TICKET_NEEDED, Reason.TICKET_REQUIRED),
            )

    def test_also_where_only_the_newer_token_was_found_stolen(self, world: World) -> None:
        workspace_id = world.workspace()
        copied = world.launched(workspace_id)
        world.revoke(workspace_id, token_id(world, workspace_id, copied))
        back = world.box(workspace_id, bearer=copied)
        world.revoke(workspace_id, token_id(world, workspace_id, back), reason=COMPROMISED)
        world.begin(workspace_id)
        world.expire(workspace_id, TokenKind.TICKET)
        assert world.refused(workspace_id, bearer=copied)[0] is AdmissionLine.COMPROMISED


@pytest.mark.parametrize(
    ("fence", "told"),
    [(SUSPENDED, SharedReason.WORKSPACE_SUSPENDED), (COMPROMISED, Reason.TICKET_REQUIRED)],
)
def test_a_ticket_does_not_pass_a_fence_and_a_replay_hands_out_no_other(
    world: World, fence: RevokeReason, told: Reason
) -> None:
    """Trace 2: the ticket bootstrapped beside the fence, and a replay gave a fresh one."""
    workspace_id, request_id = world.workspace(), new_request_id()
    ticket = world.ticket(workspace_id, request_id=request_id)
    world.revoke_all(workspace_id, fence)
    assert world.refused(workspace_id, ticket=ticket) == (AdmissionLine.FENCED, told)
    reason = reason_of(lambda: world.begin(workspace_id, request_id=request_id))
    assert reason is SharedReason.INCARNATION_FENCED
    assert world.registration(workspace_id).state == "PENDING"


class TestALaunchThatNobodyIsToldOf:
    """Trace 3: launches that lapsed were never marked, an old box hid a newer one that was told
    RELAUNCH, and a slow boot was marked while its ticket was good."""

    def reason(self, world: World, workspace_id: Any) -> RelaunchReason | None:
        relaunch = world.registration(workspace_id).relaunch
        return relaunch.reason if relaunch else None

    def test_a_first_launch_that_lapses_is_marked(self, world: World) -> None:
        workspace_id = world.workspace()
        world.begin(workspace_id)
        assert self.reason(world, workspace_id) is None
        world.expire(workspace_id, TokenKind.TICKET)
        assert self.reason(world, workspace_id) is RelaunchReason.TICKET_UNUSED

    def test_so_is_one_after_a_clean_leave(self, world: World) -> None:
        workspace_id = world.workspace()
        world.deregister(workspace_id, world.launched(workspace_id))
        assert self.reason(world, workspace_id) is None
        world.begin(workspace_id)
        world.expire(workspace_id, TokenKind.TICKET)
        assert self.reason(world, workspace_id) is RelaunchReason.TICKET_UNUSED

    def test_a_slow_boot_is_not_while_its_ticket_is_good(self, world: World) -> None:
        workspace_id = world.workspace()
        world.launched(workspace_id)
        world.silence(workspace_id, LONG_AGO)
        assert self.reason(world, workspace_id) is RelaunchReason.SILENT
        world.begin(workspace_id)
        assert self.reason(world, workspace_id) is None

    def test_an_old_box_that_came_back_does_not_hide_a_newest_one_that_is_refused(
        self, world: World
    ) -> None:
        workspace_id = world.workspace()
        old = world.launched(workspace_id)
        ticket = world.ticket(workspace_id)
        world.expire(workspace_id, TokenKind.TICKET)
        back = world.box(workspace_id, bearer=old)
        for _ in range(8):
            world.refused_later(workspace_id, timedelta(seconds=30), ticket=ticket)
            world.heartbeat(workspace_id, back)
        assert self.reason(world, workspace_id) is RelaunchReason.NEWEST_REFUSED

    def test_the_relaunch_of_a_refused_box_begins_anew_when_its_ticket_lets_it_in(
        self, world: World
    ) -> None:
        workspace_id = world.workspace()
        ticket = world.ticket(workspace_id)
        box = world.box(workspace_id, ticket=ticket)
        world.heartbeat(workspace_id, box)
        for _ in range(8):
            world.refused_later(workspace_id, timedelta(seconds=30), ticket=ticket)
        assert self.reason(world, workspace_id) is RelaunchReason.NEWEST_REFUSED
        world.revoke(workspace_id, token_id(world, workspace_id, box))
        world.box(workspace_id, ticket=ticket)
        assert self.reason(world, workspace_id) is None


class TestAnIdIsNoEvidence:
    """Trace 5: whoever knew an id was let in before the first launch, and read the secrets."""

    def test_where_a_ticket_or_evidence_is_required_from_birth(self, world: World) -> None:
        for required in ({"ticket_required": True}, {"evidence_required": True}):
            workspace_id = world.workspace(**required)
            assert world.refused(workspace_id) == (
                AdmissionLine.OPEN_DOOR,
                Reason.TICKET_REQUIRED,
            )

    def test_and_elsewhere_the_token_says_that_it_proves_nothing(self, world: World) -> None:
        workspace_id = world.workspace()
        stranger, rotated = world.box(workspace_id), new_secret(TokenKind.INSTANCE)
        world.register(workspace_id, bearer=stranger, token_sha256=sha256(rotated))
        for token in (stranger, rotated, rotated):
            principal = world.validate(token)
            assert isinstance(principal, Principal)
            assert not principal.evidence_backed
        backed = world.validate(world.launched(workspace_id))
        assert isinstance(backed, Principal)
        assert backed.evidence_backed


def test_a_thief_does_not_come_back_with_a_token_that_was_found_stolen(world: World) -> None:
    """Trace 6: no reason meant OPERATOR, and its holder registered again."""
    workspace_id = world.workspace()
    stolen = world.launched(workspace_id)
    world.revoke_text(stolen, reason=COMPROMISED)
    assert world.refused(workspace_id, bearer=stolen)[0] is AdmissionLine.FENCED
    world.begin(workspace_id)
    world.expire(workspace_id, TokenKind.TICKET)
    assert world.refused(workspace_id, bearer=stolen)[0] is AdmissionLine.COMPROMISED


class TestWhatLaunchersAndApiTokensMayNot:
    """Trace 7: tokens minted by admitting twice, a fence by an api token, an end that vanished,
    and a policy under which a stranger passed where the ticket's holder did not."""

    def test_nobody_mints_by_admitting_a_known_workspace(self, world: World) -> None:
        workspace_id = new_workspace_id()
        world.admit(workspace_id, request_id=new_request_id(), first_token=FirstToken())
        again = world.admit(
            workspace_id, request_id=new_request_id(), first_token=FirstToken(scopes=("admin",))
        )
        assert again.issued is None
        assert len(world.tokens(workspace_id, dead=True)) == 1

    def test_an_api_token_does_not_fence_its_workspace(self, world: World) -> None:
        workspace_id = world.workspace()
        api = world.first_token(workspace_id)
        box = world.launched(workspace_id)
        own: dict[str, Any] = {"caller": None, "bearer": api, "reason": COMPROMISED}
        world.revoke(workspace_id, token_id(world, workspace_id, api), **own)
        assert world.registration(workspace_id).fences == ()
        assert world.register(workspace_id, bearer=box).line is AdmissionLine.LIVE_TOKEN

    def test_the_end_of_a_break_glass_token_does_not_vanish_with_a_register(
        self, world: World
    ) -> None:
        workspace_id = world.workspace()
        made = world.mint(workspace_id, kind=TokenKind.INSTANCE, ttl=timedelta(hours=1))
        assert made.plaintext is not None
        rotated = new_secret(TokenKind.INSTANCE)
        world.register(workspace_id, bearer=made.plaintext, token_sha256=sha256(rotated))
        principal = world.validate(rotated)
        assert isinstance(principal, Principal)
        assert principal.expire_time == made.token.expire_time
        assert principal.evidence_backed
        world.revoke(workspace_id, principal.token_id)
        back = world.register(workspace_id, bearer=rotated).token
        assert back.expire_time == made.token.expire_time
        world.expire(workspace_id, TokenKind.INSTANCE)
        assert world.validate(rotated) is Rejection.TOKEN_INVALID

    def test_the_end_of_an_api_token_is_that_of_what_it_opens(self, world: World) -> None:
        workspace_id = world.workspace(evidence_required=True)
        ends = world.mint(workspace_id, ttl=timedelta(hours=1))
        box = world.register(workspace_id, bearer=ends.plaintext).token
        assert box.expire_time == ends.token.expire_time

    def test_under_the_open_policy_a_holder_of_a_lapsed_ticket_is_a_stranger_like_any(
        self, world: World
    ) -> None:
        policy = BootstrapPolicy.OPEN
        workspace_id = world.workspace()
        ticket = world.ticket(workspace_id)
        world.expire(workspace_id, TokenKind.TICKET)
        answer = world.register(workspace_id, ticket=ticket, policy=policy)
        assert answer.line is AdmissionLine.TICKET_EXPIRED
        closed = world.workspace(ticket_required=True)
        shown = world.ticket(closed)
        world.expire(closed, TokenKind.TICKET)
        for evidence in ({"ticket": shown}, {}):
            line, _ = world.refused(closed, policy=policy, **evidence)
            assert line in (AdmissionLine.TICKET_EXPIRED, AdmissionLine.TICKET_NEEDED)


class TestADeadTokenOfItsOwnEndsNobody:
    """Whoever holds a token that was rotated out could report itself as stolen, and so fence the
    workspace and end the box that lives."""

    def test_it_gets_a_receipt_and_nothing_ends(self, world: World) -> None:
        workspace_id = world.workspace()
        ticket = world.ticket(workspace_id)
        old = world.box(workspace_id, ticket=ticket)
        fresh = new_secret(TokenKind.INSTANCE)
        world.register(workspace_id, bearer=old, token_sha256=sha256(fresh))
        world.heartbeat(workspace_id, fresh)
        receipt = world.revoke(
            workspace_id,
            token_id(world, workspace_id, old),
            caller=None,
            bearer=old,
            reason=COMPROMISED,
        )
        assert receipt.already_revoked
        world.heartbeat(workspace_id, fresh)
        assert world.registration(workspace_id).fences == ()


class TestANumberAboveTheRegistrysIsANeed:
    """Provision counts more launches than these records, which stem from a backup: an
    AUTO_RESTART of that workspace was skipped for ever."""

    def test_it_begins_above_both(self, world: World) -> None:
        workspace_id = world.workspace()
        world.box(workspace_id, ticket=world.ticket(workspace_id))
        begun = world.begin_if_needed(workspace_id, minimum_incarnation=5)
        assert begun.incarnation == 6
