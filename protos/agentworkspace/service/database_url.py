"""Reads a PostgreSQL URL, with one host or several, as libpq's parameters."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import parse_qsl, quote, urlencode

import psycopg2
from psycopg2.extensions import parse_dsn

_SCHEME: Final = re.compile(r"(?:postgresql(?:\+psycopg2)?|postgres)://")
_PORTS: Final = re.compile(r"[0-9,]*")
_MALFORMED: Final = (
    "must be a PostgreSQL URL, such as postgresql://user:password@host/database, with what is"
    " special in the password written as %XX"
)


def connection_parameters(text: str) -> dict[str, str]:
    """The URL as libpq's parameters, such as `{"host": "h1,h2", "port": "5432,5432"}`.

    Several hosts may stand in the authority (`h1:5432,h2:5432`), in one
    `?host=h1,h2&port=5432,5432`, or in several `?host=h1:5432&host=h2:5432`. ValueError with a
    fixed text, because libpq's own may quote the password.
    """
    scheme = _SCHEME.match(text)
    if scheme is None:
        raise ValueError(_MALFORMED)
    before, mark, query = text[scheme.end() :].partition("?")
    authority, slash, database = before.partition("/")
    user, at, hosts = authority.rpartition("@")
    # Only the last @ ends the user; libpq would take what follows the first @ for the host.
    url = f"postgresql://{user.replace('@', '%40')}{at}{hosts}{slash}{database}"
    try:
        found = parse_dsn(f"{url}{mark}{_one_host(query)}")
    except psycopg2.Error:
        raise ValueError(_MALFORMED) from None
    # A password with a slash in it ends up in these parts, which libpq quotes in its errors.
    if not _PORTS.fullmatch(found.get("port", "")) or "@" in found.get("dbname", ""):
        raise ValueError(_MALFORMED)
    return found


def _one_host(query: str) -> str:
    """The query with its hosts in one parameter, as libpq reads them."""
    pairs = parse_qsl(query, keep_blank_values=True)
    hosts = [value for name, value in pairs if name == "host"]
    if not any(_has_port(host) for host in hosts) and len(hosts) < 2:
        return query
    split = [host.rsplit(":", 1) if _has_port(host) else [host, ""] for host in hosts]
    kept = [pair for pair in pairs if pair[0] not in ("host", "port")]
    joined = [("host", ",".join(host for host, _ in split))]
    joined += [("port", ",".join(port for _, port in split))]
    return urlencode(kept + joined, quote_via=quote)


def _has_port(host: str) -> bool:
    return not host.startswith(("/", "@")) and "," not in host and host.count(":") == 1
