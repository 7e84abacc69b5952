"""What goes wrong, for each alert: once, at both services, beside a Prometheus with our rules.

What would take hours is made older in the database; all else happens.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final

import grpc

from agentworkspace.provision.v1 import secret_service_pb2
from agentworkspace.registry.v1 import registration_service_pb2, token_pb2
from agentworkspace.registry.v1 import workspace_registry_service_pb2 as registry_pb
from tests.faults.watched import KEYS, Watched
from tests.lifecycle.launches import delete_secret, launch, set_secret, workspace_at
from tests.rpc.provision_server import ADMIN, write_keys
from tests.rpc.registry_requests import failed
from tests.rpc.registry_server import LAUNCHER, bearer
from tests.rpc.registry_story import SECONDS

Alerts = tuple[str, ...]
SHARED: Final = "sk-of-the-platform-0123456789"


def a_key_is_gone(watched: Watched) -> None:
    watched.create()
    watched.sql("provision", "UPDATE provision.secrets SET key_id = 'k0'")
    watched.prometheus.until("provision_undecryptable_rows > 0")


def a_new_key_reaches_one_replica_of_two(watched: Watched) -> None:
    write_keys(watched.directories[0], "k2", **KEYS)


def boxes_do_not_come(watched: Watched) -> None:
    """Of so many workspaces three may be marked in a minute, and five would have to be."""
    made = [watched.create() for _ in range(60)]
    slow, *lost = made[:6]
    for workspace_id in (slow, *lost):
        launch(watched.provision, workspace_id)
    watched.sql(
        "provision",
        "UPDATE provision.provisions SET create_time = create_time - interval '1 hour'"
        " WHERE workspace_id = %s",
        slow,
    )
    for workspace_id in lost:
        workspace_at(watched.registry, workspace_id).revoke_all(kinds=[token_pb2.TOKEN_KIND_TICKET])
    watched.sql("registry", "UPDATE registry.pulse SET up_since = up_since - interval '1 hour'")


def somebody_leaves_a_transaction_open(watched: Watched) -> None:
    """In a database of neither service."""
    opened = watched.transaction("postgres", "SELECT pg_current_xact_id()")
    watched.stack.enter_context(opened)
    watched.create()
    watched.sql(
        "provision",
        "UPDATE provision.audit_events SET create_time = create_time - interval '1 hour'"
        " WHERE xact >= pg_snapshot_xmin(pg_current_snapshot())::text::bigint",
    )


def a_changed_catalogue_is_wrong(watched: Watched) -> None:
    (watched.directories[1] / "catalogue.yaml").write_text("providers: [\n")


def strangers_ask_to_be_let_in(watched: Watched) -> None:
    workspace = workspace_at(watched.registry)
    workspace.admit(ticket_required=True)
    for _ in range(40):
        failed(workspace.register)


def a_box_comes_with_an_id_alone(watched: Watched) -> None:
    workspace = workspace_at(watched.registry)
    workspace.admit()
    workspace.register()


def a_token_is_stolen(watched: Watched) -> None:
    workspace = workspace_at(watched.registry)
    workspace.admit()
    workspace.mint()
    workspace.revoke_all(reason=token_pb2.REVOKE_REASON_COMPROMISED)


def a_tenant_gets_a_key_of_the_platform(watched: Watched) -> None:
    request = secret_service_pb2.RegisterPlatformCredentialRequest(name="ours", value=SHARED)
    watched.provision.secrets.RegisterPlatformCredential(request, metadata=ADMIN, timeout=SECONDS)
    workspace_id = watched.create()
    refused = failed(lambda: set_secret(watched.provision, workspace_id, "OPENAI_API_KEY", SHARED))
    assert refused.reason == "PLATFORM_CREDENTIAL_COMINGLED"


def a_credential_is_missing(watched: Watched) -> None:
    workspace_id = watched.create()
    delete_secret(watched.provision, workspace_id, "CLAUDE_CODE_OAUTH_TOKEN")
    for _ in range(12):
        refused = failed(lambda: launch(watched.provision, workspace_id))
        assert refused.reason == "MISSING_BYOK_CREDENTIAL"


def a_spec_loses_its_model(watched: Watched) -> None:
    workspace_id = watched.create()
    watched.sql(
        "provision",
        "UPDATE provision.workspaces SET model = '' WHERE workspace_id = %s",
        workspace_id,
    )
    assert failed(lambda: launch(watched.provision, workspace_id)).reason == "MODEL_REQUIRED"


def a_table_is_not_what_the_code_expects(watched: Watched) -> None:
    workspace_id = watched.create()
    watched.sql(
        "provision",
        "ALTER TABLE provision.secrets ADD CONSTRAINT of_nobody CHECK (key <> 'NAME') NOT VALID",
    )
    refused = failed(lambda: set_secret(watched.provision, workspace_id, "NAME", "of a value"))
    assert refused.code is grpc.StatusCode.INTERNAL


def a_lock_is_held_for_long(watched: Watched) -> None:
    """Each time until too many calls have waited for long enough, and again until calls have been
    slow for long enough.
    """
    workspace = workspace_at(watched.registry)
    workspace.admit()
    token = workspace.register().auth_token
    read = registry_pb.GetRegistrationRequest(workspace_id=workspace.workspace_id)
    beat = registration_service_pb2.HeartbeatRequest(workspace_id=workspace.workspace_id)
    used_up = 'ALERTS{alertname="AgentworkspaceThreadsUsedUp", alertstate="firing"}'
    while "AgentworkspaceSlow" not in watched.prometheus.fired():
        with watched.transaction("registry", "LOCK TABLE registry.registrations"):
            stub: Any = watched.registry.workspaces.GetRegistration
            waiting = [stub.future(read, metadata=LAUNCHER, timeout=SECONDS) for _ in range(50)]
            stub = watched.registry.boxes.Heartbeat
            waiting.append(stub.future(beat, metadata=bearer(token), timeout=SECONDS))
            watched.prometheus.until(used_up)
        for each in waiting:
            each.result()


def connections_break_again_and_again(watched: Watched) -> None:
    lost = "max(agentworkspace_database_losses_total)"
    for times in (1, 2, 3, 4):
        watched.sql(
            "postgres",
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'provision'",
        )
        watched.prometheus.until(f"{lost} >= {times} and min(agentworkspace_database_takes_writes)")


def the_registry_ends(watched: Watched) -> None:
    watched.registry.stop()
    workspace_id = watched.create()
    for _ in range(5):
        with suppress(grpc.RpcError):
            launch(watched.provision, workspace_id)
    watched.sql(
        "provision", "UPDATE provision.outbox SET create_time = create_time - interval '1 hour'"
    )


def the_database_ends(watched: Watched) -> None:
    watched.registry.start()
    watched.registry.until_serving()
    watched.prometheus.until('registry_direct_connections{state="open"} > 0')
    watched.stack.close()
    watched.server.kill()


# What they cause lasts, so they are made one after the other, and only then waited for.
TOGETHER: Final[Mapping[Callable[[Watched], None], Alerts]] = {
    boxes_do_not_come: (
        "ProvisionLaunchStuck",
        "ProvisionLaunchesLapse",
        "ProvisionReconcilerPaused",
        "ProvisionRelaunchesWait",
    ),
    a_key_is_gone: ("ProvisionSecretsUndecryptable", "ProvisionRekeyStalls"),
    a_new_key_reaches_one_replica_of_two: ("ProvisionKeyLacking",),
    somebody_leaves_a_transaction_open: ("AgentworkspaceAuditUnsealed",),
    a_changed_catalogue_is_wrong: ("ProvisionFileRefused",),
    strangers_ask_to_be_let_in: ("RegistryBoxesLockedOut",),
    a_box_comes_with_an_id_alone: ("RegistryAdmittedWithoutEvidence",),
    a_token_is_stolen: ("RegistryTokensCompromised",),
    a_tenant_gets_a_key_of_the_platform: ("ProvisionSharedKeyRefused",),
    a_spec_loses_its_model: ("ProvisionPayerUnderived",),
    a_credential_is_missing: ("ProvisionLaunchesRefused",),
    a_table_is_not_what_the_code_expects: ("AgentworkspaceFaults",),
    a_lock_is_held_for_long: ("AgentworkspaceSlow", "AgentworkspaceThreadsUsedUp"),
}
# Each ends the one before.
IN_TURN: Final[Mapping[Callable[[Watched], None], Alerts]] = {
    connections_break_again_and_again: ("AgentworkspaceDatabaseLostAgain",),
    the_registry_ends: (
        "AgentworkspaceServiceDown",
        "AgentworkspaceUnavailable",
        "ProvisionRegistryUnreachable",
        "ProvisionOutboxOld",
    ),
    the_database_ends: (
        "AgentworkspaceDatabaseTakesNoWrites",
        "AgentworkspaceBackgroundFaults",
        "RegistryDirectConnectionsDown",
    ),
}
