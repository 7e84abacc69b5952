"""The url a box announces: callers will connect to it, so it must not lead them inside.

Refused: loopback, link-local (and with it the clouds' metadata addresses), carrier-grade NAT,
documentation, multicast and reserved ranges; private ranges unless a setting allows them.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import socket
from collections.abc import Sequence
from typing import Final
from urllib.parse import SplitResult, urlsplit

from agentworkspace.core.refusal import Refusal, SharedReason, Violation

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

LONGEST_URL: Final = 2048
RESOLVE_SECONDS: Final = 1.0
_PRINTABLE: Final = re.compile(r"[!-~]+", re.ASCII)
_HOST: Final = re.compile(r"[A-Za-z0-9._:-]{1,253}", re.ASCII)
_LOCAL_NAMES: Final = ("localhost", "metadata.google.internal")
_LOCAL_SUFFIXES: Final = (".localhost", ".localdomain")

# Python's `is_private` mixes these with loopback and documentation.
_PRIVATE: Final = tuple(
    ipaddress.ip_network(text)
    for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")
)
_NEVER: Final = tuple(
    ipaddress.ip_network(text)
    for text in (
        "100.64.0.0/10",  # carrier-grade NAT
        "168.63.129.16/32",  # metadata, at a public address
        "64:ff9b:1::/48",  # local-use NAT64, with the IPv4 address wherever its operator likes
        "fec0::/10",  # site-local
        "fd00:ec2::/32",  # metadata, inside the private range
        "2001:db8::/32",
        "3fff::/20",  # documentation
    )
)
# An IPv4 address in the low bits: NAT64, and stateless translation.
_WRAPPED: Final = tuple(ipaddress.IPv6Network(text) for text in ("64:ff9b::/96", "::ffff:0:0:0/96"))


def shape_fault(text: str, *, allow_private: bool) -> str | None:
    """What is wrong with this url as it stands, names unresolved; None: nothing."""
    if len(text) > LONGEST_URL:
        return f"must be at most {LONGEST_URL} characters"
    if not _PRINTABLE.fullmatch(text):
        return "must be printable ASCII without spaces"
    parts = _split(text)
    if parts is None or parts.scheme not in ("http", "https"):
        return "must be an http or https URL"
    if "@" in parts.netloc:
        return "must not carry a user or a password"
    return _host_fault((parts.hostname or "").rstrip("."), allow_private=allow_private)


def address_fault(address: Address, *, allow_private: bool) -> str | None:
    """Why nobody should be sent to this address; None: it may be used."""
    address = _inner(address)
    if any(address in network for network in _NEVER if network.version == address.version):
        return "must not lead to a reserved address"
    if any(address in network for network in _PRIVATE if network.version == address.version):
        return None if allow_private else "must not lead to a private address"
    if address.is_loopback or address.is_unspecified:
        return "must not lead to a loopback address"
    if address.is_link_local:
        return "must not lead to a link-local address"
    if address.is_multicast:
        return "must not lead to a multicast address"
    return None if address.is_global else "must not lead to a reserved address"


class AnnouncedUrls:
    """Checks what a name resolves to at this moment.

    A name that does not resolve here is let through: the box may live in a network that the
    registry cannot see, and a fault of DNS must not lock it out. Whoever connects checks again.
    """

    def __init__(self, *, allow_private: bool) -> None:
        self.allow_private = allow_private

    async def check(self, url: str, field: str = "url") -> None:
        """Refusal INVALID_REQUEST when any address behind the name is refused."""
        host = urlsplit(url).hostname
        if not host or _literal(host):
            return
        for address in await self._addresses(host):
            fault = address_fault(address, allow_private=self.allow_private)
            if fault:
                raise Refusal(
                    SharedReason.INVALID_REQUEST,
                    f"the request is not well-formed: {field}",
                    metadata={"fields": field},
                    violations=[Violation(field, fault)],
                )

    async def _addresses(self, host: str) -> Sequence[Address]:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(RESOLVE_SECONDS):
                found = await loop.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError, TimeoutError):
            return ()
        return [ipaddress.ip_address(str(each[4][0]).partition("%")[0]) for each in found]


def _host_fault(host: str, *, allow_private: bool) -> str | None:
    if not _HOST.fullmatch(host):
        return "must name a host"
    if host in _LOCAL_NAMES or host.endswith(_LOCAL_SUFFIXES):
        return "must not name a local host"
    address = _literal(host)
    return address_fault(address, allow_private=allow_private) if address else None


def _split(text: str) -> SplitResult | None:
    try:
        parts = urlsplit(text)
        parts.port  # noqa: B018 - reading it is what checks it
    except ValueError:
        return None
    return parts


def _literal(host: str) -> Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _inner(address: Address) -> Address:
    """The IPv4 address that an IPv6 one only wraps."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    low = int(address) & 0xFFFFFFFF
    # The old compatible form, in which `::` and `::1` are addresses of their own.
    compatible = int(address) >> 32 == 0 and low > 1
    if compatible or any(address in network for network in _WRAPPED):
        return ipaddress.IPv4Address(low)
    return address.ipv4_mapped or address.sixtofour or address
