"""Incident 4: the first token comes with the workspace, or with the reason why not."""

from __future__ import annotations

import hashlib

from agentworkspace.registry.v1 import registration_service_pb2, token_service_pb2
from deploy.demo.moves import create, register
from deploy.demo.narrative import Narrative
from deploy.demo.stage import Stage, fresh_id, pause


def play(stage: Stage, tell: Narrative) -> None:
    tell.chapter(
        4,
        "first token inline",
        """Callers created a workspace and then looked for its token on a second endpoint, or on
        a development-only one that production does not have.""",
    )
    the_create_carries_the_token(stage, tell)
    a_registry_that_is_down_costs_the_token_only(stage, tell)


def the_create_carries_the_token(stage: Stage, tell: Narrative) -> None:
    tell.asked("CreateWorkspace, with the registry up")
    created = create(stage, "acme", "opus", own_key()).message
    who = stage.as_admin(
        stage.tokens.ValidateToken,
        token_service_pb2.ValidateTokenRequest(
            token=created.auth_token, workspace_id=created.workspace.id
        ),
    ).message
    tell.came_back(f"a workspace and an api token of {len(created.auth_token)} characters")
    tell.rule("record and first token are one transaction at the registry, asked for by the create")
    tell.prove(
        len(created.auth_token) >= 40 and who.principal.workspace_id == created.workspace.id,
        "the token in the answer is live for the workspace in the answer",
    )
    listed = stage.as_admin(
        stage.tokens.ListTokens,
        token_service_pb2.ListTokensRequest(workspace_id=created.workspace.id),
    ).message
    tell.prove(created.auth_token not in str(listed), "it is shown once: no list carries it")


def a_registry_that_is_down_costs_the_token_only(stage: Stage, tell: Narrative) -> None:
    secret = f"caller-made-{fresh_id()}"
    stage.registry.stop()
    tell.asked("the registry is stopped; CreateWorkspace with the hash of a token of our own")
    created = create(
        stage,
        "acme",
        "opus",
        own_key(),
        auth_token_sha256=hashlib.sha256(secret.encode("ascii")).hexdigest(),
    ).message
    tell.came_back(f"a workspace without a token: {created.auth_token_error}")
    tell.rule("the create and its message to the registry are one transaction (outbox)")
    tell.prove(
        bool(created.workspace.id) and not created.auth_token and bool(created.auth_token_error),
        "the create succeeded, and says why there is no token",
    )
    stage.registry.start()
    tell.asked("the registry is back, and the box registers; nobody else calls anything")
    box = until_known(stage, created.workspace.id)
    tell.came_back(registration_service_pb2.RegisterOutcome.Name(box.outcome))
    tell.rule("the outbox admits in order; WORKSPACE_UNKNOWN means RETRY until then")
    tell.prove(bool(box.auth_token), "the registry learned of the workspace by itself")
    who = stage.as_admin(
        stage.tokens.ValidateToken,
        token_service_pb2.ValidateTokenRequest(token=secret, workspace_id=created.workspace.id),
    ).message
    tell.prove(
        who.principal.workspace_id == created.workspace.id, "and the caller's own token is live"
    )


def until_known(stage: Stage, workspace: str) -> registration_service_pb2.RegisterResponse:
    """Register as a box does: a refusal that says RETRY is followed."""
    for _ in range(MOST_TRIES):
        answer = register(stage, workspace)
        if answer.ok or answer.recovery != "RETRY":
            break
        pause()
    return answer.message


MOST_TRIES = 120


def own_key() -> dict[str, str]:
    return {"CLAUDE_CODE_OAUTH_TOKEN": f"demo-oauth-{fresh_id()}"}
