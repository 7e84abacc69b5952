"""Names to addresses, each address checked before anything connects to it."""

from __future__ import annotations

import socket
from collections.abc import Callable
from ipaddress import ip_address
from typing import Final

from agentworkspace.core.refusal import Refusal
from provision_service.domain.refusals import Reason
from provision_service.domain.urls import (
    Address,
    literal_address,
    looks_like_odd_address,
    parse_destination,
    refuse_forbidden_address,
)

# The addresses of a host; OSError when it has none or nobody could say.
Resolver = Callable[[str], list[Address]]

_MAX_ADDRESSES: Final = 64


def resolve(host: str) -> list[Address]:
    """Ask the system's resolver, which reads the hosts file too."""
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    texts = dict.fromkeys(str(entry[4][0]).partition("%")[0] for entry in found)
    return [ip_address(text) for text in list(texts)[:_MAX_ADDRESSES]]


class UrlChecker:
    """Refuses urls that lead where an agent may not be reached; asks name servers, so no
    transaction may be open. A name that cannot be resolved now is refused: what it would
    lead to later is not known.
    """

    def __init__(self, *, resolver: Resolver = resolve, allow_private: bool = False) -> None:
        self._resolver = resolver
        self._allow_private = allow_private

    def __call__(self, url: str) -> None:
        """Raise URL_FORBIDDEN unless every address of the url's host is allowed."""
        if not url:
            return
        destination = parse_destination(url)
        if isinstance(destination, str):
            raise _forbidden(url, f"the url {destination}")
        for address in self._addresses(destination.host):
            refuse_forbidden_address(address, allow_private=self._allow_private)

    def _addresses(self, host: str) -> list[Address]:
        literal = literal_address(host)
        if literal is not None:
            return [literal]
        if looks_like_odd_address(host):
            raise _forbidden(host, "the url's host is an address in an unusual spelling")
        try:
            addresses = self._resolver(host)
        except (OSError, UnicodeError):
            addresses = []
        if not addresses:
            raise _forbidden(host, "the url's host has no address")
        return addresses


def _forbidden(host: str, message: str) -> Refusal:
    return Refusal(Reason.URL_FORBIDDEN, message, metadata={"host": host[:255]})
