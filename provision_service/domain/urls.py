"""Addresses an agent may be reached at: public ones, and private ones only by setting."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final
from urllib.parse import urlsplit

from agentworkspace.core.refusal import Refusal
from provision_service.domain.refusals import Reason

MAX_URL_LENGTH: Final = 2048
Address = IPv4Address | IPv6Address

_FORBIDDEN: Final = tuple(
    (ip_network(network), why)
    for network, why in (
        ("0.0.0.0/8", "unspecified"),
        ("127.0.0.0/8", "loopback"),
        ("169.254.0.0/16", "link-local, where clouds keep their metadata"),
        ("168.63.129.16/32", "cloud metadata"),
        ("100.64.0.0/10", "carrier-grade NAT"),
        ("192.0.0.0/24", "reserved for protocols"),
        ("192.0.2.0/24", "documentation"),
        ("198.51.100.0/24", "documentation"),
        ("203.0.113.0/24", "documentation"),
        ("198.18.0.0/15", "benchmarking"),
        ("192.88.99.0/24", "reserved"),
        ("224.0.0.0/4", "multicast"),
        ("240.0.0.0/4", "reserved"),
        ("::/128", "unspecified"),
        ("::1/128", "loopback"),
        ("fe80::/10", "link-local"),
        ("64:ff9b:1::/48", "local-use translation"),
        ("fec0::/10", "site-local"),
        ("fd00:ec2::254/128", "cloud metadata"),
        ("2001:db8::/32", "documentation"),
        ("3fff::/20", "documentation"),
        ("100::/64", "discarded"),
        ("2001::/23", "reserved for protocols"),
        ("ff00::/8", "multicast"),
    )
)
_PRIVATE: Final = tuple(
    ip_network(network) for network in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")
)
# NAT64, and what a stateless translator calls an IPv4 host.
_TRANSLATED: Final = tuple(IPv6Network(text) for text in ("64:ff9b::/96", "::ffff:0:0:0/96"))


@dataclass(frozen=True, slots=True)
class Destination:
    """Host and port of a URL that has the right shape; the host is a name or an address."""

    host: str
    port: int


def parse_destination(url: str) -> Destination | str:  # noqa: PLR0911 -- a rule a line
    """Where an http or https URL leads, or what is wrong with its shape."""
    if len(url) > MAX_URL_LENGTH:
        return f"must be at most {MAX_URL_LENGTH} characters"
    if any(c.isspace() or not c.isprintable() or c == "\\" for c in url):
        return "must not contain white space, control characters or back slashes"
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return "is not a URL"
    if parts.scheme not in ("http", "https"):
        return "must be an http or https URL"
    if not host:
        return "has no host"
    if parts.username is not None or parts.password is not None:
        return "must not carry user information"
    if port == 0:
        return "must not name port 0"
    return Destination(host.rstrip("."), port or (443 if parts.scheme == "https" else 80))


def why_forbidden(address: Address, *, allow_private: bool) -> str | None:
    """Why nothing may be reached at this address; None when it may.

    An IPv4 address inside an IPv6 one (mapped, compatible, translated, 6to4, Teredo) is judged
    itself.
    """
    inner = _embedded(address)
    if inner is not None:
        return why_forbidden(inner, allow_private=allow_private)
    for network, why in _FORBIDDEN:
        if address.version == network.version and address in network:
            return why
    if not allow_private:
        for network in _PRIVATE:
            if address.version == network.version and address in network:
                return "private"
    return None


def _embedded(address: Address) -> IPv4Address | None:
    if isinstance(address, IPv4Address):
        return None
    if address.teredo is not None:
        return address.teredo[1]
    low = int(address) & 0xFFFFFFFF
    compatible = int(address) >> 32 == 0 and low > 1
    if compatible or any(address in network for network in _TRANSLATED):
        return IPv4Address(low)
    return address.ipv4_mapped or address.sixtofour


def literal_address(host: str) -> Address | None:
    """The address that a host is written as, or None when it is a name to resolve."""
    try:
        return ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        return None


def looks_like_odd_address(host: str) -> bool:
    """Whether a host is an address in a spelling that resolvers disagree about (`0x7f.1`)."""
    if literal_address(host) is not None or ":" in host:
        return False
    last = host.rsplit(".", 1)[-1].lower()
    return last.isdigit() or (
        last.startswith("0x") and all(c in "0123456789abcdef" for c in last[2:])
    )


def refuse_forbidden_address(address: Address, *, allow_private: bool) -> None:
    """Raise URL_FORBIDDEN when a url leads to an address that may not be reached."""
    why = why_forbidden(address, allow_private=allow_private)
    if why is not None:
        raise Refusal(
            Reason.URL_FORBIDDEN,
            f"the url leads to {address}, which is {why}; give one that is publicly reachable",
            metadata={"address": str(address), "why": why},
        )
