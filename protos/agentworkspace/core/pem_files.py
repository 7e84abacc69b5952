"""Checks that PEM files can be used for TLS, before anything relies on them."""

from __future__ import annotations

import ssl
from pathlib import Path


class PemInvalid(ValueError):
    """A PEM file cannot be used. The message names the files and what to do."""


def require_pair(certificate: Path, key: Path) -> None:
    """Raise PemInvalid unless the two are a certificate and its unencrypted key; OSError when one
    cannot be read.
    """
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(
            _readable(certificate), _readable(key), _no_password
        )
    except PemInvalid:
        raise
    except (ssl.SSLError, ValueError) as wrong:
        raise PemInvalid(
            f"{certificate} and {key} are no certificate and key that belong together; name PEM"
            " files, the key's without a password"
        ) from wrong


def require_authorities(path: Path) -> None:
    """Raise PemInvalid unless the file holds certificates of authorities; OSError when it cannot
    be read.
    """
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(_readable(path))
    except ssl.SSLError as wrong:
        raise PemInvalid(f"{path} holds no certificate of an authority; name a PEM file") from wrong


def content(path: Path) -> bytes:
    """The bytes of the file. PemInvalid when it is empty, OSError when it cannot be read.

    An empty file is a mistake or is just being written; as a client CA it would lock out everybody.
    """
    found = path.read_bytes()
    if not found.strip():
        raise PemInvalid(f"{path} is empty; name a PEM file")
    return found


def _readable(path: Path) -> Path:
    """The path, once its file was read: OpenSSL would not say which of two files it cannot read."""
    content(path)
    return path


def _no_password() -> str:
    """What OpenSSL calls for an encrypted key; without it, it would ask on the terminal."""
    return ""
