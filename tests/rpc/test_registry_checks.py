"""Checks answer the same by a line, by a thread, and by both at once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from agentworkspace.registry.v1 import token_service_pb2 as tokens
from tests.rpc.registry_server import VERIFIER, Running, serving
from tests.rpc.registry_story import SECONDS, Workspace

# Through a pooler there are no lines: every check goes to a thread.
WAYS = {"lines": {}, "threads": {"REGISTRY_DATABASE_POOLED": "1"}}


@pytest.fixture(scope="module", params=list(WAYS))
def running(
    request: pytest.FixtureRequest,
    registry_database_of_module: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Running]:
    directory = tmp_path_factory.mktemp("registry")
    with serving(
        registry_database_of_module, directory, environment=WAYS[request.param]
    ) as running:
        yield running


@pytest.fixture
def workspace(running: Running) -> Workspace:
    made = Workspace(running)
    made.admit()
    return made


def checked(running: Running, workspace: Workspace, *presented: str) -> list[str]:
    """In one call: the token's label as its scope, or why it was rejected."""
    answer = running.tokens.BatchValidateTokens(
        tokens.BatchValidateTokensRequest(
            requests=[
                tokens.ValidateTokenRequest(token=each, workspace_id=workspace.workspace_id)
                for each in presented
            ]
        ),
        metadata=VERIFIER,
        timeout=SECONDS,
    )
    return [
        each.principal.scopes[0]
        if each.HasField("principal")
        else tokens.RejectionReason.Name(each.rejection.reason)
        for each in answer.results
    ]


def test_a_batch_keeps_its_order_whichever_way_each_of_its_tokens_is_looked_up(
    running: Running, workspace: Workspace
) -> None:
    used, fresh, dead = (workspace.mint(scopes=[name]) for name in ("used", "fresh", "dead"))
    for each in (used, dead):
        assert workspace.accepts(each.plaintext)
    workspace.revoke(dead.token.token_id)
    presented = (fresh.plaintext, "awa_junk", used.plaintext, dead.plaintext, "a stranger's")
    invalid = "REJECTION_REASON_TOKEN_INVALID"
    # The second time the fresh one was used before, too.
    for _ in range(2):
        assert checked(running, workspace, *presented) == [
            "fresh",
            invalid,
            "used",
            invalid,
            invalid,
        ]


def test_a_token_is_refused_as_soon_as_its_revocation_was_answered(workspace: Workspace) -> None:
    issued = workspace.mint(scopes=["used"])
    assert workspace.accepts(issued.plaintext)
    assert workspace.accepts(issued.plaintext)
    workspace.revoke(issued.token.token_id)
    assert not workspace.accepts(issued.plaintext)
