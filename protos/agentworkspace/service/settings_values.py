"""Readers of settings: each turns the text of a variable into a value, or raises ValueError.

The message of the ValueError says what is wanted and never repeats the text, which may be a secret
that somebody put under the wrong name.
"""

from __future__ import annotations

import re
from argparse import ArgumentTypeError
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Final, TypeVar
from urllib.parse import urlsplit

from agentworkspace.core.secret import Secret
from agentworkspace.service.database_url import connection_parameters

T = TypeVar("T")

_ADDRESS: Final = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):(?P<port>\d{1,5})")
_DURATION: Final = re.compile(r"(?P<number>[0-9]{1,9}(?:\.[0-9]{1,3})?)(?P<unit>[smh]?)")
_UNIT_SECONDS: Final = {"": 1, "s": 1, "m": 60, "h": 3600}


class WebUrl(str):
    """The URL of a web service, which may carry a key in its path or query."""

    __slots__ = ()


def visible(value: object, text: str) -> str:
    """What `check-config` prints of a value read from `text`: nothing that may be secret."""
    match value:
        case Secret():
            return "set"
        case WebUrl():
            parts = urlsplit(value)
            rest = parts.path.rstrip("/") or parts.query
            return f"{parts.scheme}://{parts.netloc}{'/…' if rest else ''}"
        case Path() if not value.exists():
            # A path without a file may be anything, even a password.
            return "(set, and nothing is there yet)"
    return text


def address(text: str) -> str:
    """`host:port`; port 0 lets the system choose."""
    found = _ADDRESS.fullmatch(text)
    if found is None or int(found["port"]) > 65535:
        raise ValueError("must be host:port, such as 127.0.0.1:7101 or [::1]:7101")
    return text


def target(text: str) -> str:
    """`host:port` of another server, so never port 0."""
    if address(text).endswith(":0"):
        raise ValueError("must be host:port with the port that is served there")
    return text


def servers_target(text: str) -> str:
    """A `target`; `dns:///` before it means every server that the name leads to."""
    target(text.removeprefix("dns:///"))
    return text


def box_target(text: str) -> str:
    """A `target` for a box: `https://` before it says TLS with the box's own authorities."""
    target(text.removeprefix("https://"))
    return text


def database_url(text: str) -> Secret:
    """A PostgreSQL URL with one host or several."""
    connection_parameters(text)
    return Secret(text)


def web_url(text: str) -> str:
    """An http or https URL of a proxy, kept as written, because it is compared and passed on."""
    try:
        parts = urlsplit(text)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or any(character.isspace() for character in text):
        raise ValueError("must be an http or https URL, such as https://proxy.example/v1")
    if "{" in parts.netloc:
        raise ValueError("may hold {workspace_id} in its path, not in its host")
    if "@" in parts.netloc:
        raise ValueError("must carry no user name or password")
    return WebUrl(text)


def secret(text: str) -> Secret:
    return Secret(text)


def switch(text: str) -> bool:
    if text not in ("0", "1"):
        raise ValueError("must be 0 or 1")
    return text == "1"


def on_off(text: str) -> bool:
    if text not in ("on", "off"):
        raise ValueError("must be on or off")
    return text == "on"


def file(text: str) -> Path:
    path = Path(text)
    if not path.is_file():
        raise ValueError("must be the path of a readable file")
    return path


def directory(text: str) -> Path:
    return Path(text).expanduser()


def one_of(*allowed: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in allowed:
            raise ValueError(f"must be {', '.join(allowed[:-1])} or {allowed[-1]}")
        return text

    return read


def only(allowed: str) -> Callable[[str], str]:
    """A variable defined elsewhere (OpenTelemetry's), of which only one value is supported."""

    def read(text: str) -> str:
        if text != allowed:
            raise ValueError(f"must be {allowed}: nothing else is built in")
        return text

    return read


def whole(low: int, high: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        # isdecimal alone would let digits of other scripts through.
        if not (text.isascii() and text.isdecimal()) or not low <= int(text) <= high:
            raise ValueError(f"must be a whole number from {low} to {high}")
        return int(text)

    return read


def seconds(low: float, high: float) -> Callable[[str], timedelta]:
    def read(text: str) -> timedelta:
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not low <= value <= high:
            raise ValueError(f"must be a number of seconds from {low:g} to {high:g}")
        return timedelta(seconds=value)

    return read


def duration(low: timedelta, high: timedelta) -> Callable[[str], timedelta]:
    """A number of seconds, or with a unit: `900`, `900s`, `15m`, `1h`."""

    def read(text: str) -> timedelta:
        found = _DURATION.fullmatch(text)
        value = timedelta(0)
        if found is not None:
            value = timedelta(seconds=float(found["number"]) * _UNIT_SECONDS[found["unit"]])
        if found is None or not low <= value <= high:
            bounds = f"{low.total_seconds():g}s to {high.total_seconds():g}s"
            raise ValueError(f"must be a duration such as 90s, 15m or 1h, from {bounds}")
        return value

    return read


def of_argument(read: Callable[[str], T]) -> Callable[[str], T]:
    """The same reader for a command-line argument, so that argparse prints its message."""

    def read_argument(text: str) -> T:
        try:
            return read(text)
        except ValueError as wrong:
            raise ArgumentTypeError(str(wrong)) from None

    return read_argument


def optional(read: Callable[[str], T]) -> Callable[[str], T | None]:
    """The same reader, except that an empty text is None."""
    return lambda text: read(text) if text else None
