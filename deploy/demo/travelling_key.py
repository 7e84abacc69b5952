"""Incident 8: a key that followed a model to another vendor."""

from __future__ import annotations

from google.protobuf.field_mask_pb2 import FieldMask

from agentworkspace.provision.v1 import (
    secret_service_pb2,
    workspace_pb2,
    workspace_service_pb2,
)
from deploy.demo.moves import create, launch
from deploy.demo.narrative import Narrative
from deploy.demo.stage import Answer, Stage, fresh_id

KEY = "ANTHROPIC_API_KEY"


def play(stage: Stage, tell: Narrative) -> None:
    tell.chapter(
        8,
        "a key that followed a model",
        """A workspace ran claude-opus-4-8 on an ANTHROPIC_API_KEY. Its model was changed to
        MiniMax-M2.7, and the next launch sent Anthropic's key to MiniMax, without a word.""",
    )
    workspace = the_key_stays_at_home(stage, tell)
    a_name_says_whose_it_is(stage, tell, workspace)
    a_rival_does_not_come_along(stage, tell)


def the_key_stays_at_home(stage: Stage, tell: Narrative) -> str:
    own = {KEY: f"sk-ant-demo-{fresh_id()}"}
    created = create(stage, f"travel-{fresh_id()[:8]}", "claude-opus-4-8", own).message
    workspace = created.workspace.id
    tell.asked("change the model to MiniMax-M2.7, and launch")
    warned = change_model(stage, workspace, "MiniMax-M2.7").message.warnings
    launched = launch(stage, workspace, "RESTART")
    tell.came_back(f"the change warns {', '.join(each.code for each in warned)}; {launched}")
    tell.rule(
        "one credential, one vendor: what begins with sk-ant- is Anthropic's, whatever is said"
    )
    tell.prove(
        launched.reason == "MISSING_BYOK_CREDENTIAL" and "MINIMAX_API_KEY" in warned[0].message,
        "refused, and the refusal says what to add",
    )
    return workspace


def a_name_says_whose_it_is(stage: Stage, tell: Narrative, workspace: str) -> None:
    key = f"demo-minimax-{fresh_id()}"
    tell.asked(f"store a MiniMax key under the shared name {KEY}, with and without saying so")
    set_secret(stage, workspace, key, "")
    unsaid = launch(stage, workspace, "RESTART")
    set_secret(stage, workspace, key, "minimax")
    said = launch(stage, workspace, "RESTART").message
    tell.came_back(f"without: {unsaid}; with: {said.provision.billing.provider_selection}")
    tell.rule("a shared name is Anthropic's unless its writer says otherwise")
    tell.prove(
        unsaid.reason == "MISSING_BYOK_CREDENTIAL"
        and said.env["ANTHROPIC_AUTH_TOKEN"] == key
        and said.env["ANTHROPIC_MODEL"] == "MiniMax-M2.7",
        "said to be MiniMax's, it goes to MiniMax's endpoint and nowhere else",
    )


def a_rival_does_not_come_along(stage: Stage, tell: Narrative) -> None:
    both = {"CLAUDE_CODE_OAUTH_TOKEN": f"demo-oauth-{fresh_id()}", KEY: f"demo-{fresh_id()}"}
    created = create(stage, f"rival-{fresh_id()[:8]}", "opus", both).message
    tell.asked("model opus on a subscription, with an API key beside it")
    answer = launch(stage, created.workspace.id, "CREATE").message
    (warning,) = answer.warnings
    tell.came_back(f"{warning.code}: {warning.message}")
    tell.rule("a credential that the program would send instead of the one that pays is removed")
    tell.prove(
        KEY not in answer.env and "CLAUDE_CODE_OAUTH_TOKEN" in answer.env,
        "the subscription pays, as the resolution says",
    )


def change_model(
    stage: Stage, workspace: str, model: str
) -> Answer[workspace_service_pb2.UpdateWorkspaceResponse]:
    return stage.as_admin(
        stage.workspaces.UpdateWorkspace,
        workspace_service_pb2.UpdateWorkspaceRequest(
            workspace_id=workspace,
            workspace=workspace_pb2.Workspace(model=model),
            update_mask=FieldMask(paths=["model"]),
            request_id=fresh_id(),
        ),
    )


def set_secret(
    stage: Stage, workspace: str, value: str, provider: str
) -> Answer[secret_service_pb2.SetWorkspaceSecretResponse]:
    return stage.as_admin(
        stage.secrets.SetWorkspaceSecret,
        secret_service_pb2.SetWorkspaceSecretRequest(
            workspace_id=workspace, key=KEY, value=value, provider=provider
        ),
    )
