"""An edit of the catalogue that would move 3 of 10,000 stored workspaces to another payer."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest
from sqlalchemy import create_engine, text

from agentworkspace.provision.v1 import (
    catalogue_service_pb2,
    secret_service_pb2,
    workspace_pb2,
    workspace_service_pb2,
)
from provision_service.storage.models import WorkspaceRow
from tests.domain.provision_launches import HAIKU_AT_THE_PLATFORM
from tests.rpc.provision_server import ADMIN, LAUNCHER
from tests.rpc.registry_server import secret_of
from tests.rpc.workspacectl_pair import run
from tests.services import Pair

# They are read by id, 500 at a time: the end of a page, the next one's beginning, the very end.
MOVED: Final = [f"00000000-0000-4000-8000-{number:012}" for number in (500, 501, 9_999)]
# One was created; this makes 9,999 more like it.
_COPIES: Final = """
INSERT INTO provision.workspaces ({columns}, workspace_id, model)
SELECT {columns}, id, CASE WHEN id = ANY(CAST(:moved AS uuid[])) THEN 'haiku' ELSE model END
FROM provision.workspaces, generate_series(1, 9999) AS number,
     CAST('00000000-0000-4000-8000-' || lpad(CAST(number AS text), 12, '0') AS uuid) AS id
"""


@pytest.fixture(scope="module")
def stored(pair: Pair, provision_database_of_module: str) -> Pair:
    """10,000 workspaces of a tenant who pays by a subscription of its own."""
    pair.provision.secrets.SetGlobalSecret(
        secret_service_pb2.SetGlobalSecretRequest(
            tenant_id="acme", key="CLAUDE_CODE_OAUTH_TOKEN", value="sk-ant-oat-of-the-tenant"
        ),
        metadata=LAUNCHER,
    )
    pair.provision.workspaces.CreateWorkspace(
        workspace_service_pb2.CreateWorkspaceRequest(
            tenant_id="acme", workspace=workspace_pb2.Workspace(name="engineer", model="opus")
        ),
        metadata=LAUNCHER,
    )
    every = WorkspaceRow.__table__.columns.keys()
    columns = [name for name in every if name not in ("workspace_id", "model")]
    engine = create_engine(provision_database_of_module)
    with engine.begin() as connection:
        statement = text(_COPIES.format(columns=", ".join(columns)))
        connection.execute(statement, {"moved": MOVED})
    engine.dispose()
    return pair


def test_exactly_the_three_are_listed(stored: Pair) -> None:
    request = catalogue_service_pb2.PreviewCatalogueRequest(text=HAIKU_AT_THE_PLATFORM)
    pieces = list(stored.provision.catalogue.PreviewCatalogue(request, metadata=ADMIN))
    changed = [piece.changed for piece in pieces if piece.WhichOneof("piece") == "changed"]
    assert [each.workspace_id for each in changed] == MOVED
    assert {(each.before.payer, each.after.payer) for each in changed} == {
        ("byok", "platform_managed")
    }
    seen = [piece.progress for piece in pieces if piece.WhichOneof("piece") == "progress"]
    assert [each.examined_count for each in seen] == [500 * page for page in range(1, 21)] + [
        10_000
    ]
    assert pieces[0].begun.workspace_count == 10_000
    summary = pieces[-1].summary
    assert (summary.examined_count, summary.changed_count, summary.payer_changed_count) == (
        10_000, 3, 3,
    )  # fmt: skip


def test_the_operators_diff_lists_them_too(stored: Pair, tmp_path: Path) -> None:
    token, file = tmp_path / "token", tmp_path / "new.yaml"
    token.write_text(secret_of("operator"))
    file.write_text(HAIKU_AT_THE_PLATFORM)
    where = ("--provision", stored.provision.address, "--token-file", str(token))
    result = run(*where, "-o", "name", "catalogue", "diff", str(file))
    assert result.code == 3
    assert [line for line in result.lines if line.startswith("0000")] == MOVED
