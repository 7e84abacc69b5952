"""Incident 2: a restart forgot the model, and the platform paid for a customer's own usage."""

from __future__ import annotations

from agentworkspace.provision.v1 import (
    billing_service_pb2,
    resolution_pb2,
    secret_service_pb2,
)
from deploy.demo.moves import create, launch, metered_tenant, started
from deploy.demo.narrative import Narrative
from deploy.demo.stage import Stage, fresh_id

BYOK = resolution_pb2.BILLING_MODE_BYOK
REASONS = ("CREATE", "RESTART", "AUTO_RESTART", "RESUME", "RECREATE")


def play(stage: Stage, tell: Narrative) -> None:
    tell.chapter(
        2,
        "wrong payer",
        """A restart rebuilt the launch from name, tier and runtime only. Without the model,
        derivation fell back to the platform, and the platform paid for a customer who had
        brought a key.""",
    )
    every_launch_bills_the_owner(stage, tell)
    a_stray_token_is_left_at_home(stage, tell)
    no_credential_no_launch(stage, tell)
    the_platform_pays_for_its_own_models(stage, tell)


def every_launch_bills_the_owner(stage: Stage, tell: Narrative) -> None:
    own = f"demo-oauth-{fresh_id()}"
    created = create(stage, "acme", "opus", {"CLAUDE_CODE_OAUTH_TOKEN": own})
    workspace = created.message.workspace.id
    tell.asked(
        "runtime claude-code, model opus, own CLAUDE_CODE_OAUTH_TOKEN: launch for every reason"
    )
    payers = set()
    for reason in REASONS:
        answer = launch(stage, workspace, reason).message
        env, billing = answer.env, answer.provision.billing
        payers.add((billing.mode, billing.decided_by, billing.provider_selection))
        if answer.skipped:
            tell.prove(
                reason == "AUTO_RESTART",
                f"{reason}: skipped, because the registry says that no launch is needed now",
            )
            continue
        tell.prove(
            env["CLAUDE_CODE_OAUTH_TOKEN"] == own
            and env["MODEL"] == "opus"
            and "ANTHROPIC_BASE_URL" not in env
            and "MOLECULE_LLM_USAGE_TOKEN" not in env,
            f"{reason}: own token, stored model, no proxy, no usage token",
        )
        started(stage, answer.provision.id)
    read = stage.as_admin(
        stage.billing.ResolveBillingMode,
        billing_service_pb2.ResolveBillingModeRequest(workspace_id=workspace),
    ).message.resolution
    payer = resolution_pb2.BillingMode.Name(read.mode)
    source = resolution_pb2.BillingSource.Name(read.decided_by)
    tell.came_back(f"{payer}, {source}, {read.provider_selection}, every time")
    tell.rule(
        "every launch is built from the stored record; one function decides for read and launch"
    )
    tell.prove(
        payers
        == {(BYOK, resolution_pb2.BILLING_SOURCE_DERIVED_PROVIDER, "anthropic-oauth")}
        == {(read.mode, read.decided_by, read.provider_selection)},
        "what is read is what is launched: byok through anthropic-oauth",
    )


def a_stray_token_is_left_at_home(stage: Stage, tell: Narrative) -> None:
    tenant = f"stray-{fresh_id()[:8]}"
    for key in ("MINIMAX_API_KEY", "CLAUDE_CODE_OAUTH_TOKEN"):
        stage.as_admin(
            stage.secrets.SetGlobalSecret,
            secret_service_pb2.SetGlobalSecretRequest(
                tenant_id=tenant, key=key, value=f"demo-{key}-{fresh_id()}"
            ),
        )
    created = create(stage, tenant, "MiniMax-M2.7", {})
    tell.asked("model MiniMax-M2.7; the tenant stores a MiniMax key and a stray Claude token")
    answer = launch(stage, created.message.workspace.id, "CREATE").message
    tell.came_back(f"provider {answer.provision.billing.provider_selection}")
    tell.rule("byok keeps what the resolved provider accepts, and drops other vendors' global keys")
    tell.prove(
        answer.provision.billing.provider_selection == "minimax"
        and "MINIMAX_API_KEY" in answer.env
        and "CLAUDE_CODE_OAUTH_TOKEN" not in answer.env,
        "the MiniMax key stays, the stray token goes",
    )


def no_credential_no_launch(stage: Stage, tell: Narrative) -> None:
    tell.asked("model opus, and no credential at any scope")
    refused = create(stage, f"empty-{fresh_id()[:8]}", "opus", {})
    tell.came_back(str(refused))
    tell.rule("nothing ever moves a byok selection to the platform's bill, whatever is missing")
    tell.prove(refused.reason == "MISSING_BYOK_CREDENTIAL", "refused, and nothing stored")


def the_platform_pays_for_its_own_models(stage: Stage, tell: Narrative) -> None:
    vendor_keys = {
        "ANTHROPIC_API_KEY": f"demo-vendor-{fresh_id()}",
        "CLAUDE_CODE_OAUTH_TOKEN": f"demo-oauth-{fresh_id()}",
    }
    tenant, usage_token = metered_tenant(stage)
    created = create(stage, tenant, "anthropic/claude-opus-4-7", {})
    for key, value in vendor_keys.items():
        stage.as_admin(
            stage.secrets.SetGlobalSecret,
            secret_service_pb2.SetGlobalSecretRequest(tenant_id=tenant, key=key, value=value),
        )
    tell.asked("a platform model, with vendor keys lying around in the tenant's store")
    answer = launch(stage, created.message.workspace.id, "CREATE").message
    env = answer.env
    payer = resolution_pb2.BillingMode.Name(answer.provision.billing.mode)
    tell.came_back(f"{payer}; proxy {env['ANTHROPIC_BASE_URL']}")
    tell.rule("platform_managed removes every bypass credential and sets proxy and usage token")
    tell.prove(
        env["ANTHROPIC_BASE_URL"] == stage.outside.proxy_anthropic_url
        and env["ANTHROPIC_API_KEY"] == usage_token
        and not set(vendor_keys.values()) & set(env.values()),
        "no vendor key reaches a box that the platform pays for",
    )
