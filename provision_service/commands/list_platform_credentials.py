"""List platform credentials by name and fingerprint, newest first."""

from __future__ import annotations

from dataclasses import dataclass

from provision_service.commands import paging
from provision_service.commands.call import Call, require_every_tenant
from provision_service.domain.records import PlatformCredential
from provision_service.storage import platform_credentials
from provision_service.storage.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class ListPlatformCredentials:
    """Takes an admin of all tenants."""

    call: Call
    page_size: int = 50
    page_token: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListPlatformCredentialsResult:
    """A page."""

    credentials: tuple[PlatformCredential, ...]
    next_page_token: str


def run(store: Store, command: ListPlatformCredentials) -> ListPlatformCredentialsResult:
    """Read a page."""
    require_every_tenant(command.call)
    listing = ("platform_credentials",)
    place = paging.read_token(listing, command.page_token, 3)
    after = None
    if place is not None:
        after = (paging.time_of(place[0]), place[1], paging.bytes_of(place[2]))
    with store.reading() as tx:
        found = platform_credentials.page(tx, after=after, limit=command.page_size + 1)
    shown = found[: command.page_size]
    token = ""
    if len(found) > command.page_size:
        last, fingerprint = shown[-1]
        token = paging.make_token(
            listing, [last.create_time.isoformat(), last.name, fingerprint.hex()]
        )
    return ListPlatformCredentialsResult(
        credentials=tuple(credential for credential, _ in shown), next_page_token=token
    )
