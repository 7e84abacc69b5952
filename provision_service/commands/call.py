"""Who calls a use case, through which method, and the audit row of what it changes."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from sqlalchemy import Connection

from agentworkspace.core.audit import Change
from agentworkspace.core.caller import Caller
from agentworkspace.core.refusal import Refusal, SharedReason
from agentworkspace.service.audit import events
from provision_service.storage.models import SCHEMA


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """The caller and the call's names; `method` is the full gRPC method, empty for workers.
    `deadline` is in seconds of `time.monotonic()`.
    """

    caller: Caller
    method: str = ""
    correlation_id: str = ""
    deadline: float = math.inf

    def can_wait(self, span: timedelta) -> bool:
        """Whether as much is left of its time."""
        return self.deadline - time.monotonic() > span.total_seconds()


SYSTEM: Final = Call(caller=Caller("system", frozenset({"admin", "launcher"}), None))


def record(
    tx: Connection,
    call: Call,
    action: str,
    *,
    tenant_id: str = "",
    workspace_id: str | None = None,
    subject: str = "",
    details: Mapping[str, str] | None = None,
) -> None:
    """Write the audit event of a change, in its transaction."""
    change = Change(
        action=action,
        tenant_id=tenant_id,
        workspace_id=workspace_id,
        subject=subject,
        details=details or {},
    )
    events.append(
        tx,
        SCHEMA,
        (change,),
        actor=call.caller.name,
        method=call.method,
        correlation_id=call.correlation_id,
    )


def require_every_tenant(call: Call) -> None:
    """Raise TENANT_FORBIDDEN unless the caller may act for all tenants."""
    if call.caller.tenants is not None:
        raise Refusal(
            SharedReason.TENANT_FORBIDDEN,
            f"caller `{call.caller.name}` is confined to tenants; this concerns all of them",
            metadata={"caller": call.caller.name, "tenant_id": "*"},
        )
