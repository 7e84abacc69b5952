"""Secrets at rest: AES-256-GCM, bound to the place a value belongs to."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from cryptography.exceptions import InvalidTag

from agentworkspace.core.refusal import Refusal, SharedReason
from agentworkspace.core.secret import Secret
from provision_service.domain.scope import Scope
from provision_service.storage.keyring import Keyring

NONCE_BYTES: Final = 12
FINGERPRINT_KEY_BYTES: Final = 32
KEY_ARRIVES_AFTER: Final = timedelta(seconds=5)
_SHOWN_BYTES: Final = 16
# Made once: json.dumps makes one for each call that departs from its defaults.
_ENCODER: Final = json.JSONEncoder(ensure_ascii=True, separators=(",", ":"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a value belongs; the associated data of its ciphertext."""

    kind: str
    tenant_id: str = ""
    workspace_id: str = ""
    key: str = ""

    def encoded(self) -> bytes:
        """One text for each place, whatever characters its parts have."""
        parts = [self.kind, self.tenant_id, self.workspace_id, self.key]
        return _ENCODER.encode(parts).encode("ascii")


FINGERPRINT_KEY: Final = Place(kind="fingerprint-key")


def secret_place(tenant_id: str, workspace_id: str | None, key: str) -> Place:
    """The place of a tenant's (`workspace_id` None) or a workspace's secret."""
    scope = Scope.GLOBAL if workspace_id is None else Scope.WORKSPACE
    return Place(
        kind=f"secret/{scope.value}",
        tenant_id=tenant_id,
        workspace_id=workspace_id or "",
        key=key,
    )


def usage_token_place(tenant_id: str) -> Place:
    """The place of a tenant's usage token."""
    return Place(kind="usage-token", tenant_id=tenant_id)


@dataclass(frozen=True, slots=True)
class Sealed:
    """A ciphertext with what is needed to open it again, apart from the key."""

    ciphertext: bytes
    nonce: bytes
    key_id: str


class Vault:
    """Seals and opens values under the keyring in force."""

    def __init__(
        self, keyring: Callable[[], Keyring], random_bytes: Callable[[int], bytes]
    ) -> None:
        self._keyring = keyring
        self._random_bytes = random_bytes

    @property
    def keyring(self) -> Keyring:
        """The keyring in force."""
        return self._keyring()

    def seal(self, place: Place, value: bytes) -> Sealed:
        """Encrypt under the current key."""
        keyring = self._keyring()
        return self.seal_under(keyring, keyring.current, place, value)

    def seal_under(self, keyring: Keyring, key_id: str, place: Place, value: bytes) -> Sealed:
        """Encrypt under a key of `keyring`; Refusal STORE_UNAVAILABLE when it has none of this id,
        as while the replicas have no key in common.
        """
        cipher = keyring.cipher(key_id)
        if cipher is None:
            raise Refusal(
                SharedReason.STORE_UNAVAILABLE,
                "there is no encryption key that every replica holds; nothing was written."
                " Give every replica the same keys file",
                retry_after=KEY_ARRIVES_AFTER,
            )
        nonce = self._random_bytes(NONCE_BYTES)
        return Sealed(cipher.encrypt(nonce, value, place.encoded()), nonce, key_id)

    def open(self, place: Place, sealed: Sealed, *, keyring: Keyring | None = None) -> bytes | None:
        """The value; None when it was sealed for another place, or under another key of this id, or
        is damaged.

        Refusal STORE_UNAVAILABLE when the keyring does not know the id: while a new key is handed
        out, one replica may write under it before another has it. That says nothing of the value.
        """
        cipher = (keyring or self._keyring()).cipher(sealed.key_id)
        if cipher is None:
            raise Refusal(
                SharedReason.STORE_UNAVAILABLE,
                f"this replica does not hold encryption key `{sealed.key_id}` yet; nothing was"
                " decided. Put it into the keys file of every replica",
                retry_after=KEY_ARRIVES_AFTER,
            )
        try:
            return cipher.decrypt(sealed.nonce, sealed.ciphertext, place.encoded())
        except (InvalidTag, ValueError):
            return None

    def open_text(
        self, place: Place, sealed: Sealed, *, keyring: Keyring | None = None
    ) -> Secret | None:
        """As `open`, for values that are text."""
        value = self.open(place, sealed, keyring=keyring)
        if value is None:
            return None
        try:
            return Secret(value.decode("utf-8"))
        except UnicodeDecodeError:
            return None

    def random_key(self) -> bytes:
        """Fresh bytes for the fingerprint key."""
        return self._random_bytes(FINGERPRINT_KEY_BYTES)


class Fingerprints:
    """Keyed fingerprints: equal for equal values, and worthless without the key."""

    __slots__ = ("_key",)

    def __init__(self, key: bytes) -> None:
        self._key = key

    def of(self, value: Secret) -> bytes:
        """The fingerprint of a secret's text."""
        return self.of_bytes(value.reveal().encode("utf-8", "surrogatepass"))

    def of_bytes(self, value: bytes) -> bytes:
        """The fingerprint of bytes, such as the canonical parameters of a request."""
        return hmac.digest(self._key, value, hashlib.sha256)


def shown(fingerprint: bytes) -> str:
    """A fingerprint as people see it: 32 hex digits."""
    return fingerprint[:_SHOWN_BYTES].hex()
