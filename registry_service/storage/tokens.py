"""Finds and inserts tokens. Rows are always locked in the order of their ids."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection

from agentworkspace.core.ids import RequestId, TokenId, WorkspaceId
from registry_service.domain.tokens import Outcome, RevokeReason, Token, TokenKind

# The columns that `to_token` reads. Prepared statements must name them: `*` would fail once a
# migration adds a column.
_COLUMNS: Final = (
    "token_id", "workspace_id", "kind", "token_sha256", "prefix", "label", "scopes",
    "incarnation", "create_time", "expire_time", "first_use_time", "last_use_time",
    "revoke_time", "revoke_reason", "replaces", "minted_on", "request_id", "client_made",
    "outcome", "unproven",
)  # fmt: skip
_BY_HASH: Final = "SELECT * FROM registry.tokens WHERE token_sha256 = %(token_sha256)s"
_BY_ID: Final = """
SELECT * FROM registry.tokens
WHERE workspace_id = %(workspace_id)s AND token_id = %(token_id)s
"""
# The last token of a chain of rotations.
_HEIR: Final = """
WITH RECURSIVE heirs AS (
    SELECT token_id, create_time FROM registry.tokens
    WHERE minted_on = %(token_id)s AND kind = 'API'
    UNION ALL
    SELECT t.token_id, t.create_time FROM registry.tokens t JOIN heirs h ON t.minted_on = h.token_id
    WHERE t.kind = 'API'
)
SELECT * FROM registry.tokens WHERE token_id = (
    SELECT token_id FROM heirs ORDER BY create_time DESC, token_id DESC LIMIT 1
)
"""
_INSERT: Final = """
INSERT INTO registry.tokens (
    workspace_id, kind, token_sha256, prefix, label, scopes, incarnation, create_time,
    expire_time, outcome, replaces, minted_on, client_made, request_id, created_by, issue_digest,
    unproven
) VALUES (
    %(workspace_id)s, %(kind)s, %(token_sha256)s, %(prefix)s, %(label)s, %(scopes)s::text[],
    %(incarnation)s, %(create_time)s, %(expire_time)s, %(outcome)s, %(replaces)s, %(minted_on)s,
    %(client_made)s, %(request_id)s, %(created_by)s, %(issue_digest)s, %(unproven)s
)
ON CONFLICT (token_sha256) DO NOTHING
RETURNING *
"""
_PENDING_OF: Final = """
SELECT * FROM registry.tokens
WHERE minted_on = %(token_id)s AND replaces = %(token_id)s
    AND first_use_time IS NULL AND revoke_time IS NULL
"""
_ALL: Final = "SELECT * FROM registry.tokens WHERE workspace_id = %(workspace_id)s"
_LOCK_INSTANCES: Final = """
SELECT token_id FROM registry.tokens
WHERE workspace_id = %(workspace_id)s AND kind = 'INSTANCE' AND revoke_time IS NULL
ORDER BY token_id FOR UPDATE
"""
_COUNT_INSTANCES: Final = """
SELECT count(*) FROM registry.tokens
WHERE workspace_id = %(workspace_id)s AND create_time > %(since)s AND kind = 'INSTANCE'
"""
_NEWEST_TICKET: Final = """
SELECT * FROM registry.tokens
WHERE workspace_id = %(workspace_id)s AND kind = 'TICKET'
ORDER BY incarnation DESC, create_time DESC, token_id DESC LIMIT 1
"""
# The newest token of each kind of evidence that somebody may hold.
_SPECIMENS: Final = """
SELECT DISTINCT ON (kind, dead, earlier) * FROM (
    SELECT *, kind <> 'API' AND incarnation < %(newest)s AS earlier,
           kind <> 'TICKET' AND (revoke_time IS NOT NULL
               OR coalesce(expire_time <= clock_timestamp(), false)) AS dead
    FROM registry.tokens WHERE workspace_id = %(workspace_id)s AND kind <> 'PROXY'
) judged
ORDER BY kind, dead, earlier, revoke_time IS NULL DESC, create_time DESC, token_id DESC
"""
_PAGE: Final = """
SELECT * FROM registry.tokens
WHERE workspace_id = %(workspace_id)s AND kind <> 'TICKET'
    AND (%(include_proxy)s OR kind <> 'PROXY')
    AND (%(include_dead)s OR (revoke_time IS NULL
         AND (expire_time IS NULL OR expire_time > clock_timestamp())))
    AND (%(before_time)s::timestamptz IS NULL
         OR (create_time, token_id) < (%(before_time)s::timestamptz, %(before_id)s::uuid))
ORDER BY create_time DESC, token_id DESC LIMIT %(limit)s
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewToken:
    """What is stored of a token that is being issued."""

    workspace_id: WorkspaceId
    kind: TokenKind
    token_sha256: bytes
    prefix: str
    label: str = ""
    scopes: tuple[str, ...] = ()
    incarnation: int = 0
    create_time: datetime
    expire_time: datetime | None = None
    outcome: Outcome | None = None
    replaces: TokenId | None = None
    minted_on: TokenId | None = None
    client_made: bool
    request_id: RequestId | None = None
    created_by: str = ""
    issue_digest: bytes | None = None
    unproven: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredToken:
    """A token, with the columns that are needed only to issue or list one."""

    token: Token
    revoke_note: str
    created_by: str
    issue_digest: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Specimen:
    """One token that stands for all of its kind. `earlier`: of an incarnation before the newest.

    `dead` is always False for a ticket, because even a void one may count as evidence.
    """

    token: Token
    dead: bool
    earlier: bool


def by_hash(tx: Connection, token_sha256: bytes) -> StoredToken | None:
    """The token or ticket with this hash, of any workspace, dead or alive."""
    return _one(tx, _BY_HASH, {"token_sha256": token_sha256})


def by_id(tx: Connection, workspace_id: WorkspaceId, token_id: TokenId) -> StoredToken | None:
    return _one(tx, _BY_ID, {"workspace_id": workspace_id, "token_id": token_id})


def present(tx: Connection, workspace_id: WorkspaceId, token_id: TokenId) -> StoredToken:
    """The same as `by_id` for a token that must exist, as tokens are never deleted. LookupError."""
    found = by_id(tx, workspace_id, token_id)
    if found is None:
        raise LookupError(f"token {token_id} is gone")
    return found


def newest_heir(tx: Connection, token_id: TokenId) -> StoredToken | None:
    """The last api token in the chain of rotations that began with this one; None if none."""
    return _one(tx, _HEIR, {"token_id": token_id})


def newest_ticket(tx: Connection, workspace_id: WorkspaceId) -> Token | None:
    """The newest ticket of the newest incarnation that has one, void or not."""
    found = _one(tx, _NEWEST_TICKET, {"workspace_id": workspace_id})
    return found.token if found else None


def insert(tx: Connection, new: NewToken) -> Token | None:
    """Store it. None when the hash belongs to a token already."""
    parameters = {name: getattr(new, name) for name in NewToken.__slots__}
    parameters["scopes"] = list(new.scopes)
    found = _one(tx, _INSERT, parameters)
    return found.token if found else None


def pending_of(tx: Connection, token_id: TokenId) -> list[Token]:
    """Tokens that would replace this one at their first use."""
    rows = tx.exec_driver_sql(_PENDING_OF, {"token_id": token_id})
    return [to_token(row) for row in rows]


def all_of(tx: Connection, workspace_id: WorkspaceId) -> list[Token]:
    """Every token and ticket that it ever had. Lock the workspace first, so that none is added."""
    rows = tx.exec_driver_sql(_ALL, {"workspace_id": workspace_id})
    return [to_token(row) for row in rows]


def lock_instance_tokens(tx: Connection, workspace_id: WorkspaceId) -> list[TokenId]:
    """Lock its unrevoked instance tokens, so that nobody can write a first use of one. Lock the
    workspace first.
    """
    rows = tx.exec_driver_sql(_LOCK_INSTANCES, {"workspace_id": workspace_id})
    return [TokenId(str(row.token_id)) for row in rows]


def count_instance_tokens(tx: Connection, workspace_id: WorkspaceId, *, since: datetime) -> int:
    """How many of its instance tokens were made after `since`, dead ones too."""
    values = {"workspace_id": workspace_id, "since": since}
    count: int = tx.exec_driver_sql(_COUNT_INSTANCES, values).scalar_one()
    return count


def page(
    tx: Connection,
    workspace_id: WorkspaceId,
    *,
    include_dead: bool,
    include_proxy: bool = False,
    before: tuple[datetime, str] | None,
    limit: int,
) -> list[StoredToken]:
    """At most `limit` tokens, newest first, without tickets. With `before`, a (create_time,
    token_id), only those that come after it in this order.
    """
    before_time, before_id = before or (None, None)
    parameters = {
        "workspace_id": workspace_id,
        "include_dead": include_dead,
        "include_proxy": include_proxy,
        "before_time": before_time,
        "before_id": before_id,
        "limit": limit,
    }
    return [_stored(row) for row in tx.exec_driver_sql(_PAGE, parameters)]


def specimens(tx: Connection, workspace_id: WorkspaceId, newest: int) -> list[Specimen]:
    """One token of each kind of evidence; `newest` is the workspace's newest incarnation."""
    rows = tx.exec_driver_sql(_SPECIMENS, {"workspace_id": workspace_id, "newest": newest})
    return [Specimen(token=to_token(row), dead=row.dead, earlier=row.earlier) for row in rows]


def columns(table: str) -> str:
    """The columns that `to_token` reads, as the select list of this table or alias."""
    return ", ".join(f"{table}.{name}" for name in _COLUMNS)


def to_token(row: Any) -> Token:
    return Token(
        token_id=TokenId(str(row.token_id)),
        workspace_id=WorkspaceId(str(row.workspace_id)),
        kind=TokenKind(row.kind),
        token_sha256=bytes(row.token_sha256),
        create_time=row.create_time,
        prefix=row.prefix,
        label=row.label,
        scopes=frozenset(row.scopes),
        incarnation=row.incarnation,
        expire_time=row.expire_time,
        first_use_time=row.first_use_time,
        last_use_time=row.last_use_time,
        revoke_time=row.revoke_time,
        revoke_reason=RevokeReason(row.revoke_reason) if row.revoke_reason else None,
        replaces=TokenId(str(row.replaces)) if row.replaces else None,
        minted_on=TokenId(str(row.minted_on)) if row.minted_on else None,
        request_id=RequestId(str(row.request_id)) if row.request_id else None,
        client_made=row.client_made,
        outcome=Outcome(row.outcome) if row.outcome else None,
        unproven=row.unproven,
    )


def _stored(row: Any) -> StoredToken:
    digest = row.issue_digest
    return StoredToken(
        token=to_token(row),
        revoke_note=row.revoke_note,
        created_by=row.created_by,
        issue_digest=None if digest is None else bytes(digest),
    )


def _one(tx: Connection, statement: str, parameters: Mapping[str, object]) -> StoredToken | None:
    row = tx.exec_driver_sql(statement, dict(parameters)).one_or_none()
    return _stored(row) if row else None
