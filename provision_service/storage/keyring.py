"""The keys file: `{"current": "k1", "keys": {"k1": "<base64 of 32 bytes>"}}`, re-read on change."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from hmac import compare_digest
from pathlib import Path
from threading import Lock
from typing import Final

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from agentworkspace.core.watched_files import Observe, Signature, signature, unobserved
from agentworkspace.service.secret_file import open_to_others

KEY_BYTES: Final = 32
_FORM: Final = '{"current": "<id>", "keys": {"<id>": "<base64 of 32 bytes>"}}'
_KEY_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")


class BadKeys(ValueError):
    """A keys file that is refused; the text names file and remedy and never a key."""


@dataclass(frozen=True, slots=True)
class Keyring:
    """The current key id and the ciphers by id; never prints a key."""

    current: str
    _keys: Mapping[str, bytes] = field(repr=False)
    _ciphers: Mapping[str, AESGCM] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_ciphers", {k: AESGCM(v) for k, v in self._keys.items()})

    @property
    def key_ids(self) -> frozenset[str]:
        """Every id the file names."""
        return frozenset(self._keys)

    def cipher(self, key_id: str) -> AESGCM | None:
        """The cipher of a key, or None when the file does not name it."""
        return self._ciphers.get(key_id)

    def narrowed(self, current: str, key_ids: Collection[str]) -> Keyring:
        """The same with only these keys and another current one; empty: none to write with."""
        if current == self.current and self.key_ids == set(key_ids):
            return self
        return Keyring(current, {key_id: self._keys[key_id] for key_id in key_ids})

    def changed_ids(self, newer: Keyring) -> frozenset[str]:
        """Ids that both know and that stand for another key in `newer`."""
        both = self.key_ids & newer.key_ids
        return frozenset(
            key_id for key_id in both if not compare_digest(self._keys[key_id], newer._keys[key_id])
        )


def parse_keys(text: str, *, file: str) -> Keyring:
    """Parse a keys file; BadKeys says what is wrong with it."""
    try:
        document = json.loads(text)
    except ValueError as error:
        line = error.lineno if isinstance(error, json.JSONDecodeError) else 1
        raise BadKeys(f"{file}:{line}: is not JSON; it must be {_FORM}") from None
    if not isinstance(document, dict) or not isinstance(document.get("keys"), dict):
        raise BadKeys(f"{file} must be {_FORM}")
    keys = {str(key_id): _key(key_id, value, file) for key_id, value in document["keys"].items()}
    current = document.get("current")
    if not isinstance(current, str) or current not in keys:
        raise BadKeys(f"{file}: `current` must name one of its keys")
    return Keyring(current, keys)


def _key(key_id: str, value: object, file: str) -> bytes:
    if not _KEY_ID.fullmatch(key_id):
        raise BadKeys(f"{file}: a key id may have 1 to 64 letters, digits, `.`, `_`, `-`")
    try:
        key = base64.b64decode(value if isinstance(value, str) else "", validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != KEY_BYTES:
        raise BadKeys(
            f"{file}: key `{key_id}` must be base64 of {KEY_BYTES} bytes;"
            f" `head -c{KEY_BYTES} /dev/urandom | base64` makes one"
        )
    return key


# Which of these key ids stored rows still need.
Needed = Callable[[frozenset[str]], frozenset[str]]


class KeysFile:
    """The keyring of a file, read again when that changes. When the changed file is bad, or gone,
    or lacks a key that rows still need, the old keyring stays in force, and that is reported.
    `observe` is told of every change whether it was refused.
    """

    def __init__(
        self,
        path: Path,
        *,
        report: Callable[[str], None],
        observe: Observe = unobserved,
    ) -> None:
        self._path = path
        self._report = report
        self._observe = observe
        self._lock = Lock()
        self._seen = signature(path)
        self._keyring = parse_keys(self._read(), file=str(path))
        self._waiting: Keyring | None = None
        self._waiting_reported = False

    def current(self) -> Keyring:
        """The keyring, read again when the file has changed. The caller may be in a transaction, so
        a file that lacks one of the keys waits for `look_again`, which asks the database.
        """
        seen = signature(self._path)
        if seen != self._seen:
            with self._lock:
                if seen != self._seen:
                    self._reload(seen)
        return self._keyring

    def look_again(self, needed: Needed) -> None:
        """Take over a waiting file, which lacks some keys, as soon as no row needs those.

        An error of `needed` is passed on; nothing has changed then, and the next look tries again.
        """
        left = self.current().key_ids
        waiting = self._waiting
        if waiting is None:
            return
        missed = needed(left - waiting.key_ids)
        with self._lock:
            if self._waiting is not waiting:
                return
            if not missed:
                self._take_over(waiting)
            elif not self._waiting_reported:
                self._waiting_reported = True
                shown = ", ".join(sorted(missed))
                self._refuse(f"{self._path}: stored rows are under {shown}; put it back")

    def _reload(self, seen: Signature) -> None:
        self._seen = seen
        self._waiting, self._waiting_reported = None, False
        try:
            newer = parse_keys(self._read(), file=str(self._path))
            changed = self._keyring.changed_ids(newer)
            if changed:
                shown = ", ".join(sorted(changed))
                raise BadKeys(f"{self._path}: {shown} changed; give a new key a new id")
        except (OSError, BadKeys) as error:
            self._refuse(str(error))
            return
        if newer.key_ids >= self._keyring.key_ids:
            self._take_over(newer)
        else:
            self._waiting = newer

    def _take_over(self, newer: Keyring) -> None:
        self._keyring, self._waiting = newer, None
        self._observe(refused=False)

    def _refuse(self, why: str) -> None:
        self._report(f"the keys file was not taken over: {why}")
        self._observe(refused=True)

    def _read(self) -> str:
        try:
            too_open = open_to_others(self._path)
            if too_open:
                raise BadKeys(too_open)
            return self._path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise BadKeys(f"{self._path} cannot be read: {type(error).__name__}") from None
