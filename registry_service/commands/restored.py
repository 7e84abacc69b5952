"""`registry-service restored`: what has to be done after a restore from a backup.

The database does not know what was revoked, launched or removed after the backup. So all that boxes
hold is revoked, every verifier is told to forget what it knows, and every workspace is marked for a
new launch. This is done in batches, each with its own commit, so that the next run finishes one
that was interrupted.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

from sqlalchemy import Connection

from agentworkspace.core.audit import Change
from agentworkspace.core.ids import TenantId, WorkspaceId
from agentworkspace.service.store_faults import attempt
from registry_service.commands import recording
from registry_service.commands.origin import Origin
from registry_service.domain.standing import Workspace
from registry_service.domain.tokens import RevokeReason, Token
from registry_service.storage import feed, restoring, revocation
from registry_service.storage.restoring import Held, Survey
from registry_service.storage.store import Store

NOTE: Final = "the registry was restored from a backup, which does not know what was revoked since"
_AT_ONCE: Final = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """`api_tokens`: revoke api tokens, too. `limit`: how many workspaces one batch has."""

    origin: Origin
    api_tokens: bool
    limit: int = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """How many were done so far; `last` is the workspace that was done last, None before any."""

    workspaces: int = 0
    tokens: int = 0
    last: WorkspaceId | None = None


def survey(store: Store) -> Survey:
    """How much there is to do. Changes nothing."""
    with store.reading() as tx:
        return restoring.survey(tx)


def live_api_tokens(store: Store) -> Iterator[Held]:
    """All live api tokens. Any of them may have been revoked after the backup."""
    last: Token | None = None
    while True:
        with store.reading() as tx:
            page = restoring.live_api_tokens(tx, behind=last, limit=_AT_ONCE)
        yield from page
        if len(page) < _AT_ONCE:
            return
        last = page[-1].token


def run(store: Store, command: Restored) -> Iterator[Done]:
    """Do all of it. Yields after each batch how much is done."""
    attempt(lambda: _begin(store, command))
    done = Done()
    while True:
        batch = attempt(partial(_batch, store, command, done.last))
        if batch is None:
            break
        done = Done(
            workspaces=done.workspaces + batch.workspaces,
            tokens=done.tokens + batch.tokens,
            last=batch.last,
        )
        yield done
    attempt(lambda: _end(store, command, done))


def _begin(store: Store, command: Restored) -> None:
    with store.transaction() as tx:
        facts = {"api_tokens": "revoke" if command.api_tokens else "keep"}
        recording.record(tx, command.origin, [_of_all("registry.restore_begun", facts)])
        feed.leap(tx)


def _end(store: Store, command: Restored, done: Done) -> None:
    facts = {"workspaces": done.workspaces, "ended": done.tokens}
    with store.transaction() as tx:
        recording.record(tx, command.origin, [_of_all("registry.restored", facts)])


def _batch(store: Store, command: Restored, after: WorkspaceId | None) -> Done | None:
    with store.transaction() as tx:
        locked = restoring.lock_next(tx, after=after, limit=command.limit)
        if not locked:
            return None
        of = {known.workspace.workspace_id: known.workspace for known in locked}
        opening = restoring.opening(tx, list(of), api_tokens=command.api_tokens)
        condemned = revocation.condemn(tx, opening, now=locked[-1].now, note=NOTE)
        marked = restoring.mark(tx, list(of))
        changes = _revoked(of, condemned.found)
        changes += [recording.change(of[each], "workspace.restored") for each in sorted(marked)]
        recording.record(tx, command.origin, changes)
        _publish(tx, of, condemned.ended)
    return Done(
        workspaces=len(locked),
        tokens=len(condemned.ended),
        last=locked[-1].workspace.workspace_id,
    )


def _revoked(of: dict[WorkspaceId, Workspace], tokens: list[Token]) -> list[Change]:
    by_workspace = defaultdict(list)
    for token in tokens:
        by_workspace[token.workspace_id].append(token)
    return [
        change
        for workspace_id, ended in by_workspace.items()
        for change in recording.revoked(of[workspace_id], ended, RevokeReason.COMPROMISED, NOTE)
    ]


def _publish(tx: Connection, of: dict[WorkspaceId, Workspace], ended: list[Token]) -> None:
    """Tell verifiers that asked after the feed's reset, and before this batch."""
    hit = sorted({token.workspace_id for token in ended})
    recording.publish(
        tx, [recording.entry_for_all(of[each], RevokeReason.COMPROMISED) for each in hit]
    )


def _of_all(action: str, facts: Mapping[str, object]) -> Change:
    """An audit entry that belongs to no single workspace."""
    return recording.change_of(None, TenantId(""), action, details=facts)
