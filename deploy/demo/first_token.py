"""Incident 4: the first token comes with the workspace, or with the reason why not."""

from __future__ import annotations

import hashlib

from agentworkspace.registry.v1 import token_service_pb2
from deploy.demo.moves import MOST_TRIES, create, launch, register
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
    tell.asked("the registry is back; nobody else calls anything, and the token is shown around")
    live = until_live(stage, created.workspace.id, secret)
    tell.came_back("the caller's own token is live" if live else "it is unknown")
    tell.rule("the outbox admits in order, by itself, with the hash that the create was given")
    tell.prove(live, "the registry learned of the workspace and of its first token by itself")
    env = launch(stage, created.workspace.id, "CREATE").message.env
    tell.asked("the workspace is launched, and its box registers with the ticket it was given")
    box = register(stage, created.workspace.id, ticket=env["WORKSPACE_BOOTSTRAP_TICKET"])
    tell.came_back(str(box))
    tell.prove(box.ok and box.message.line == "TICKET", "the box that was launched got in")


def until_live(stage: Stage, workspace: str, secret: str) -> bool:
    """Whether a verifier accepts it, within the time that an outbox may take."""
    for _ in range(MOST_TRIES):
        answer = stage.as_admin(
            stage.tokens.ValidateToken,
            token_service_pb2.ValidateTokenRequest(token=secret, workspace_id=workspace),
        )
        if answer.ok and answer.message.principal.workspace_id == workspace:
            return True
        pause()
    return False


def own_key() -> dict[str, str]:
    return {"CLAUDE_CODE_OAUTH_TOKEN": f"demo-oauth-{fresh_id()}"}
