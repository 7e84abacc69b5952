"""The roles that installation.py writes for compose: PostgreSQL would keep the very same text."""

from __future__ import annotations

import base64
import re
from contextlib import closing
from pathlib import Path

import psycopg2

from deploy.installation import Installation, verifier


def test_a_verifier_is_what_postgresql_makes_of_the_password(empty_database: str) -> None:
    with closing(psycopg2.connect(empty_database.replace("+psycopg2", ""))) as connection:
        with connection.cursor() as cursor:
            cursor.execute("SET password_encryption = 'scram-sha-256'")
            cursor.execute("CREATE ROLE verified LOGIN PASSWORD 'hunter2'")
            cursor.execute("SELECT rolpassword FROM pg_authid WHERE rolname = 'verified'")
            (kept,) = cursor.fetchone() or ("",)
        connection.rollback()
    salt = base64.b64decode(kept.split("$")[1].split(":")[1])
    assert verifier("hunter2", salt) == kept


def test_the_roles_hold_no_password_and_files_stay_as_they_were(tmp_path: Path) -> None:
    installation = Installation(tmp_path / "data")
    for _ in range(2):
        installation.prepare()
        installation.prepare_compose(tmp_path / ".env")
        url = (installation.registry_files / "database-url").read_text()
        found = re.fullmatch(r"postgresql://registry:(\S{43})@postgres/registry\n", url)
        assert found is not None
        roles = installation.databases.read_text()
        assert found[1] not in roles
        assert roles.count("CREATE ROLE") == 2
        assert (installation.registry_files / "database-url").stat().st_mode & 0o777 == 0o600
    assert f"AGENTWORKSPACE_DATA={tmp_path / 'data'}\n" in (tmp_path / ".env").read_text()


def test_files_of_an_earlier_layout_are_moved_and_kept(tmp_path: Path) -> None:
    installation = Installation(tmp_path)
    (tmp_path / "credentials").mkdir()
    (tmp_path / "credentials" / "secrets-keys.json").write_text("the tenants' keys")
    installation.prepare()
    assert installation.secrets_keys.read_text() == "the tenants' keys"
