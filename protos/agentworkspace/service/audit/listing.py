"""ListAuditEvents, as both services answer it: who changed what, newest first."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from agentworkspace.core.caller import Caller
from agentworkspace.provision.v1 import audit_service_pb2 as provision
from agentworkspace.registry.v1 import audit_service_pb2 as registry
from agentworkspace.rpc.wire_times import timestamp
from agentworkspace.server.request_fields import RequestFields
from agentworkspace.service import paging
from agentworkspace.service.audit.tables import WRITTEN, AuditLog
from agentworkspace.service.paging import Page
from agentworkspace.service.store import Store

LONGEST_ACTION: Final = 100
AnswerT = TypeVar("AnswerT", registry.ListAuditEventsResponse, provision.ListAuditEventsResponse)
_READERS: Final[dict[str, Callable[[Any], Any]]] = {
    "seq": paging.number,
    "time": paging.time,
    "event_id": paging.uuid,
}
_PAGE: Final = """
SELECT * FROM {events}
WHERE (%(tenants)s::text[] IS NULL OR tenant_id = ANY(%(tenants)s::text[]))
    AND (%(workspace_id)s::uuid IS NULL OR workspace_id = %(workspace_id)s::uuid)
    AND (%(action)s = '' OR action = %(action)s)
    {behind}
ORDER BY {newest_first} LIMIT %(limit)s
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListAuditEvents:
    """The command. An empty filter does not filter; `page_size` is bounded already."""

    caller: Caller
    tenant_id: str = ""
    workspace_id: str = ""
    action: str = ""
    page_size: int = 50
    page_token: str = ""


def parse(
    request: registry.ListAuditEventsRequest | provision.ListAuditEventsRequest,
    fields: RequestFields,
    caller: Caller,
) -> ListAuditEvents:
    """The command of a request. INVALID_REQUEST with all that is wrong with it."""
    command = ListAuditEvents(
        caller=caller,
        tenant_id=fields.tenant_id(request.tenant_id) if request.tenant_id else "",
        workspace_id=fields.workspace_id(request.workspace_id) if request.workspace_id else "",
        action=fields.text(request.action, "action", at_most=LONGEST_ACTION),
        page_size=fields.page_size(request.page_size),
        page_token=fields.page_token(request.page_token),
    )
    return fields.finish(command)


def run(store: Store[Any], log: AuditLog, command: ListAuditEvents) -> Page[Any]:
    """A page of rows. Rows without a tenant are shown only to callers who may act for all tenants.

    Refusals: TENANT_FORBIDDEN, INVALID_REQUEST (a page_token of another list).
    """
    asked = {
        "tenants": command.caller.listed_tenants(command.tenant_id),
        "workspace_id": command.workspace_id or None,
        "action": command.action,
        "place": (place := paging.place(command, *(_READERS[name] for name in log.order))),
        "limit": command.page_size + 1,
    }
    page = log.sql(
        _PAGE,
        behind=f"AND ({', '.join(log.order)}) < %(place)s" if place else "",
        newest_first=", ".join(f"{name} DESC" for name in log.order),
    )
    with store.reading() as tx:
        found = tx.exec_driver_sql(page, asked).all()
    return paging.page(command, found, lambda last: [getattr(last, name) for name in log.order])


def fill(answer: AnswerT, log: AuditLog, page: Page[Any]) -> AnswerT:
    """Add the rows of a page to the answer of either service, and return it."""
    for row in page.rows:
        written = {name: getattr(row, name) for name in WRITTEN}
        written["workspace_id"] = str(row.workspace_id or "")
        time = timestamp(getattr(row, log.time))
        answer.events.add(event_id=str(row.event_id), time=time, **written)
    answer.next_page_token = page.next_page_token
    return answer
