"""Incident 9: the platform's key at a stranger's door."""

from __future__ import annotations

import json

from agentworkspace.provision.v1 import billing_service_pb2, secret_service_pb2
from agentworkspace.registry.v1 import token_pb2, token_service_pb2
from deploy.demo.moves import create, launch, metered_tenant, register, started
from deploy.demo.narrative import Narrative
from deploy.demo.stage import Stage, fresh_id

ROUTES = {
    "CLAUDE_CODE_USE_BEDROCK": "1",
    "ANTHROPIC_BEDROCK_BASE_URL": "https://stranger.test",
    "HTTPS_PROXY": "http://stranger.test",
    "ANTHROPIC_MODEL": "opus",
}


def play(stage: Stage, tell: Narrative) -> None:
    tell.chapter(
        9,
        "the platform's key at a stranger's door",
        """The platform paid. A tenant's CLAUDE_CODE_USE_BEDROCK=1 with a base URL of its choice
        got the usage token there; and Hermes, without any secret, sent it to OpenRouter.""",
    )
    no_name_leads_elsewhere(stage, tell)
    a_recipe_for_every_program(stage, tell)
    a_key_of_its_own(stage, tell)


def no_name_leads_elsewhere(stage: Stage, tell: Narrative) -> None:
    model = "anthropic/claude-opus-4-7"
    created = create(stage, metered_tenant(stage)[0], model, ROUTES).message
    workspace = created.workspace.id
    tell.asked(f"a model of the platform, and the workspace's own {', '.join(ROUTES)}")
    answer = launch(stage, workspace, "CREATE").message
    removed = sorted(each.metadata["name"] for each in answer.warnings)
    written = stage.as_admin(
        stage.secrets.SetWorkspaceSecret,
        secret_service_pb2.SetWorkspaceSecretRequest(
            workspace_id=workspace, key="CLAUDE_CODE_USE_VERTEX", value="1"
        ),
    )
    tell.came_back(f"removed with a warning: {', '.join(removed)}; a later write: {written}")
    tell.rule("route names are removed at every launch, and refused where they are written")
    tell.prove(
        removed == sorted(ROUTES)
        and not set(ROUTES) - {"ANTHROPIC_MODEL"} & answer.env.keys()
        and answer.env["ANTHROPIC_MODEL"] == model
        and written.reason == "BYPASS_KEY_REFUSED",
        "the program goes to the proxy, and asks for the model that was resolved",
    )


def a_recipe_for_every_program(stage: Stage, tell: Narrative) -> None:
    tenant, _ = metered_tenant(stage)
    hermes = create(stage, tenant, "moonshot/kimi-k2.6", {}, runtime="hermes").message.workspace
    tell.asked("runtime hermes, a model of the platform, no secret at all")
    answer = launch(stage, hermes.id, "CREATE").message
    usage_token = answer.env["MOLECULE_LLM_USAGE_TOKEN"]
    holders = sorted(name for name, value in answer.env.items() if value == usage_token)
    tell.came_back(f"the usage token stands under {', '.join(holders)} alone")
    tell.rule("a launch recipe makes the vendor's own program run as resolved")
    (settings,) = (file for file in answer.launch.files if file.path.endswith("config.yaml"))
    resolved = stage.as_admin(
        stage.billing.ResolveBillingMode,
        billing_service_pb2.ResolveBillingModeRequest(workspace_id=hermes.id),
    ).message
    tell.prove(
        holders == ["MOLECULE_LLM_USAGE_TOKEN"]
        and stage.outside.proxy.url("/openai/v1") in settings.content
        and usage_token not in settings.content,
        "Hermes is told the proxy by a file of its own, which names the key and does not hold it",
    )
    tell.prove(
        resolved.launch == answer.launch
        and json.loads(answer.env["WORKSPACE_LAUNCH"])["files"][0]["path"] == settings.path,
        "ResolveBillingMode shows the same recipe, and the map carries it for whoever starts it",
    )


def a_key_of_its_own(stage: Stage, tell: Narrative) -> None:
    """The last thing that is played: the service stays in this mode."""
    tell.asked("PLATFORM_LLM_TOKENS=box, a model of the platform, a tenant without any token")
    stage.provision.restart(PLATFORM_LLM_TOKENS="box")
    tenant = f"own-key-{fresh_id()[:8]}"
    created = create(stage, tenant, "anthropic/claude-opus-4-7", {}).message.workspace
    answer = launch(stage, created.id, "CREATE").message
    key = answer.env["ANTHROPIC_API_KEY"]
    early = at_the_proxy(stage, key)
    register(stage, created.id, ticket=answer.env["WORKSPACE_BOOTSTRAP_TICKET"])
    known = at_the_proxy(stage, key)
    started(stage, answer.provision.id)
    launch(stage, created.id, "RESTART")
    late = at_the_proxy(stage, key)
    tell.came_back(f"before the box is in: {early}; then: {known}; after a relaunch: {late}")
    tell.rule("the key is derived from the ticket, and lives as long as its incarnation's token")
    tell.prove(
        (early, known, late) == ("refused", created.id, "refused"),
        "the proxy learns which workspace calls, and a copied key does not outlive its launch",
    )


def at_the_proxy(stage: Stage, key: str) -> str:
    """What the registry tells the proxy of a key: its workspace, or that it is refused."""
    answer = stage.as_admin(
        stage.tokens.ValidateToken,
        token_service_pb2.ValidateTokenRequest(
            token=key, any_workspace=True, required_kind=token_pb2.TOKEN_KIND_PROXY
        ),
    ).message
    return answer.principal.workspace_id or "refused"
