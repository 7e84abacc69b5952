"""WhoAmI: tells whom the presented token speaks for."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from agentworkspace.core.secret import Secret
from registry_service.commands import evidence, first_use, grounds, recording
from registry_service.commands.origin import Origin
from registry_service.commands.validate_tokens import principal_of
from registry_service.domain.principal import Principal
from registry_service.domain.tokens import TokenKind
from registry_service.storage import standings
from registry_service.storage.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class WhoAmI:
    bearer: Secret | None
    # Two parts of an Origin; its actor is known only when the token was looked up.
    method: str = ""
    correlation_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Identified:
    principal: Principal
    # When it was used, by the database's clock, for `flush_last_uses`.
    time: datetime


def run(store: Store, command: WhoAmI) -> Identified:
    """Refusals: BEARER_MISSING, BEARER_REJECTED."""
    if command.bearer is None:
        raise grounds.bearer_missing()
    presented = evidence.hash_of(command.bearer)
    if presented is None:
        raise grounds.bearer_rejected()
    with store.transaction() as tx:
        found = standings.bearers(tx, [presented])
        bearer = found.by_hash.get(presented)
        if bearer is None or not bearer.is_live(found.now):
            raise grounds.bearer_rejected(recognised=bearer is not None)
        if bearer.token.kind in (TokenKind.TICKET, TokenKind.PROXY):
            raise grounds.bearer_rejected(recognised=True)
        origin = Origin(
            actor=f"workspace:{bearer.workspace.workspace_id}",
            method=command.method,
            correlation_id=command.correlation_id,
        )
        use = first_use.Use(token=bearer.token, workspace=bearer.workspace, origin=origin)
        written = first_use.write(tx, [use], now=found.now)
        if written.news:
            recording.publish(tx, written.news)
    if written.died:
        raise grounds.bearer_rejected(recognised=True)
    return Identified(principal=principal_of(bearer), time=found.now)
