"""The key that signs the seals, and the public keys that verify them.

One PEM file holds them: at most one Ed25519 private key, and any number of public ones, such as
those of former keys.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

from agentworkspace.service.secret_file import open_to_others

_PEM: Final = re.compile(
    r"-----BEGIN (PRIVATE|PUBLIC) KEY-----[A-Za-z0-9+/=\s]+-----END \1 KEY-----"
)


class BadAuditKey(ValueError):
    """The key file cannot be used; the message names the file and the remedy, never a key."""


@dataclass(frozen=True, slots=True)
class AuditKeys:
    """The keys of a file, the public ones by their id; never prints a private key."""

    public: Mapping[str, Ed25519PublicKey] = field(default_factory=dict)
    private: Ed25519PrivateKey | None = field(default=None, repr=False)

    @property
    def signing(self) -> str:
        """The id of the key that signs; empty when there is none."""
        return "" if self.private is None else key_id_of(self.private.public_key())

    def sign(self, text: str) -> bytes:
        """The signature of a text; empty without a private key."""
        return b"" if self.private is None else self.private.sign(text.encode())

    def holds(self, key_id: str, signature: bytes, text: str) -> bool | None:
        """Whether the signature is that of the key with this id; None when the key is unknown."""
        key = self.public.get(key_id)
        if key is None:
            return None
        try:
            key.verify(signature, text.encode())
        except InvalidSignature:
            return False
        return True


NO_KEYS: Final = AuditKeys()


def key_id_of(key: Ed25519PublicKey) -> str:
    """The id of a key: the first half of the SHA-256 of its 32 bytes, as 32 hex digits."""
    return hashlib.sha256(key.public_bytes_raw()).hexdigest()[:32]


def read_keys(path: Path | None) -> AuditKeys:
    """The keys of a file; NO_KEYS without a path. BadAuditKey when the file cannot be used."""
    if path is None:
        return NO_KEYS
    try:
        text = path.read_text(encoding="utf-8")
        too_open = open_to_others(path)
    except (OSError, UnicodeDecodeError) as error:
        raise BadAuditKey(f"{path} cannot be read: {type(error).__name__}") from None
    private: Ed25519PrivateKey | None = None
    public: dict[str, Ed25519PublicKey] = {}
    for found in _PEM.finditer(text):
        key = _loaded(found, path)
        if isinstance(key, Ed25519PrivateKey):
            if private is not None:
                raise BadAuditKey(f"{path} holds two private keys; keep the public one of the old")
            private, key = key, key.public_key()
        public[key_id_of(key)] = key
    if not public:
        raise BadAuditKey(
            f"{path} holds no key; `openssl genpkey -algorithm ed25519 -out {path}` makes one"
        )
    if private is not None and too_open:
        raise BadAuditKey(too_open)
    return AuditKeys(public, private)


def _loaded(found: re.Match[str], path: Path) -> Ed25519PrivateKey | Ed25519PublicKey:
    text, is_private = found[0].encode(), found[1] == "PRIVATE"
    try:
        key = load_pem_private_key(text, None) if is_private else load_pem_public_key(text)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise BadAuditKey(f"{path} holds a key that cannot be read; make it anew") from None
    if not isinstance(key, Ed25519PrivateKey | Ed25519PublicKey):
        raise BadAuditKey(f"{path} holds a key that is not of Ed25519; make one of that kind")
    return key
