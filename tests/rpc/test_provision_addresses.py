"""A url is judged by every address behind its name, before anybody connects to it."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from agentworkspace.core.refusal import Refusal
from provision_service.clients.addresses import UrlChecker
from provision_service.domain.refusals import Reason
from provision_service.domain.urls import Address

NAMES = {
    "agent.example": ["93.184.216.34"],
    "inside.example": ["10.1.2.3"],
    "half.example": ["93.184.216.34", "127.0.0.1"],
    "metadata.example": ["169.254.169.254"],
    "wrapped.example": ["::ffff:127.0.0.1"],
    "nobody.example": [],
}


def resolve(host: str) -> list[Address]:
    if host not in NAMES:
        raise OSError("no such name")
    return [ip_address(text) for text in NAMES[host]]


def refused(url: str, *, allow_private: bool = False) -> bool:
    check = UrlChecker(resolver=resolve, allow_private=allow_private)
    try:
        check(url)
    except Refusal as refusal:
        return refusal.reason is Reason.URL_FORBIDDEN
    return False


@pytest.mark.parametrize("url", ["", "https://agent.example", "http://agent.example:8080/a2a"])
def test_a_public_address_is_taken(url: str) -> None:
    assert not refused(url)


@pytest.mark.parametrize(
    "url",
    [
        "https://half.example",
        "https://metadata.example",
        "https://wrapped.example",
        "https://nobody.example",
        "https://unknown.example",
        "http://localhost",
        "http://127.0.0.1:7101",
        "http://[::1]/",
        "http://169.254.169.254/latest/meta-data",
        "http://100.64.0.1",
        "http://192.0.2.1",
        "http://2130706433/",
        "http://0x7f.1/",
        "ftp://agent.example",
    ],
)
def test_what_leads_elsewhere_is_refused(url: str) -> None:
    assert refused(url)
    assert refused(url, allow_private=True)


def test_a_private_address_is_taken_only_by_setting() -> None:
    assert refused("https://inside.example")
    assert not refused("https://inside.example", allow_private=True)
