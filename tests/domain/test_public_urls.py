"""Where an agent's url may lead: one rule for both services."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from agentworkspace.core.public_urls import (
    Destination,
    literal_address,
    looks_like_odd_address,
    parse_destination,
    refuse_addresses,
    refuse_at_sight,
    unresolved,
    why_forbidden,
)
from agentworkspace.core.refusal import Recovery, Refusal, SharedReason, Violation


@pytest.mark.parametrize(
    ("url", "host", "port"),
    [
        ("http://agent.test", "agent.test", 80),
        ("http://agent.test:1", "agent.test", 1),
        ("https://agent.test/a?b#c", "agent.test", 443),
        ("https://Agent.TEST.:8443/", "agent.test", 8443),
        ("http://under_score.test:65535/", "under_score.test", 65535),
        ("https://xn--mnchen-3ya.test/", "xn--mnchen-3ya.test", 443),
    ],
)
def test_a_url_leads_to_a_host_and_a_port(url: str, host: str, port: int) -> None:
    assert parse_destination(url) == Destination(host, port)


@pytest.mark.parametrize(
    ("url", "host", "port"),
    [
        ("http://203.0.114.9:81", "203.0.114.9", 81),
        ("http://203.0.114.9./", "203.0.114.9", 80),
        ("https://[2606:4700::1111]:9/", "2606:4700::1111", 9),
    ],
)
def test_a_host_may_be_an_address(url: str, host: str, port: int) -> None:
    assert parse_destination(url) == Destination(host, port, ip_address(host))


UNSAFE = "must not contain white space, control characters or back slashes"
NO_HOST = "must name a host: letters, digits, hyphens and dots, or an address"


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("", "must be an http or https URL"),
        ("agent.test", "must be an http or https URL"),
        ("file:///etc/passwd", "must be an http or https URL"),
        ("javascript:alert(1)", "must be an http or https URL"),
        ("http://", "has no host"),
        ("http:///path", "has no host"),
        ("http://user@agent.test", "must not carry a user or a password"),
        ("http://:pw@agent.test", "must not carry a user or a password"),
        ("http://@agent.test", "must not carry a user or a password"),
        ("http://agent.test:0/", "must not name port 0; ports begin at 1"),
        ("http://agent.test:99999/", "is not a URL"),
        ("http://agent.test:port/", "is not a URL"),
        ("http://[::1", "is not a URL"),
        ("http://agent.test/a b", UNSAFE),
        ("http://agent.test/\n", UNSAFE),
        ("http://agent.test\\@evil.test", UNSAFE),
        ("http://agent.test/\x07", UNSAFE),
        ("http://agent.test/" + "x" * 2048, "must be at most 2048 characters"),
        ("http://127%2e0.0.1/", NO_HOST),
        ("http://agent..test/", NO_HOST),
        ("http://" + "a" * 64 + ".test/", NO_HOST),
        ("http://[2606:4700::1%25eth0]/", NO_HOST),
        ("http://agent.test/\u00e4", "must be ASCII; write other characters as %XX"),
        (
            "http://m\u00fcnchen.test/",
            "must be ASCII; write the host in its xn-- form, such as xn--mnchen-3ya.test",
        ),
        (
            "http://\u2460\u2461\u2466.0.0.1/",
            "must be ASCII; write the host in its xn-- form, such as 127.0.0.1",
        ),
        (
            "http://\u00e4..test/",
            "must be ASCII; write an international name in its xn-- form",
        ),
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
    ("100.100.100.200", "carrier-grade NAT"),
    ("100.127.255.255", "carrier-grade NAT"),
    ("192.0.0.8", "reserved for protocols"),
    ("192.0.0.9", "reserved for protocols"),
    ("192.0.0.10", "reserved for protocols"),
    ("192.0.0.192", "reserved for protocols"),
    ("192.0.2.1", "documentation"),
    ("192.88.99.1", "reserved"),
    ("192.88.99.255", "reserved"),
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
    ("fd00:c1::a9fe:a9fe", "cloud metadata"),
    ("fd00:ec2::253", "cloud metadata"),
    ("fd00:ec2::254", "cloud metadata"),
    ("fd20:ce::254", "cloud metadata"),
    ("2001:db8::1", "documentation"),
    ("3fff::1", "documentation"),
    ("ff02::1", "multicast"),
    ("100::1", "discarded"),
    ("4000::1", "reserved"),
    ("5f00::1", "reserved"),
    ("::ffff:127.0.0.1", "loopback"),
    ("::ffff:169.254.169.254", "link-local, where clouds keep their metadata"),
    ("::127.0.0.1", "loopback"),
    ("64:ff9b::", "unspecified"),
    ("64:ff9b::7f00:1", "loopback"),
    ("64:ff9b:1::a9fe:a9fe", "local-use translation"),
    ("64:ff9b:1:7f00:0:100:808:808", "local-use translation"),
    ("2002:7f00:1::", "loopback"),
    ("2002:c058:6301::", "reserved"),
    ("::ffff:0:127.0.0.1", "loopback"),
    ("168.63.129.16", "cloud metadata"),
    ("2001:0:0:0:0:0:80ff:fffe", "reserved for protocols"),
    ("2001:20::1", "reserved for protocols"),
]


@pytest.mark.parametrize("allow_private", [True, False])
@pytest.mark.parametrize(("text", "why"), FORBIDDEN)
def test_an_address_that_nobody_may_be_reached_at(text: str, why: str, allow_private: bool) -> None:
    assert why_forbidden(ip_address(text), allow_private=allow_private) == why


@pytest.mark.parametrize(
    "text",
    ["10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "fc00::1", "fd12::1",
     "::ffff:10.0.0.1", "64:ff9b::a00:1", "2002:a00:1::"],
)  # fmt: skip
def test_a_private_address_is_allowed_by_setting_only(text: str) -> None:
    assert why_forbidden(ip_address(text), allow_private=False) == "private"
    assert why_forbidden(ip_address(text), allow_private=True) is None


@pytest.mark.parametrize(
    "text",
    ["1.1.1.1", "100.63.255.255", "100.128.0.1", "172.15.0.1", "172.32.0.1", "169.253.0.1",
     "192.0.1.1", "192.88.98.1", "198.17.0.1", "198.20.0.1", "223.255.255.255",
     "2606:4700::1111", "2001:200::1", "64:ff9b::101:101", "2002:101:101::"],
)  # fmt: skip
def test_a_public_address_is_allowed(text: str) -> None:
    assert why_forbidden(ip_address(text), allow_private=False) is None


def test_a_refusal_names_the_address_and_why() -> None:
    refuse_addresses("a.test", [ip_address("1.1.1.1")], allow_private=False, field="url")
    with pytest.raises(Refusal) as caught:
        refuse_addresses(
            "a.test", map(ip_address, ["1.1.1.1", "127.0.0.1"]), allow_private=True, field="url"
        )
    assert caught.value.reason is SharedReason.URL_FORBIDDEN
    assert caught.value.metadata == {"host": "a.test", "address": "127.0.0.1", "why": "loopback"}
    assert caught.value.violations == (
        Violation(
            "url",
            "its host leads to 127.0.0.1, which is loopback; give one that is publicly reachable",
        ),
    )


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:7101",
        "http://[::1]/",
        "http://169.254.169.254/latest/meta-data",
        "http://2130706433/",
        "http://0x7f.1/",
        "http://127.1",
        "http://0177.0.0.1",
        "http://1.2.3.4.5",
        "http://LOCALHOST./",
        "http://agent.localhost",
        "http://metadata.google.internal",
    ],
)
@pytest.mark.parametrize("allow_private", [True, False])
def test_no_name_server_is_needed_to_refuse(url: str, *, allow_private: bool) -> None:
    destination = parse_destination(url)
    assert isinstance(destination, Destination)
    with pytest.raises(Refusal) as caught:
        refuse_at_sight(destination, allow_private=allow_private, field="url")
    assert caught.value.reason is SharedReason.URL_FORBIDDEN
    assert caught.value.recovery is None


def test_a_name_is_not_refused_at_sight() -> None:
    refuse_at_sight(Destination("agent.test", 80), allow_private=False, field="url")


def test_a_name_that_does_not_resolve_may_do_so_later() -> None:
    refusal = unresolved("agent.test", "url")
    assert refusal.reason is SharedReason.URL_FORBIDDEN
    assert refusal.recovery is Recovery.RETRY
    assert refusal.metadata == {"host": "agent.test", "why": "unresolved"}


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
