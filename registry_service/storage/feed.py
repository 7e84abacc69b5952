"""The feed of revocations. Its `revision` grows in commit order, which a sequence would not do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection

from agentworkspace.core.ids import TenantId, WorkspaceId
from registry_service.domain.tokens import RevokeReason

CHANNEL: Final = "registry_revocations"
# More than the revocations that any backup can lack, in case the clock is wrong.
LEAP: Final = 1_000_000_000

# Must be the last statement of its transaction: the row of `feed` stays locked until the commit, so
# that a higher revision is given out only when this one can be seen.
_APPEND: Final = """
WITH bumped AS (
    UPDATE registry.feed SET revision = revision + cardinality(%(reasons)s::text[])
    RETURNING revision
), noted AS (
    INSERT INTO registry.revocations
        (revision, tenant_id, token_sha256, workspace_id, reason, create_time)
    SELECT bumped.revision - cardinality(%(reasons)s::text[]) + entry.place,
           entry.tenant_id, entry.token_sha256, entry.workspace_id, entry.reason, clock_timestamp()
    FROM bumped, unnest(%(tenant_ids)s::text[], %(hashes)s::bytea[], %(workspace_ids)s::uuid[],
                        %(reasons)s::text[])
        WITH ORDINALITY AS entry (tenant_id, token_sha256, workspace_id, reason, place)
)
SELECT revision, pg_notify('registry_revocations', revision::text) FROM bumped
"""
# At least the time in microseconds, so that after a second restore of the same backup the revision
# is above all that were read since the first one.
_LEAP: Final = """
WITH beyond AS (
    SELECT greatest(revision + %(by)s,
                    floor(extract(epoch FROM clock_timestamp()) * 1000000)::bigint) AS revision
    FROM registry.feed FOR UPDATE
)
UPDATE registry.feed SET revision = beyond.revision, swept_revision = beyond.revision FROM beyond
RETURNING feed.revision, pg_notify('registry_revocations', '')
"""
_REVISION: Final = "SELECT revision FROM registry.feed"
_READ: Final = """
SELECT f.revision AS newest, f.swept_revision, r.*
FROM registry.feed f
LEFT JOIN LATERAL (
    SELECT revision, tenant_id, token_sha256, workspace_id, reason FROM registry.revocations
    WHERE revision > %(after)s ORDER BY revision LIMIT %(limit)s
) r ON true
ORDER BY r.revision
"""
_SWEEP: Final = """
WITH old AS (
    SELECT revision FROM registry.revocations
    WHERE create_time < clock_timestamp() - %(keep)s::interval
    ORDER BY revision LIMIT %(limit)s
), swept AS (
    DELETE FROM registry.revocations WHERE revision IN (SELECT revision FROM old)
    RETURNING revision
), noted AS (
    UPDATE registry.feed
    SET swept_revision = greatest(swept_revision, (SELECT max(revision) FROM swept))
    WHERE EXISTS (SELECT FROM swept)
)
SELECT count(*) FROM swept
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """The end of one token, or of tokens of a workspace; exactly one of the two is set."""

    tenant_id: TenantId
    token_sha256: bytes | None = None
    workspace_id: WorkspaceId | None = None
    reason: RevokeReason


@dataclass(frozen=True, slots=True, kw_only=True)
class Excerpt:
    """`entries` are pairs of revision and entry, in order. `newest` is the feed's revision; what
    came up to `swept` is no longer kept.
    """

    entries: tuple[tuple[int, Entry], ...]
    newest: int
    swept: int


def append(tx: Connection, entries: Sequence[Entry]) -> int:
    """Write these entries; returns the revision of the last. Nothing may follow but the commit."""
    parameters = {
        "tenant_ids": [entry.tenant_id for entry in entries],
        "hashes": [entry.token_sha256 for entry in entries],
        "workspace_ids": [entry.workspace_id for entry in entries],
        "reasons": [entry.reason.value for entry in entries],
    }
    number: int = tx.exec_driver_sql(_APPEND, parameters).one().revision
    return number


def leap(tx: Connection) -> None:
    """Go on beyond every revision that anybody may have seen, and keep no earlier entries: whoever
    has read up to an earlier revision is told to forget everything. Nothing may follow but the
    commit.
    """
    tx.exec_driver_sql(_LEAP, {"by": LEAP}).one()


def revision(tx: Connection) -> int:
    """The feed's newest revision."""
    number: int = tx.exec_driver_sql(_REVISION).scalar_one()
    return number


def read(tx: Connection, *, after: int, limit: int) -> Excerpt:
    """The first `limit` entries after this revision."""
    rows = tx.exec_driver_sql(_READ, {"after": after, "limit": limit}).all()
    entries = tuple(
        (
            row.revision,
            Entry(
                tenant_id=TenantId(row.tenant_id),
                token_sha256=None if row.token_sha256 is None else bytes(row.token_sha256),
                workspace_id=WorkspaceId(str(row.workspace_id)) if row.workspace_id else None,
                reason=RevokeReason(row.reason),
            ),
        )
        for row in rows
        if row.revision is not None
    )
    return Excerpt(entries=entries, newest=rows[0].newest, swept=rows[0].swept_revision)


def sweep(tx: Connection, *, keep: object, limit: int) -> int:
    """Delete at most `limit` entries older than `keep`, an interval; returns how many."""
    parameters = {"keep": keep, "limit": limit}
    count: int = tx.exec_driver_sql(_SWEEP, parameters).scalar_one()
    return count
