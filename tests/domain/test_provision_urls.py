"""Where an agent's url may lead."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from agentworkspace.core.refusal import Refusal
from provision_service.domain.refusals import Reason
from provision_service.domain.urls import (
    Destination,
    literal_address,
    looks_like_odd_address,
    parse_destination,
    refuse_forbidden_address,
    why_forbidden,
)


@pytest.mark.parametrize(
    ("url", "host", "port"),
    [
        ("http://agent.test", "agent.test", 80),
        ("https://agent.test/a?b#c", "agent.test", 443),
        ("https://Agent.TEST.:8443/", "agent.test", 8443),
        ("http://203.0.114.9:81", "203.0.114.9", 81),
        ("https://[2606:4700::1111]:9/", "2606:4700::1111", 9),
    ],
)
def test_a_url_leads_to_a_host_and_a_port(url: str, host: str, port: int) -> None:
    assert parse_destination(url) == Destination(host, port)


UNSAFE = "must not contain white space, control characters or back slashes"


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("", "must be an http or https URL"),
        ("agent.test", "must be an http or https URL"),
        ("file:///etc/passwd", "must be an http or https URL"),
        ("gopher://agent.test", "must be an http or https URL"),
        ("http://", "has no host"),
        ("http:///path", "has no host"),
        ("http://user@agent.test", "must not carry user information"),
        ("http://:pw@agent.test", "must not carry user information"),
        ("http://agent.test:0/", "must not name port 0"),
        ("http://agent.test:99999/", "is not a URL"),
        ("http://[::1", "is not a URL"),
        ("http://agent.test/a b", UNSAFE),
        ("http://agent.test\\@evil.test", UNSAFE),
        ("http://agent.test/\x07", UNSAFE),
        ("http://agent.test/" + "x" * 2048, "must be at most 2048 characters"),
    ],
)  # fmt: skip
def test_a_url_of_another_shape_is_refused_with_what_is_wrong(url: str, said: str) -> None:
    assert parse_destination(url) == said


FORBIDDEN = [
    ("0.0.0.0", "unspecified"),  # noqa: S104 -- an address to refuse, not to bind to
    ("127.0.0.1", "loopback"),
    ("127.255.255.254", "loopback"),
    ("169.254.169.254", "link-local, where clouds keep their metadata"),
    ("100.64.0.1", "carrier-grade NAT"),
    ("100.127.255.255", "carrier-grade NAT"),
    ("192.0.0.8", "reserved for protocols"),
    ("192.0.2.1", "documentation"),
    ("198.51.100.7", "documentation"),
    ("203.0.113.9", "documentation"),
    ("198.18.0.1", "benchmarking"),
    ("224.0.0.1", "multicast"),
    ("239.255.255.255", "multicast"),
    ("240.0.0.1", "reserved"),
    ("255.255.255.255", "reserved"),
    ("::", "unspecified"),
    ("::1", "loopback"),
    ("fe80::1", "link-local"),
    ("fec0::1", "site-local"),
    ("fd00:ec2::254", "cloud metadata"),
    ("2001:db8::1", "documentation"),
    ("3fff::1", "documentation"),
    ("ff02::1", "multicast"),
    ("100::1", "discarded"),
    ("::ffff:127.0.0.1", "loopback"),
    ("::ffff:169.254.169.254", "link-local, where clouds keep their metadata"),
    ("::127.0.0.1", "loopback"),
    ("64:ff9b::7f00:1", "loopback"),
    ("64:ff9b:1::a9fe:a9fe", "local-use translation"),
    ("64:ff9b:1:7f00:0:100:808:808", "local-use translation"),
    ("2002:7f00:1::", "loopback"),
    ("::ffff:0:127.0.0.1", "loopback"),
    ("168.63.129.16", "cloud metadata"),
    ("2001:0:0:0:0:0:80ff:fffe", "loopback"),
]


@pytest.mark.parametrize("allow_private", [True, False])
@pytest.mark.parametrize(("text", "why"), FORBIDDEN)
def test_an_address_that_nobody_may_be_reached_at(text: str, why: str, allow_private: bool) -> None:
    assert why_forbidden(ip_address(text), allow_private=allow_private) == why


@pytest.mark.parametrize(
    "text",
    ["10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "fc00::1", "fd12::1",
     "::ffff:10.0.0.1", "64:ff9b::a00:1"],
)  # fmt: skip
def test_a_private_address_is_allowed_by_setting_only(text: str) -> None:
    assert why_forbidden(ip_address(text), allow_private=False) == "private"
    assert why_forbidden(ip_address(text), allow_private=True) is None


@pytest.mark.parametrize(
    "text",
    ["1.1.1.1", "100.63.255.255", "100.128.0.1", "172.15.0.1", "172.32.0.1", "169.253.0.1",
     "198.17.0.1", "198.20.0.1", "223.255.255.255", "2606:4700::1111", "64:ff9b::101:101"],
)  # fmt: skip
def test_a_public_address_is_allowed(text: str) -> None:
    assert why_forbidden(ip_address(text), allow_private=False) is None


def test_a_refusal_names_the_address_and_why() -> None:
    refuse_forbidden_address(ip_address("1.1.1.1"), allow_private=False)
    with pytest.raises(Refusal) as caught:
        refuse_forbidden_address(ip_address("127.0.0.1"), allow_private=True)
    assert caught.value.reason is Reason.URL_FORBIDDEN
    assert caught.value.metadata == {"address": "127.0.0.1", "why": "loopback"}


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("1.1.1.1", "1.1.1.1"),
        ("2606:4700::1111", "2606:4700::1111"),
        ("fe80::1%eth0", "fe80::1"),
        ("agent.test", None),
        ("0x7f.1", None),
        ("2130706433", None),
    ],
)
def test_a_host_that_is_an_address_is_known_as_one(host: str, address: str | None) -> None:
    found = literal_address(host)
    assert (None if found is None else str(found)) == address


@pytest.mark.parametrize(
    ("host", "odd"),
    [
        ("2130706433", True),
        ("0x7f.1", True),
        ("127.1", True),
        ("0177.0.0.1", True),
        ("0x7f000001", True),
        ("127.0.0.1", False),
        ("agent.test", False),
        ("1.agent.test", False),
        ("0xagent", False),
        ("::1", False),
    ],
)
def test_an_address_in_an_odd_spelling_is_known_as_one(host: str, odd: bool) -> None:
    assert looks_like_odd_address(host) is odd
