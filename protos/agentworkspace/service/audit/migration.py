"""How a migration makes the audit of a service sealable."""

from __future__ import annotations

from alembic import op

from agentworkspace.service.audit.tables import EVENTS, SEALS, XACT


def make_sealable(schema: str) -> None:
    """The step of both services' migrations that makes an audit sealable.

    It must not be changed any more. An older version can go on writing rows, because the database
    has the defaults of the new column.
    """
    events = f"{schema}.{EVENTS}"
    # Added with a constant default, so that the table is not rewritten.
    op.execute(f"ALTER TABLE {events} ADD COLUMN xact bigint NOT NULL DEFAULT 0")
    op.execute(f"ALTER TABLE {events} ALTER COLUMN xact SET DEFAULT {XACT}")
    op.execute(
        f"CREATE TABLE {schema}.{SEALS} (number bigint PRIMARY KEY, chain uuid NOT NULL,"
        " time timestamptz NOT NULL, rows bigint NOT NULL, xact bigint NOT NULL,"
        " event_id uuid NOT NULL, horizon bigint NOT NULL, shift bigint NOT NULL,"
        " pruned bigint NOT NULL, reason text NOT NULL, previous bytea NOT NULL,"
        " entries bytea NOT NULL, digest bytea NOT NULL, key_id text NOT NULL,"
        " signature bytea NOT NULL)"
    )
    # Stored uncompressed, because digests do not shrink.
    op.execute(f"ALTER TABLE {schema}.{SEALS} ALTER COLUMN entries SET STORAGE EXTERNAL")
