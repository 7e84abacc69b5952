"""Incident 3: one operator key, copied into three tenants."""

from __future__ import annotations

from agentworkspace.provision.v1 import secret_service_pb2
from deploy.demo.moves import create, launch
from deploy.demo.narrative import Narrative
from deploy.demo.stage import Answer, Stage, fresh_id

KEY = "MINIMAX_API_KEY"


def play(stage: Stage, tell: Narrative) -> None:
    tell.chapter(
        3,
        "co-mingled key",
        """An operator flow copied the platform's MINIMAX_API_KEY into the stores of three tenants.
        Nobody noticed while byok ignored tenant keys; then a tenant's agent ran on it.""",
    )
    run = fresh_id()[:8]
    platform_key = f"demo-minimax-platform-{fresh_id()}"
    tenants = [f"copied-{run}-{number}" for number in (1, 2, 3)]
    for tenant in tenants:
        store(stage, tenant, platform_key)
    for tenant in (f"own-{run}-1", f"own-{run}-2"):
        store(stage, tenant, f"demo-minimax-own-{fresh_id()}")
    workspace = create(stage, tenants[0], "MiniMax-M2.7", {}).message.workspace.id

    tell.asked("register the platform's MiniMax key; three tenants hold a copy, two have their own")
    registered = stage.as_admin(
        stage.secrets.RegisterPlatformCredential,
        secret_service_pb2.RegisterPlatformCredentialRequest(
            name=f"minimax-{run}", value=platform_key
        ),
    ).message
    audit = stage.as_admin(
        stage.secrets.AuditSharedSecrets, secret_service_pb2.AuditSharedSecretsRequest()
    ).message
    mine = [
        group
        for group in audit.groups
        if any(holder.tenant_id.split("-")[1:2] == [run] for holder in group.holders)
    ]
    tell.came_back(f"{len(mine)} group, fingerprint {mine[0].fingerprint}")
    tell.rule("values are compared by keyed fingerprint; equal values across tenants make a group")
    tell.prove(
        [sorted(holder.tenant_id for holder in group.holders) for group in mine] == [tenants]
        and mine[0].platform_credential_names == [f"minimax-{run}"]
        and len(registered.matches) == len(tenants),
        "the audit lists the three copies and the platform, and nobody's own key",
    )
    tell.prove(
        platform_key not in str(audit) and platform_key not in str(registered),
        "no answer carries the value",
    )

    tell.asked("store the value once more, in a fourth tenant; launch a workspace that holds it")
    written = store(stage, f"copied-{run}-4", platform_key)
    launched = launch(stage, workspace, "RESTART")
    tell.came_back(f"{written}; {launched}")
    tell.rule(
        "a registered value is refused at every write and at every launch, whoever put it there"
    )
    tell.prove(
        written.reason == launched.reason == "PLATFORM_CREDENTIAL_COMINGLED",
        "no tenant's agent ever runs on the platform's key",
    )


def store(
    stage: Stage, tenant: str, value: str
) -> Answer[secret_service_pb2.SetGlobalSecretResponse]:
    return stage.as_admin(
        stage.secrets.SetGlobalSecret,
        secret_service_pb2.SetGlobalSecretRequest(tenant_id=tenant, key=KEY, value=value),
    )
