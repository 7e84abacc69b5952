"""Whether PEM files are of use for TLS, asked before anybody relies on them."""

from __future__ import annotations

import ssl
from pathlib import Path


class PemInvalid(ValueError):
    """The text names the files and what to do."""


def require_pair(certificate: Path, key: Path) -> None:
    """PemInvalid when the two are no certificate and key that belong together; OSError when one
    cannot be read.
    """
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(
            _told(certificate), _told(key), _no_password
        )
    except PemInvalid:
        raise
    except (ssl.SSLError, ValueError) as wrong:
        raise PemInvalid(
            f"{certificate} and {key} are no certificate and key that belong together; name PEM"
            " files, the key's without a password"
        ) from wrong


def require_authorities(path: Path) -> None:
    """PemInvalid when the file holds no certificate of an authority; OSError when it cannot be
    read.
    """
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(_told(path))
    except ssl.SSLError as wrong:
        raise PemInvalid(f"{path} holds no certificate of an authority; name a PEM file") from wrong


def content(path: Path) -> bytes:
    """PemInvalid for an empty file: caught in the middle of being written, or a mistake; as a
    client CA it would lock out everybody. OSError when it cannot be read.
    """
    found = path.read_bytes()
    if not found.strip():
        raise PemInvalid(f"{path} is empty; name a PEM file")
    return found


def _told(path: Path) -> Path:
    """The path, of a file that can be read: OpenSSL would not say which one cannot."""
    content(path)
    return path


def _no_password() -> str:
    """Called for a key that is encrypted; without this OpenSSL would ask on the terminal."""
    return ""
