"""Comparing endpoints by what a connection goes to: scheme, host and port."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class WebOrigin:
    """Scheme, host and port, in the one spelling that compares."""

    scheme: str
    host: str
    port: int


def web_origin(url: str) -> WebOrigin | None:
    """Where an http or https URL leads, or None when it leads nowhere one can tell.

    Written as clients read it: case, default port, a final dot of the host, user
    information and back slashes make no difference.
    """
    try:
        parts = urlsplit(url.strip().replace("\\", "/"))
        host = parts.hostname
        port = parts.port
    except ValueError:
        return None
    scheme = parts.scheme.lower()
    if scheme not in _DEFAULT_PORTS or not host:
        return None
    return WebOrigin(scheme, _canonical_host(host), port or _DEFAULT_PORTS[scheme])


def _canonical_host(host: str) -> str:
    try:
        return ip_address(host).compressed
    except ValueError:
        pass
    bare = host.rstrip(".").lower()
    try:
        return bare.encode("idna").decode("ascii")
    except UnicodeError:
        return bare


def leads_to_any(url: str, others: Iterable[str]) -> bool:
    """Whether `url` has the scheme, host and port of any of the other URLs."""
    origin = web_origin(url)
    return origin is not None and any(origin == web_origin(other) for other in others)


def is_provider_endpoint(url: str) -> bool:
    """Whether a catalogue may name `url`: https, or http on loopback; no trailing slash.

    Parts in braces (`{location}`) are filled in by the runtime and are allowed.
    """
    origin = web_origin(url.replace("{", "").replace("}", ""))
    if origin is None or url.endswith("/") or "$" in url or "@" in url:
        return False
    return origin.scheme == "https" or origin.host in ("localhost", "127.0.0.1", "::1")
