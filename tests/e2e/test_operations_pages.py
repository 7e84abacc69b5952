"""deploy/README.md and deploy/postgresql.md, followed word by word: each incident is made first."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from agentworkspace.ctl.main import GROUPS, SINGLE
from agentworkspace.service import embedded_postgres
from agentworkspace.service.database_url import connection_parameters
from tests.faults.servers import Server, reachable_directory, started
from tests.lifecycle import processes
from tests.lifecycle.processes import Pair
from tests.pages import DEPLOY, blocks, run
from tests.postgres import PostgresServer
from tests.rpc.registry_server import secret_of

pytestmark = pytest.mark.timeout(480)

WORLD: Final = """
umask 077
for each in acme/reviewer globex/writer; do
    printf "an-example-and-no-real-token-of-$each" |
        workspacectl secrets set CLAUDE_CODE_OAUTH_TOKEN --tenant "${each%/*}"
    workspacectl workspaces create --tenant "${each%/*}" --name "${each#*/}" \\
        --runtime claude-code --model opus --out "${each#*/}.token"
done
"""
# The box comes with what an earlier launch gave it; then nobody waits for the newer one either.
OLD_BOX: Final = """
workspacectl launch reviewer --reason create --env-file old.env
workspacectl provisions complete "$(workspacectl provisions list -o name)" --outcome failed
workspacectl launch reviewer --reason restart --env-file new.env
(set -a; . ./old.env; timeout 4 agentworkspace-box run -- true) || true
launch=$(workspacectl provisions list --limit 1 -o name)
workspacectl provisions complete "$launch" --outcome failed
"""
SHARED: Final = """
printf one-key-of-the-platform-0000000000 >shared.key
printf a-key-that-is-the-tenants-own-0000 >own.key
for tenant in acme globex; do
    workspacectl secrets set ANTHROPIC_API_KEY --tenant "$tenant" --value-file shared.key
done
"""


@pytest.fixture
def pair(registry_database: str, provision_database: str, tmp_path: Path) -> Iterator[Pair]:
    home = tmp_path / "services"
    with processes.pair(registry_database, provision_database, home) as both:
        yield both


@pytest.fixture
def environment(pair: Pair, tmp_path: Path) -> dict[str, str]:
    token = tmp_path / "admin-token"
    token.write_text(secret_of("operator"))
    return {
        **pair.registry.environment,
        **pair.provision.environment,
        "WORKSPACECTL_TOKEN_FILE": str(token),
        "REGISTRY_ADDRESS": pair.registry.address,
        "PROVISION_ADDRESS": pair.provision.address,
    }


def test_an_operator_can_follow_the_page_from_its_beginning_to_the_last_incident(
    environment: dict[str, str], tmp_path: Path
) -> None:
    def follow(section: str, *, before: str = "") -> str:
        words, *_ = blocks("README.md")
        return run(tmp_path, environment, words, before, *blocks("README.md", section))

    assert "its registry    ok" in run(tmp_path, environment, *blocks("README.md")[:1])
    run(tmp_path, environment, WORLD)
    assert follow("High availability").endswith("SERVING\nSERVING\n")
    assert "gateway-of-acme" in follow("Callers")
    follow("Usage tokens")
    follow("Upgrade and rollback")

    told = follow("A box cannot get in", before=OLD_BOX)
    assert "the ticket of an earlier launch" in told
    assert (tmp_path / "box.env").stat().st_mode & 0o777 == 0o600

    told = follow("Who paid, and why", before="workspacectl billing override reviewer byok")
    assert "billing.override" in told
    assert "acme/reviewer resolves as byok through anthropic-oauth" in told

    told = follow("A leaked token", before="cp reviewer.token leaked.token")
    assert "already revoked  no" in told
    assert "note=found in a public repository, reason=COMPROMISED" in told

    told = follow("A stuck launch")
    assert "ENV_DELIVERED" in told
    assert "IMAGE_PULL" in told

    told = follow("A shared key", before=SHARED)
    assert told.count("(none)") == 1, "in the end nobody shares anything"
    assert told.rstrip().endswith("(none)")
    for secret in ("one-key-of-the-platform", secret_of("operator"), "no-real-token"):
        assert secret not in told


def test_a_tenant_moves_to_another_cell_as_the_page_says(
    pair: Pair, postgres: PostgresServer, tmp_path: Path
) -> None:
    token = tmp_path / "admin-token"
    token.write_text(secret_of("operator"))
    with (
        postgres.fresh_database("registry") as registry,
        postgres.fresh_database("provision") as provision,
        processes.pair(registry, provision, tmp_path / "another cell") as cell,
    ):
        contexts = "".join(
            f"workspacectl context set {name} --registry {each.registry.address}"
            f" --provision {each.provision.address} --token-file {token}\n"
            for name, each in (("old", pair), ("new", cell))
        )
        told = run(
            tmp_path,
            {"TENANT": "acme"},
            contexts,
            WORLD,
            "printf an-example-and-no-real-token >claude.token",
            *blocks("README.md", "Moving a tenant to another cell"),
            "echo; for cell in old new; do workspacectl --context $cell workspaces list; done",
        )
    old, new = (each.splitlines() for each in told.rsplit("\n\n", 1)[1].split("ID  ")[1:])
    assert [line.split()[1:3] for line in old[1:]] == [["writer", "globex"]]
    assert [line.split()[1:3] for line in new[1:]] == [["reviewer", "acme"]]
    assert "PROVISIONING" in new[1]
    assert "an-example-and-no-real-token" in next(tmp_path.glob("*-*.env")).read_text()


def test_the_roles_of_the_page_serve_and_do_not_own_the_audit(tmp_path: Path) -> None:
    programs = embedded_postgres._installed_package() / "pginstall18" / "bin"
    with reachable_directory() as directory, started(Server(directory / "postgres")) as server:
        own = {"PGHOST": str(server.sockets), "PGUSER": embedded_postgres.SUPERUSER}
        told = run(
            tmp_path,
            own,
            f"PATH=$PATH:{programs}",
            *blocks("postgresql.md"),
            "! psql registry registry_app --quiet --command='DELETE FROM registry.audit_events'",
            "! psql provision registry_app --quiet --command='SELECT'",
        )
    assert "role registry_app may serve, and not change the audit" in told
    assert "role provision_app may serve, and not change the audit" in told
    assert "permission denied for table audit_events" in told
    assert 'permission denied for database "provision"' in told


URLS: Final = re.findall(r"`(postgresql://[^`]+)`", (DEPLOY / "postgresql.md").read_text())


@pytest.mark.parametrize("url", URLS)
def test_every_url_of_the_page_is_one_that_the_services_take(url: str) -> None:
    found = connection_parameters(url)
    assert found["user"] == "registry_app"
    assert found["dbname"] == "registry"
    assert found["host"].count(",") == found.get("port", "").count(",")


@pytest.mark.parametrize("page", sorted(DEPLOY.rglob("*.md")), ids=lambda page: str(page.name))
def test_every_command_that_a_page_names_is_one_of_workspacectl(page: Path) -> None:
    """Also those in the middle of a sentence, which nothing runs."""
    groups = {group.name: {each.name for each in group.commands} for group in GROUPS}
    singles = {command.name for command in SINGLE}
    named = re.findall(
        r"\bworkspacectl\s+(?:--[\w-]+(?: [\w./-]+)?\s+)*?([a-z][\w-]+)(?:\s+([a-z][\w-]*))?",
        page.read_text(),
    )
    for word, verb in named:
        known = word in singles or (word in groups and verb in {"", *groups[word]})
        assert known, f"{word} {verb}"
