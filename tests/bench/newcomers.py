"""Workspaces as BeginIncarnation leaves them: a first launch, and a ticket nobody has redeemed."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from agentworkspace.core.secret import Secret
from agentworkspace.core.token_format import derive_instance_token, sha256_hex
from agentworkspace.registry.v1.registration_service_pb2 import RegisterRequest
from tests.bench.database import Server
from tests.bench.h2 import Message, prefixed

# Other numbers in every run, for what was launched once stays launched: each begins at the second
# of the clock, times more than any run admits.
SPACING: Final = 10_000_000

_ADMIT: Final = """
INSERT INTO registry.workspaces (workspace_id, tenant_id, create_time, incarnation, ticket_required)
SELECT bench.workspace(number), 'storm', now(), 1, true FROM generate_series(%(a)s, %(b)s) number;
INSERT INTO registry.registrations (workspace_id)
SELECT bench.workspace(number) FROM generate_series(%(a)s, %(b)s) AS number;
INSERT INTO registry.tokens
    (workspace_id, kind, token_sha256, incarnation, create_time, expire_time, created_by)
SELECT bench.workspace(number), 'TICKET', sha256(bench.token('awt_', number)::bytea), 1, now(),
       now() + interval '1 hour', 'bench'
FROM generate_series(%(a)s, %(b)s) AS number;
"""
_TICKETS: Final = """
SELECT bench.workspace(number)::text, bench.token('awt_', number)
FROM generate_series(%(a)s, %(b)s) AS number
"""


@dataclass(frozen=True, slots=True)
class Newcomer:
    """A box that was launched and has not come yet."""

    workspace_id: str
    ticket: Secret

    @property
    def token(self) -> Secret:
        """What it will call itself by, once it is in: it follows from the ticket."""
        return derive_instance_token(self.ticket, self.workspace_id, 1)

    def request(self) -> RegisterRequest:
        """Its first Register."""
        return RegisterRequest(
            workspace_id=self.workspace_id,
            bootstrap_ticket=self.ticket.reveal(),
            token_sha256=sha256_hex(self.token),
        )


def admit(server: Server, database_name: str, count: int) -> list[Newcomer]:
    """So many, in no order that their ids would show."""
    first = time.time_ns() // 1_000_000_000 * SPACING + time.time_ns() % 1000 * (SPACING // 1000)
    span = {"a": first, "b": first + count - 1}
    with server.session(database_name) as cursor:
        cursor.execute(_ADMIT, span)
        cursor.execute("ANALYZE registry.tokens")
        cursor.execute(_TICKETS, span)
        return [Newcomer(str(each), Secret(str(ticket))) for each, ticket in cursor.fetchall()]


def messages(newcomers: Sequence[Newcomer]) -> list[Message]:
    return [Message(body=prefixed(each.request().SerializeToString())) for each in newcomers]
