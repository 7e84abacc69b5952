"""The files of one installation, made once and then left alone: its callers and its keys.

    python3 deploy/installation.py DIRECTORY

makes them, and what deploy/compose.yaml needs besides: the roles of the database, and deploy/.env,
which says whose the files are and where they lie. Needs nothing but the standard library.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import secrets
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

# The image insists on a password for the superuser. Without it only the local socket lets it in.
NO_PASSWORD = "ALTER ROLE postgres PASSWORD NULL;\n"
ENVIRONMENT = """# Read by `docker compose -f deploy/compose.yaml`; yours to edit.
# Where a box finds the registry. As it stands: boxes that are processes of this machine. For others
# publish it on an address that they reach, and put TLS in front of it.
# REGISTRY_PUBLISHED=127.0.0.1:7101
# PROVISION_PUBLISHED=127.0.0.1:7102
# PROVISION_BOX_REGISTRY_ADDRESS=127.0.0.1:7101
# Your metered proxy, for models on the platform's bill; without it such a launch is refused.
# PLATFORM_LLM_BASE_URL=
# PLATFORM_LLM_ANTHROPIC_BASE_URL=
# PLATFORM_LLM_TOKENS=tenant
# Pin what it builds on: name@sha256:…
# PYTHON_IMAGE=python:3.13-slim
# POSTGRES_IMAGE=postgres:18
# With `--profile observability`: where Grafana answers, on this machine only.
# GRAFANA_PUBLISHED=127.0.0.1:3000
"""


@dataclass(frozen=True)
class Installation:
    """A data directory. Its secrets are files of mode 0600, never arguments."""

    home: Path

    @property
    def admin_token(self) -> Path:
        """An admin's bearer, valid at both services."""
        return self.home / "credentials" / "admin-token"

    @property
    def registry_files(self) -> Path:
        """What registry-service alone reads: a directory of its own, because a container that
        mounts a whole directory also sees a file that was replaced by a rename.
        """
        return self.home / "credentials" / "registry"

    @property
    def provision_files(self) -> Path:
        """What provision-service alone reads."""
        return self.home / "credentials" / "provision"

    @property
    def registry_token(self) -> Path:
        """What provision-service presents to the registry."""
        return self.provision_files / "registry-token"

    @property
    def registry_callers(self) -> Path:
        return self.registry_files / "callers.json"

    @property
    def provision_callers(self) -> Path:
        return self.provision_files / "callers.json"

    @property
    def secrets_keys(self) -> Path:
        """What the tenants' secrets are encrypted with; without it they are lost."""
        return self.provision_files / "secrets-keys.json"

    @property
    def databases(self) -> Path:
        """What PostgreSQL runs once, for roles and databases; no password can be read from it."""
        return self.home / "databases" / "databases.sql"

    @property
    def postgres(self) -> Path:
        """Where `serve --embedded` keeps its server."""
        return self.home / "postgres"

    def log(self, service: str) -> Path:
        return self.home / "logs" / f"{service}.log"

    def prepare(self) -> None:
        """Make what is missing, and nothing else: callers added by hand stay."""
        self.home.mkdir(parents=True, exist_ok=True)
        for directory in (
            self.admin_token.parent,
            self.registry_files,
            self.provision_files,
            self.log("").parent,
        ):
            directory.mkdir(mode=0o700, exist_ok=True)
        self._move_old_files()
        write_once(self.admin_token, lambda: secrets.token_urlsafe(32))
        write_once(self.registry_token, lambda: secrets.token_urlsafe(32))
        write_once(self.secrets_keys, new_keys)
        admin = caller("admin", ["admin"], self.admin_token)
        # Provisioning also checks the tokens of boxes that ask for their secrets.
        launcher = caller("provision-service", ["launcher", "verifier"], self.registry_token)
        write_once(self.registry_callers, lambda: as_json({"callers": [admin, launcher]}))
        write_once(self.provision_callers, lambda: as_json({"callers": [admin]}))

    def prepare_compose(self, settings: Path) -> None:
        """Make what deploy/compose.yaml needs besides: `settings` is its .env."""
        self.databases.parent.mkdir(mode=0o755, exist_ok=True)
        roles = [
            role("registry", self.registry_files / "database-url"),
            role("provision", self.provision_files / "database-url"),
        ]
        write_once(self.databases, lambda: "".join([*roles, NO_PASSWORD]))
        # PostgreSQL reads it as another user.
        self.databases.chmod(0o644)
        told = f"AGENTWORKSPACE_USER={os.getuid()}\nAGENTWORKSPACE_DATA={self.home}\n"
        write_once(settings, lambda: told + ENVIRONMENT)

    def _move_old_files(self) -> None:
        """Move the files of an installation from when all lay in one directory."""
        for name, file in {
            "provision-registry-token": self.registry_token,
            "registry-callers.json": self.registry_callers,
            "provision-callers.json": self.provision_callers,
            "secrets-keys.json": self.secrets_keys,
        }.items():
            before = self.admin_token.with_name(name)
            if before.exists() and not file.exists():
                before.rename(file)


def role(name: str, url: Path) -> str:
    """SQL for a role that owns a database of its own. Its password stands in the URL alone."""
    write_once(url, lambda: f"postgresql://{name}:{secrets.token_urlsafe(32)}@postgres/{name}")
    password = url.read_text().strip().split(":")[2].partition("@")[0]
    return f"""CREATE ROLE {name} LOGIN PASSWORD '{verifier(password, secrets.token_bytes(16))}';
CREATE DATABASE {name} OWNER {name};
REVOKE ALL ON DATABASE {name} FROM PUBLIC;
"""


def verifier(password: str, salt: bytes, rounds: int = 4096) -> str:
    """The SCRAM verifier that PostgreSQL stores (RFC 5803): it does not reveal the password."""
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, rounds)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server = hmac.digest(salted, b"Server Key", "sha256")
    texts = (base64.b64encode(each).decode() for each in (salt, stored, server))
    return "SCRAM-SHA-256${}:{}${}:{}".format(rounds, *texts)


def caller(name: str, roles: list[str], token: Path) -> dict[str, object]:
    """A caller for every tenant; the file of callers holds only the hash of its token."""
    digest = hashlib.sha256(token.read_text().strip().encode()).hexdigest()
    return {"name": name, "roles": roles, "tenants": ["*"], "sha256": [digest]}


def new_keys() -> str:
    key = base64.b64encode(secrets.token_bytes(32)).decode()
    return as_json({"current": "k1", "keys": {"k1": key}})


def as_json(document: dict[str, object]) -> str:
    return json.dumps(document, indent=2)


def write_once(path: Path, content: Callable[[], str]) -> None:
    """Write a file that only its owner can read, unless it exists; it appears whole or not."""
    if path.exists():
        return
    unfinished = path.with_name(f"{path.name}.unfinished")
    unfinished.unlink(missing_ok=True)
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(content() + "\n")
    unfinished.rename(path)


def main(arguments: list[str]) -> None:
    """Make the files, in the directory that the one argument names."""
    if len(arguments) != 1 or not arguments[0] or arguments[0].startswith("-"):
        sys.exit("usage: python3 deploy/installation.py DIRECTORY")
    installation = Installation(Path(arguments[0]).resolve())
    try:
        installation.prepare()
        installation.prepare_compose(Path(__file__).resolve().with_name(".env"))
    except OSError as error:
        sys.exit(
            f"cannot make {error.filename}: {error.strerror}; name a directory that this user may"
            " make or write"
        )
    print(f"An admin's credential lies in {installation.admin_token} (mode 0600).")
    print("Start both services: docker compose -f deploy/compose.yaml up --build --detach")


if __name__ == "__main__":
    main(sys.argv[1:])
