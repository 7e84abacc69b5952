"""BeginIncarnation for many workspaces at once: two to four statements, one commit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy.exc import IntegrityError

from agentworkspace.core.ids import WorkspaceId
from agentworkspace.core.refusal import Refusal
from agentworkspace.core.secret import Secret
from registry_service.commands import grounds, recording, registration_view
from registry_service.commands.begin_incarnation import (
    BeginIncarnation,
    BegunIncarnation,
    begun_of,
    claim_of,
    is_behind,
    require_free,
)
from registry_service.commands.issued import NewSecret
from registry_service.domain.tokens import RevokeReason, TokenKind, display_prefix, token_sha256
from registry_service.storage import launching
from registry_service.storage.launching import Begun, Launch
from registry_service.storage.store import Store, Transaction
from registry_service.storage.workspaces import Known


@dataclass(frozen=True, slots=True, kw_only=True)
class _Draft:
    """A launch that may begin; its workspace is locked."""

    known: Known
    launch: Launch
    # None when the caller made it.
    secret: Secret | None


def run(
    store: Store, commands: Sequence[BeginIncarnation], *, new_secret: NewSecret
) -> list[BegunIncarnation | None]:
    """One answer each, in order. None: nothing was done; run `begin_incarnation` for it alone.

    None is answered wherever `begin_incarnation` would refuse, repeat an answer, wait for a lock
    or find the launch not needed.
    """
    try:
        with store.transaction() as tx:
            drafts = _drafts(tx, commands, new_secret)
            begun = (
                launching.begin(tx, [draft.launch for draft in drafts.values()]) if drafts else {}
            )
            _publish(tx, drafts.values(), begun)
    except IntegrityError:
        # Another transaction stored the same hash first, so none of these has begun.
        return [None] * len(commands)
    return [
        _answer(drafts[place], begun[command.workspace_id])
        if place in drafts and command.workspace_id in begun
        else None
        for place, command in enumerate(commands)
    ]


def _drafts(
    tx: Transaction, commands: Sequence[BeginIncarnation], new_secret: NewSecret
) -> dict[int, _Draft]:
    """The launches that may begin, by their place in `commands`: one for each workspace that no
    other transaction holds.
    """
    first: dict[WorkspaceId, int] = {}
    for place, command in enumerate(commands):
        first.setdefault(command.workspace_id, place)
    locked = launching.lock(tx, list(first))
    able = {
        first[workspace_id]: known
        for workspace_id, known in locked.items()
        if _is_free(commands[first[workspace_id]], known)
    }
    idle = _not_needed(tx, [(commands[place], known) for place, known in able.items()])
    return {
        place: _draft(commands[place], known, new_secret)
        for place, known in able.items()
        if known.workspace.workspace_id not in idle
    }


def _is_free(command: BeginIncarnation, known: Known) -> bool:
    try:
        grounds.in_service(command.caller, known, command.workspace_id)
        require_free(command, known.workspace)
    except Refusal:
        return False
    return True


def _not_needed(
    tx: Transaction, able: Sequence[tuple[BeginIncarnation, Known]]
) -> frozenset[WorkspaceId]:
    """The workspaces that are to be launched only if they need it, and do not need it."""
    asked = [
        command.workspace_id
        for command, known in able
        if command.only_if_needed and not is_behind(command, known.workspace)
    ]
    if not asked:
        return frozenset()
    views = registration_view.read_many(tx, asked)
    return frozenset(each for each, view in views.items() if view.relaunch is None)


def _draft(command: BeginIncarnation, known: Known, new_secret: NewSecret) -> _Draft:
    workspace = known.workspace
    secret = None if command.ticket_sha256 else new_secret(TokenKind.TICKET)
    text = secret.reveal() if secret else ""
    launch = Launch(
        workspace_id=workspace.workspace_id,
        tenant_id=workspace.tenant_id,
        minimum=command.minimum_incarnation,
        token_sha256=command.ticket_sha256 or token_sha256(text),
        prefix=display_prefix(text),
        client_made=secret is None,
        ttl=command.ticket_ttl,
        lifted=" ".join(workspace.fences),
        request_id=command.request_id,
        caller=command.caller.name,
        digest=claim_of(command).digest(),
        now=known.now,
        actor=command.origin.actor,
        method=command.origin.method,
        correlation_id=command.origin.correlation_id,
    )
    return _Draft(known=known, launch=launch, secret=secret)


def _publish(tx: Transaction, drafts: Iterable[_Draft], begun: Mapping[WorkspaceId, Begun]) -> None:
    """Tell the feed, which must be the last statement of the transaction."""
    news = [
        recording.entry_for_all(draft.known.workspace, RevokeReason.RELAUNCHED)
        for draft in drafts
        if (found := begun.get(draft.launch.workspace_id)) and found.revoked_count
    ]
    if news:
        recording.publish(tx, news)


def _answer(draft: _Draft, begun: Begun) -> BegunIncarnation:
    return begun_of(begun.ticket, draft.secret, begun.revoked_count)
