"""The credentials file: which secrets name which callers, with which roles and tenants.

`{"callers": [{"name": "…", "roles": ["admin"], "tenants": ["*"], "sha256": ["<hex>"],
"expires": "2030-01-01T00:00:00Z"}]}`. `expires` is optional; a caller may have two hashes while its
secret is being rotated. The file holds no secret, only hashes.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import structlog

from agentworkspace.core.caller import Caller
from agentworkspace.core.ids import is_sha256_hex
from agentworkspace.core.watched_files import Observe, signature, unobserved
from agentworkspace.rpc.policy import ROLES, effective_roles
from agentworkspace.rpc.redaction import Clean, is_token_shaped

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@/-]{0,63}", re.ASCII)
_FIELDS: Final = frozenset({"name", "roles", "tenants", "sha256", "expires"})
_MAX_HASHES: Final = 2
_CHECK_EVERY_SECONDS: Final = 1.0


class CredentialsInvalid(ValueError):
    """The file is not usable; the message names the place and the remedy."""


@dataclass(frozen=True, slots=True)
class _Entry:
    caller: Caller
    expires_at: float  # seconds since the epoch


_Table = dict[bytes, _Entry]


def parse(text: str) -> _Table:
    """The callers by the SHA-256 digest of their secret.

    CredentialsInvalid names the place of the first fault.
    """
    try:
        document = json.loads(text)
    except ValueError as error:
        raise CredentialsInvalid(f"not JSON: {error}") from None
    if not isinstance(document, dict) or set(document) != {"callers"}:
        raise CredentialsInvalid('expected an object with the single key "callers"')
    callers = document["callers"]
    if not isinstance(callers, list):
        raise CredentialsInvalid("callers: expected a list")
    table: _Table = {}
    names: set[str] = set()
    for index, each in enumerate(callers):
        place = f"callers[{index}]"
        entry, digests = _parse_caller(each, place)
        if entry.caller.name in names:
            raise CredentialsInvalid(f"{place}.name: {entry.caller.name} is there twice")
        names.add(entry.caller.name)
        for digest in digests:
            if digest in table:
                raise CredentialsInvalid(f"{place}.sha256: the same hash is there twice")
            table[digest] = entry
    return table


class CredentialsFile:
    """Knows callers by their secret, and notices within a second that the file changed.

    The constructor raises CredentialsInvalid or OSError. Later a missing or bad file is logged once
    and the last good one stays in force, so that a half-written file locks nobody out. `observe` is
    told of every change. `monotonic` and `now` return seconds.
    """

    def __init__(
        self,
        path: Path,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
        logger: Any = None,
        observe: Observe = unobserved,
    ) -> None:
        self._path = path
        self._observe = observe
        self._monotonic = monotonic
        self._now = now
        self._logger = logger or structlog.get_logger("agentworkspace.rpc")
        self._signature = signature(path)
        try:
            self._table = parse(path.read_text(encoding="utf-8"))
        except UnicodeDecodeError:
            raise CredentialsInvalid(f"{path}: is not UTF-8; make it a JSON text file") from None
        except CredentialsInvalid as error:
            raise CredentialsInvalid(f"{path}: {error}") from None
        self._checked_at = monotonic()
        self._latest = now()

    def identify(self, secret: str) -> Caller | None:
        """The caller with this secret; None when unknown or expired.

        A clock that is set back does not revive an expired caller until the file is read again.
        """
        checked_at = self._monotonic()
        passed = checked_at - self._checked_at
        if passed >= _CHECK_EVERY_SECONDS:
            self._checked_at = checked_at
            self._latest = max(self._latest + passed, self._now())
            self._reload_if_changed()
        entry = self._table.get(hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest())
        if entry is None:
            return None
        if entry.expires_at != math.inf:
            self._latest = max(self._latest, self._now())
            if entry.expires_at <= self._latest:
                return None
        return entry.caller

    def _reload_if_changed(self) -> None:
        seen = signature(self._path)
        if seen == self._signature:
            return
        self._signature = seen
        try:
            self._table = parse(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as fault:
            self._observe(refused=True)
            self._logger.error("credentials file not usable, keeping the last", fault=str(fault))
            return
        self._latest = self._now()
        self._observe(refused=False)
        self._logger.info("credentials file read again", callers=self._count())

    def _count(self) -> int:
        return len({entry.caller.name for entry in self._table.values()})


def _parse_caller(each: Any, place: str) -> tuple[_Entry, list[bytes]]:
    if not isinstance(each, dict):
        raise CredentialsInvalid(f"{place}: expected an object")
    unknown = sorted(set(each) - _FIELDS)
    if unknown:
        raise CredentialsInvalid(f"{place}: unknown key {unknown[0]!r}")
    name = each.get("name")
    if not isinstance(name, str) or not _NAME.fullmatch(name) or is_token_shaped(name):
        raise CredentialsInvalid(f"{place}.name: 1 to 64 of A-Z a-z 0-9 . _ @ / -, and no token")
    roles = _strings(each.get("roles"), f"{place}.roles")
    foreign = sorted(set(roles) - ROLES)
    if foreign:
        raise CredentialsInvalid(f"{place}.roles: {foreign[0]!r} is none of {sorted(ROLES)}")
    tenants = _parse_tenants(each.get("tenants"), f"{place}.tenants")
    caller = Caller(Clean(name), effective_roles(roles), tenants)
    entry = _Entry(caller, _parse_expiry(each.get("expires"), f"{place}.expires"))
    return entry, _parse_hashes(each.get("sha256"), f"{place}.sha256")


def _parse_tenants(value: Any, place: str) -> frozenset[str] | None:
    tenants = _strings(["*"] if value == "*" else value, place)
    if "*" not in tenants:
        return frozenset(tenants)
    if len(tenants) > 1:
        raise CredentialsInvalid(f'{place}: "*" stands alone')
    return None


def _parse_hashes(value: Any, place: str) -> list[bytes]:
    hashes = _strings(value, place)
    if len(hashes) > _MAX_HASHES:
        raise CredentialsInvalid(f"{place}: at most {_MAX_HASHES}, for the overlap of a rotation")
    if not all(map(is_sha256_hex, hashes)):
        raise CredentialsInvalid(f"{place}: 64 lower-case hex digits each")
    return [bytes.fromhex(each) for each in hashes]


def _parse_expiry(value: Any, place: str) -> float:
    if value is None:
        return math.inf
    try:
        moment = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        raise CredentialsInvalid(f"{place}: expected RFC 3339, 2030-01-01T00:00:00Z") from None
    if moment.tzinfo is None:
        raise CredentialsInvalid(f"{place}: needs a time zone, such as Z")
    return moment.timestamp()


def _strings(value: Any, place: str) -> list[str]:
    if not isinstance(value, list) or not value:
        raise CredentialsInvalid(f"{place}: expected a list that is not empty")
    if not all(isinstance(each, str) and each for each in value):
        raise CredentialsInvalid(f"{place}: expected strings that are not empty")
    return value
