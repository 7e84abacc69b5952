"""The files of one installation: who may call, and the keys. Made once, then left alone.

    python3 deploy/installation.py DIRECTORY     make them, for deploy/compose.yaml for example

Needs nothing but the standard library.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import secrets
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Installation:
    """A data directory. Its secrets are files of mode 0600, never arguments."""

    home: Path

    @property
    def admin_token(self) -> Path:
        """An admin's bearer, valid at both services."""
        return self.home / "credentials" / "admin-token"

    @property
    def registry_token(self) -> Path:
        """What provision-service presents to the registry."""
        return self.home / "credentials" / "provision-registry-token"

    @property
    def registry_callers(self) -> Path:
        return self.home / "credentials" / "registry-callers.json"

    @property
    def provision_callers(self) -> Path:
        return self.home / "credentials" / "provision-callers.json"

    @property
    def secrets_keys(self) -> Path:
        """What the tenants' secrets are encrypted with; without it they are lost."""
        return self.home / "credentials" / "secrets-keys.json"

    @property
    def postgres(self) -> Path:
        """Where `serve --embedded` keeps its server."""
        return self.home / "postgres"

    def log(self, service: str) -> Path:
        return self.home / "logs" / f"{service}.log"

    def prepare(self) -> None:
        """Make what is missing, and nothing else: callers added by hand stay."""
        self.home.mkdir(parents=True, exist_ok=True)
        for directory in (self.admin_token.parent, self.log("").parent):
            directory.mkdir(mode=0o700, exist_ok=True)
        write_once(self.admin_token, lambda: secrets.token_urlsafe(32))
        write_once(self.registry_token, lambda: secrets.token_urlsafe(32))
        write_once(self.secrets_keys, new_keys)
        admin = caller("admin", ["admin"], self.admin_token)
        # It also checks the tokens of boxes that ask for their secrets.
        launcher = caller("provision-service", ["launcher", "verifier"], self.registry_token)
        write_once(self.registry_callers, lambda: as_json({"callers": [admin, launcher]}))
        write_once(self.provision_callers, lambda: as_json({"callers": [admin]}))


def caller(name: str, roles: list[str], token: Path) -> dict[str, object]:
    """A caller of every tenant; the file of callers knows only the hash of its token."""
    digest = hashlib.sha256(token.read_text().strip().encode()).hexdigest()
    return {"name": name, "roles": roles, "tenants": ["*"], "sha256": [digest]}


def new_keys() -> str:
    key = base64.b64encode(secrets.token_bytes(32)).decode()
    return as_json({"current": "k1", "keys": {"k1": key}})


def as_json(document: dict[str, object]) -> str:
    return json.dumps(document, indent=2)


def write_once(path: Path, content: Callable[[], str]) -> None:
    """Write a file that only its owner can read; appear whole or not at all."""
    if path.exists():
        return
    unfinished = path.with_name(f"{path.name}.unfinished")
    unfinished.unlink(missing_ok=True)
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(content() + "\n")
    unfinished.rename(path)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python3 deploy/installation.py DIRECTORY")
    installation = Installation(Path(sys.argv[1]).resolve())
    installation.prepare()
    print(f"An admin's credential lies in {installation.admin_token} (mode 0600).")
