"""List platform credentials by name and fingerprint, newest first."""

from __future__ import annotations

from dataclasses import dataclass

from agentworkspace.service import paging
from agentworkspace.service.paging import Page
from provision_service.commands.call import Call, require_every_tenant
from provision_service.domain.records import PlatformCredential
from provision_service.storage import platform_credentials
from provision_service.storage.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class ListPlatformCredentials:
    """The caller must act for all tenants, else TENANT_FORBIDDEN."""

    call: Call
    page_size: int = 50
    page_token: str = ""


def run(store: Store, command: ListPlatformCredentials) -> Page[PlatformCredential]:
    """Read a page."""
    require_every_tenant(command.call)
    after = paging.place(command, paging.time, paging.text, bytes.fromhex)
    with store.reading() as tx:
        found = platform_credentials.page(tx, after=after, limit=command.page_size + 1)
    page = paging.page(command, found, lambda last: (last[0].create_time, last[0].name, last[1]))
    return Page(tuple(credential for credential, _ in page.rows), page.next_page_token)
