"""BeginIncarnation: begins a launch, and ends what boxes of earlier ones hold."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from agentworkspace.core.caller import Caller
from agentworkspace.core.ids import RequestId, TokenId, WorkspaceId
from agentworkspace.core.refusal import Refusal
from agentworkspace.core.secret import Secret
from registry_service.commands import grounds, recording, registration_view
from registry_service.commands.issued import Delivery, NewSecret
from registry_service.commands.issuing import Claim, Draft, Issuing
from registry_service.commands.origin import Origin
from registry_service.domain.refusals import Reason
from registry_service.domain.standing import Workspace
from registry_service.domain.tokens import RevokeReason, Token, TokenKind
from registry_service.storage import registrations, revocation, tokens, workspaces
from registry_service.storage.requests import Answered
from registry_service.storage.store import Store, Transaction
from registry_service.storage.workspaces import Known

TICKET_TTL: Final = timedelta(minutes=45)


@dataclass(frozen=True, slots=True, kw_only=True)
class BeginIncarnation:
    origin: Origin
    caller: Caller
    workspace_id: WorkspaceId
    request_id: RequestId
    ticket_ttl: timedelta = TICKET_TTL
    ticket_sha256: bytes | None = None
    # Also end a suspension, which nothing else does.
    lift_suspension: bool = False
    # The newest launch that the launcher remembers; the new number will be above it.
    minimum_incarnation: int = 0
    # Begin only if `needs_relaunch` says so in the same transaction.
    only_if_needed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class BegunIncarnation:
    incarnation: int
    # Set exactly when `delivery` is ENCLOSED.
    bootstrap_ticket: Secret | None
    ticket_expire_time: datetime
    revoked_count: int
    delivery: Delivery


@dataclass(frozen=True, slots=True, kw_only=True)
class NotNeeded:
    """Nothing was begun; `incarnation` is still the newest."""

    incarnation: int


def run(
    store: Store, command: BeginIncarnation, *, new_secret: NewSecret
) -> BegunIncarnation | NotNeeded:
    """Refusals: WORKSPACE_UNKNOWN, WORKSPACE_REMOVED, WORKSPACE_SUSPENDED, INCARNATION_FENCED,
    INCARNATION_SUPERSEDED, INVALID_REQUEST (the minimum is out of reach), TOKEN_HASH_IN_USE,
    REQUEST_ID_REUSED, TENANT_FORBIDDEN.
    """
    with store.transaction() as tx:
        known = grounds.in_service(
            command.caller,
            workspaces.lock(tx, command.workspace_id),
            command.workspace_id,
        )
        request = Issuing(
            tx=tx,
            claim=claim_of(command),
            origin=command.origin,
            known=known,
            new_secret=new_secret,
        )
        answered = request.earlier_answer()
        if answered:
            return _again(request, command, answered)
        require_free(command, known.workspace)
        if command.only_if_needed and not _needed(tx, command, known):
            return NotNeeded(incarnation=known.workspace.incarnation)
        return _begin(request, command)


def require_free(command: BeginIncarnation, workspace: Workspace) -> None:
    """Refuse if a new launch may not begin. Refusals: INVALID_REQUEST (the minimum is out of
    reach), WORKSPACE_SUSPENDED.
    """
    grounds.require_reach(workspace, command.minimum_incarnation, "minimum_incarnation")
    if workspace.suspended and not command.lift_suspension:
        raise grounds.suspended(command.workspace_id)


def is_behind(command: BeginIncarnation, workspace: Workspace) -> bool:
    """Whether launches happened that are not stored here, because of a restore from a backup."""
    return command.minimum_incarnation > workspace.incarnation


def _needed(tx: Transaction, command: BeginIncarnation, known: Known) -> bool:
    if is_behind(command, known.workspace):
        return True
    registration = registration_view.read(tx, command.workspace_id)
    return registration.relaunch is not None


def claim_of(command: BeginIncarnation) -> Claim:
    return Claim(
        caller=command.caller.name,
        method="BeginIncarnation",
        workspace_id=command.workspace_id,
        request_id=command.request_id,
        token_sha256=command.ticket_sha256,
        params={"ticket_ttl": command.ticket_ttl}
        # Left out when false, so that the digest is that of versions without this field.
        | ({"lift_suspension": True} if command.lift_suspension else {}),
    )


def _begin(request: Issuing, command: BeginIncarnation) -> BegunIncarnation:
    tx, reason = request.tx, RevokeReason.RELAUNCHED
    workspace, now = request.known.workspace, request.known.now
    ended = revocation.revoke_kinds(
        tx,
        workspace.workspace_id,
        frozenset({TokenKind.INSTANCE, TokenKind.TICKET}),
        reason=reason,
        now=now,
    )
    gone = [token for token in ended if token.kind is TokenKind.INSTANCE]
    void = [token for token in ended if token.kind is TokenKind.TICKET]
    incarnation = workspaces.launch(
        tx, workspace.workspace_id, now, minimum=command.minimum_incarnation
    )
    draft = Draft(
        kind=TokenKind.TICKET, incarnation=incarnation, expire_time=now + command.ticket_ttl
    )
    ticket, secret = request.store(draft)
    facts = {"token_id": ticket.token_id, "incarnation": incarnation, "revoked_count": len(gone)}
    request.remember(facts)
    changes = recording.revoked(workspace, [*gone, *void], reason)
    changes.append(
        recording.change(
            workspace,
            "incarnation.begun",
            ticket.token_id,
            {"incarnation": incarnation, "revoked_count": len(gone)}
            | ({"lifted": " ".join(workspace.fences)} if workspace.fences else {}),
        )
    )
    recording.record(tx, command.origin, changes)
    if gone:
        recording.publish(tx, [recording.entry_for_all(workspace, reason)])
    return begun_of(ticket, secret, len(gone))


def _again(request: Issuing, command: BeginIncarnation, answered: Answered) -> BegunIncarnation:
    """Answer with the same launch again. A ticket that nobody used counts as lost and is replaced,
    even if an operator voided it meanwhile. A launch that was fenced since is refused.
    """
    tx, known = request.tx, request.known
    if known.workspace.incarnation > answered.result["incarnation"]:
        raise Refusal(
            Reason.INCARNATION_SUPERSEDED,
            "a newer launch has begun since",
            metadata={"incarnation": str(known.workspace.incarnation)},
        )
    ticket_id, revoked_count = answered.result["token_id"], answered.result["revoked_count"]
    ticket = tokens.present(tx, command.workspace_id, TokenId(ticket_id)).token
    # A compromised ticket without a fence: the registry was restored from a backup.
    if known.workspace.fence or ticket.revoke_reason is RevokeReason.COMPROMISED:
        raise grounds.incarnation_fenced(
            known.workspace, "nothing of this launch opens any more; begin another one"
        )
    if ticket.client_made:
        return _begun(ticket, None, Delivery.CALLER_MADE, revoked_count)
    replayed = None
    if not ticket.is_used() and ticket.revoke_reason in (None, RevokeReason.OPERATOR):
        # The ticket's time begins anew, because whoever asks again will only now launch the box.
        replayed = request.replace_lost(ticket, expire_time=known.now + command.ticket_ttl)
    if replayed is None:
        return _begun(ticket, None, Delivery.ALREADY_DELIVERED, revoked_count)
    registrations.note_change(tx, command.workspace_id)
    request.note(replayed)
    fresh = replayed.issued
    return _begun(fresh.token, fresh.plaintext, fresh.delivery, revoked_count)


def begun_of(ticket: Token, secret: Secret | None, revoked_count: int) -> BegunIncarnation:
    """The answer when a launch begins; `secret` is None if the caller made it."""
    delivery = Delivery.CALLER_MADE if secret is None else Delivery.ENCLOSED
    return _begun(ticket, secret, delivery, revoked_count)


def _begun(
    ticket: Token, secret: Secret | None, delivery: Delivery, revoked_count: int
) -> BegunIncarnation:
    if ticket.expire_time is None:
        raise AssertionError("a ticket always expires")
    return BegunIncarnation(
        incarnation=ticket.incarnation,
        bootstrap_ticket=secret,
        ticket_expire_time=ticket.expire_time,
        revoked_count=revoked_count,
        delivery=delivery,
    )
