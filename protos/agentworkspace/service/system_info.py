"""What a service says of itself to an operator: version, clocks, and the state of its database."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, TypeVar

from agentworkspace.core.caller import Caller
from agentworkspace.core.installation import package_version
from agentworkspace.provision.v1 import system_service_pb2 as provision
from agentworkspace.registry.v1 import system_service_pb2 as registry
from agentworkspace.service.migrate import Schema, applied, migrations
from agentworkspace.service.store import Store

_CLOCK: Final = "SELECT clock_timestamp()"


@dataclass(frozen=True, slots=True)
class DatabaseState:
    """The database's clock and its migration; an empty `revision`: it was never migrated."""

    time: datetime
    revision: str


def database_state(store: Store[Any], schema: Schema) -> DatabaseState:
    """The state as it is now. Raises what every transaction raises."""
    with store.reading() as tx:
        time = tx.exec_driver_sql(_CLOCK).scalar_one()
        return DatabaseState(time, applied(schema, tx) or "")


# The answer of either service: they have these fields in common.
AnswerT = TypeVar("AnswerT", registry.GetSystemInfoResponse, provision.GetSystemInfoResponse)


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemInfo:
    """Fills the answer of either service; `now` is the clock of the process."""

    schema: Schema
    last_migration: str
    now: Callable[[], datetime]

    @classmethod
    def of(cls, schema: Schema, now: Callable[[], datetime]) -> SystemInfo:
        """The info of a service, with the last migration that this version has."""
        return cls(
            schema=schema, last_migration=migrations(schema).get_current_head() or "", now=now
        )

    def fill(self, answer: AnswerT, state: DatabaseState, caller: Caller) -> AnswerT:
        """Set the fields that the answers of both services have, and return the answer."""
        answer.version = package_version()
        answer.process_time.FromDatetime(self.now())
        answer.database_time.FromDatetime(state.time)
        answer.schema_revision = state.revision
        answer.wanted_schema_revision = self.last_migration
        answer.caller.name = caller.name
        answer.caller.roles.extend(sorted(caller.roles))
        answer.caller.tenants.extend(sorted(caller.tenants or ()))
        answer.caller.all_tenants = caller.tenants is None
        return answer
