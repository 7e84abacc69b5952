"""Where an agent's url may lead: public addresses, and private ones only by setting.

The networks are listed here because the answers of Python's `ipaddress` change with its version.
For IPv6 the one range that is allowed is listed, because most of the rest is not allocated yet.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final
from urllib.parse import urlsplit

from agentworkspace.core.refusal import Recovery, Refusal, SharedReason, Violation

Address = IPv4Address | IPv6Address

MAX_URL_LENGTH: Final = 2048
_PRINTABLE: Final = re.compile(r"[!-~]+", re.ASCII)
_NAME: Final = re.compile(r"(?=.{1,253}\Z)[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*", re.ASCII)
_LOCAL_NAMES: Final = ("localhost", "metadata.google.internal")
_LOCAL_SUFFIXES: Final = (".localhost", ".localdomain")

_METADATA: Final = "cloud metadata"
_DOCUMENTATION: Final = "documentation"
_RESERVED: Final = "reserved"

_FORBIDDEN: Final = tuple(
    (ip_network(network), why)
    for network, why in (
        ("0.0.0.0/8", "unspecified"),
        ("100.64.0.0/10", "carrier-grade NAT"),
        ("127.0.0.0/8", "loopback"),
        ("168.63.129.16/32", _METADATA),
        ("169.254.0.0/16", "link-local, where clouds keep their metadata"),
        ("192.0.0.0/24", "reserved for protocols"),
        ("192.0.2.0/24", _DOCUMENTATION),
        ("192.88.99.0/24", _RESERVED),  # once the relays of 6to4
        ("198.18.0.0/15", "benchmarking"),
        ("198.51.100.0/24", _DOCUMENTATION),
        ("203.0.113.0/24", _DOCUMENTATION),
        ("224.0.0.0/4", "multicast"),
        ("240.0.0.0/4", _RESERVED),
        ("::/128", "unspecified"),
        ("::1/128", "loopback"),
        ("64:ff9b:1::/48", "local-use translation"),
        ("100::/64", "discarded"),
        ("2001::/23", "reserved for protocols"),
        ("2001:db8::/32", _DOCUMENTATION),
        ("3fff::/20", _DOCUMENTATION),
        # Metadata of three clouds, inside the private range.
        ("fd00:c1::a9fe:a9fe/128", _METADATA),
        ("fd00:ec2::/32", _METADATA),
        ("fd20:ce::254/128", _METADATA),
        ("fe80::/10", "link-local"),
        ("fec0::/10", "site-local"),
        ("ff00::/8", "multicast"),
    )
)
_PRIVATE: Final = tuple(
    ip_network(network) for network in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")
)
# The only part of IPv6 that is allocated for global unicast (RFC 4291).
_ALLOCATED: Final = IPv6Network("2000::/3")
# These carry an IPv4 address in their low bits: mapped, NAT64, and stateless translation.
_WRAPPED: Final = tuple(
    IPv6Network(text) for text in ("::ffff:0:0/96", "64:ff9b::/96", "::ffff:0:0:0/96")
)
_COMPATIBLE: Final = IPv6Network("::/96")
_SIX_TO_FOUR: Final = IPv6Network("2002::/16")


@dataclass(frozen=True, slots=True)
class Destination:
    """Where a well-formed url leads. `host` is in lower case; a name has no `address`."""

    host: str
    port: int
    address: Address | None = None


def parse_destination(url: str) -> Destination | str:  # noqa: PLR0911 -- a rule a line
    """Where an http or https url leads, or a text that says what is wrong with its shape."""
    if len(url) > MAX_URL_LENGTH:
        return f"must be at most {MAX_URL_LENGTH} characters"
    if any(character.isspace() or not character.isprintable() for character in url) or "\\" in url:
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
    if "@" in parts.netloc:
        return "must not carry a user or a password"
    if port == 0:
        return "must not name port 0; ports begin at 1"
    if not _PRINTABLE.fullmatch(url):
        return _not_ascii(host)
    host = host.removesuffix(".")
    # The zone of an IPv6 address (`%eth0`) has a meaning on one machine only.
    address = None if "%" in host else literal_address(host)
    if address is None and not _NAME.fullmatch(host):
        return "must name a host: letters, digits, hyphens and dots, or an address"
    return Destination(host, port or (443 if parts.scheme == "https" else 80), address)


def refuse_at_sight(destination: Destination, *, allow_private: bool, field: str) -> None:
    """Raise URL_FORBIDDEN for what can be judged without a name server: an address, in whatever
    spelling, and a name that means the machine itself.
    """
    host = destination.host
    if destination.address is not None:
        refuse_addresses(host, [destination.address], allow_private=allow_private, field=field)
    elif looks_like_odd_address(host):
        said = "is an address in an unusual spelling; write it as four numbers, or as IPv6"
        raise url_forbidden(host, said, field)
    elif host in _LOCAL_NAMES or host.endswith(_LOCAL_SUFFIXES):
        raise url_forbidden(host, "names the machine itself; give a public name", field)


def refuse_addresses(
    host: str, addresses: Iterable[Address], *, allow_private: bool, field: str
) -> None:
    """Raise URL_FORBIDDEN when any of the addresses of a host may not be reached."""
    for address in addresses:
        why = why_forbidden(address, allow_private=allow_private)
        if why is not None:
            said = f"leads to {address}, which is {why}; give one that is publicly reachable"
            raise url_forbidden(host, said, field, address=str(address), why=why)


def unresolved(host: str, field: str) -> Refusal:
    """The refusal (URL_FORBIDDEN, RETRY) of a name that does not resolve now.

    It is refused because nobody can tell where it would lead later.
    """
    said = "was not found by the name servers in time; call again, or give a name that resolves"
    return url_forbidden(host, said, field, recovery=Recovery.RETRY, why="unresolved")


def url_forbidden(
    host: str, said: str, field: str, *, recovery: Recovery | None = None, **metadata: str
) -> Refusal:
    return Refusal(
        SharedReason.URL_FORBIDDEN,
        f"the url's host {host} {said}",
        metadata={"host": host, **metadata},
        violations=[Violation(field, f"its host {said}")],
        recovery=recovery,
    )


def why_forbidden(address: Address, *, allow_private: bool) -> str | None:
    """Why nothing may be reached at this address; None when it may.

    An IPv6 address that wraps an IPv4 one (mapped, compatible, translated, 6to4) is judged by the
    latter.
    """
    address = _inner(address)
    for network, why in _FORBIDDEN:
        if _within(address, network):
            return why
    if any(_within(address, network) for network in _PRIVATE):
        return None if allow_private else "private"
    if isinstance(address, IPv6Address) and address not in _ALLOCATED:
        return _RESERVED
    return None


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
        last.startswith("0x") and all(character in "0123456789abcdef" for character in last[2:])
    )


def _within(address: Address, network: IPv4Network | IPv6Network) -> bool:
    return address.version == network.version and address in network


def _inner(address: Address) -> Address:
    """The IPv4 address that an IPv6 one wraps; any other address as it is."""
    if isinstance(address, IPv4Address):
        return address
    low = int(address) & 0xFFFFFFFF
    # `::` and `::1` lie in the range of the old compatible form, but wrap nothing.
    if (address in _COMPATIBLE and low > 1) or any(address in network for network in _WRAPPED):
        return IPv4Address(low)
    if address in _SIX_TO_FOUR:
        return IPv4Address(int(address) >> 80 & 0xFFFFFFFF)
    return address


def _not_ascii(host: str) -> str:
    """What to say of a url that is not ASCII.

    It is refused because programs convert such a host in two ways, which lead to two places.
    """
    if host.isascii():
        return "must be ASCII; write other characters as %XX"
    try:
        plain = host.encode("idna").decode("ascii")
    except UnicodeError:
        return "must be ASCII; write an international name in its xn-- form"
    return f"must be ASCII; write the host in its xn-- form, such as {plain}"
