"""A box may announce where it is reached, but nothing that leads callers inside."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Sequence

import pytest

from agentworkspace.core.refusal import Refusal, SharedReason
from registry_service.api.announced import Address, AnnouncedUrls, shape_fault

PUBLIC = ["http://203.0.114.7", "https://agent.example.com:8443/a?b=c", "http://[2606:4700::1]/"]
PRIVATE = ["http://10.0.0.1", "http://172.16.3.4:80", "http://192.168.1.1/x", "http://[fd12::1]"]
NEVER = [
    "http://127.0.0.1:8000",
    "http://localhost",
    "http://agent.localhost",
    "http://LOCALHOST./",
    "http://0.0.0.0",
    "http://[::1]",
    "http://[::]",
    "http://169.254.169.254/latest/meta-data",
    "http://[fe80::1]",
    "http://metadata.google.internal",
    "http://100.100.100.200",
    "http://[fd00:ec2::254]",
    "http://192.0.2.1",
    "http://198.51.100.1",
    "http://203.0.113.1",
    "http://[2001:db8::1]",
    "http://224.0.0.1",
    "http://[ff02::1]",
    "http://255.255.255.255",
    "http://[::ffff:127.0.0.1]",
    "http://[::ffff:169.254.169.254]",
    "http://[64:ff9b::7f00:1]",
    "http://[2002:7f00:1::]",
    "http://[::127.0.0.1]",
    "http://[::ffff:0:127.0.0.1]",
    "http://[64:ff9b:1::a9fe:a9fe]",
    "http://[64:ff9b:1:a9fe:a9:fe00::]",
    "http://[64:ff9b:1:7f00:0:100::]",
    "http://[64:ff9b::]",
    "http://[64:ff9b::1]",
    "http://[::ffff:0:0:0]",
    "http://[::ffff:0:0:1]",
    "http://[fec0::1]",
    "http://168.63.129.16/metadata",
]
MALFORMED = [
    "ftp://example.com",
    "agent.example.com",
    "http://",
    "http://user:password@example.com",
    "http://exa mple.com",
    "http://example.com:port",
    "http://example.com:99999",
    "http://[::1",
    "http://ex\u00e4mple.com",
    "http://example.com/\n",
    "javascript:alert(1)",
    "https://example.com/" + "a" * 2048,
]


@pytest.mark.parametrize("url", PUBLIC)
def test_a_public_address_is_announced(url: str) -> None:
    assert shape_fault(url, allow_private=False) is None


@pytest.mark.parametrize("url", PRIVATE)
def test_a_private_address_only_by_setting(url: str) -> None:
    assert shape_fault(url, allow_private=False) == "must not lead to a private address"
    assert shape_fault(url, allow_private=True) is None


@pytest.mark.parametrize("allow_private", [False, True])
@pytest.mark.parametrize("url", [*NEVER, *MALFORMED])
def test_what_leads_inside_or_is_no_url_is_refused_always(url: str, *, allow_private: bool) -> None:
    assert shape_fault(url, allow_private=allow_private) is not None


class Names(AnnouncedUrls):
    """Resolves every name to these addresses."""

    def __init__(self, *addresses: str, allow_private: bool = False) -> None:
        super().__init__(allow_private=allow_private)
        self._found = [ipaddress.ip_address(text) for text in addresses]

    async def _addresses(self, host: str) -> Sequence[Address]:
        return self._found


@pytest.mark.parametrize("bad", ["127.0.0.1", "169.254.169.254", "10.1.2.3", "::1"])
def test_every_address_behind_a_name_is_checked(bad: str) -> None:
    with pytest.raises(Refusal) as caught:
        asyncio.run(Names("1.1.1.1", bad).check("https://agent.example.com"))
    assert caught.value.reason is SharedReason.INVALID_REQUEST
    assert caught.value.violations[0].field == "url"


def test_a_name_that_resolves_to_public_addresses_passes() -> None:
    asyncio.run(Names("1.1.1.1", "2606:4700::1").check("https://agent.example.com"))


def test_numbers_in_disguise_are_resolved_and_refused() -> None:
    with pytest.raises(Refusal):
        asyncio.run(AnnouncedUrls(allow_private=True).check("http://2130706433/"))


def test_a_name_that_nobody_knows_passes() -> None:
    asyncio.run(AnnouncedUrls(allow_private=False).check("https://agent.invalid/"))


def test_no_url_needs_no_look() -> None:
    asyncio.run(Names("127.0.0.1").check(""))
