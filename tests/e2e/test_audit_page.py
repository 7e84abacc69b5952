"""The commands of deploy/audit.md work as they stand."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
import structlog

from tests.pages import blocks, run
from tests.rpc import provision_server, registry_server
from tests.rpc.registry_story import Workspace
from tests.storage.audit_world import LOGS, audit_at

ROLES: Final = ("registry_app", "provision_app")


@pytest.fixture
def databases(registry_database: str, provision_database: str) -> Iterator[dict[str, str]]:
    urls = {"registry": registry_database, "provision": provision_database}
    yield {f"{service.upper()}_DATABASE_URL": url for service, url in urls.items()}
    for (service, url), role in zip(urls.items(), ROLES, strict=True):
        with audit_at(url, LOGS[service]) as world:
            world.sql(f"DROP OWNED BY {role}; DROP ROLE {role}")


def serve_for_a_while(directory: Path, databases: dict[str, str]) -> None:
    """Both, so that something is sealed; their logs go to files of their own."""
    key = str(directory / "audit-key.pem")
    for service, server in (("registry", registry_server), ("provision", provision_server)):
        setting = {f"{service.upper()}_AUDIT_KEY_FILE": key}
        url = databases[f"{service.upper()}_DATABASE_URL"]
        with (
            structlog.testing.capture_logs() as logged,
            audit_at(url, LOGS[service]) as world,
            server.serving(url, directory, environment=setting) as running,
        ):
            if isinstance(running, registry_server.Running):
                Workspace(running).admit(first_token=True)
            while not world.sql("SELECT 1 FROM {seals}") or world.age() is not None:
                time.sleep(0.1)
        (directory / f"{service}.log").write_text("".join(f"{each}\n" for each in logged))


# A dozen commands, each of which takes seconds to start where others run, too.
@pytest.mark.timeout(300)
def test_the_commands_of_the_page_work_as_they_stand(
    databases: dict[str, str], tmp_path: Path
) -> None:
    make_key, make_roles, verify, verify_as_auditor, prune, begin = blocks("audit.md")
    made = run(tmp_path, databases, make_key, make_roles)
    for role in ROLES:
        assert f"role {role} may serve, and not change the audit" in made
    serve_for_a_while(tmp_path, databases)

    names = (
        f"{service}_AUDIT_KEY_FILE=$PWD/audit-key.pem" for service in ("REGISTRY", "PROVISION")
    )
    key = f"export {' '.join(names)}"
    verified = run(tmp_path, databases, key, verify)
    assert verified.count("the audit holds: ") == 2
    assert verified.count("signed from seal 1 on") == 2
    assert "the log has the same up to seal " in verified
    assert "the log has the same up to seal " in run(tmp_path, databases, verify_as_auditor)
    assert run(tmp_path, databases, key, prune).count("0 rows older than 400 days") == 2
    assert "keep this line with the log: audit/v1/registry/" in run(tmp_path, databases, key, begin)
