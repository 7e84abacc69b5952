"""What provisioning writes into the audit: reads of secrets, key work, leases and marks, from what
to what, and never a value.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from agentworkspace.core.secret import Secret
from provision_service.commands import (
    check_credentials,
    register_platform_credential,
    unregister_platform_credential,
)
from provision_service.commands.check_credentials import CheckCredentials
from provision_service.commands.register_platform_credential import RegisterPlatformCredential
from provision_service.commands.unregister_platform_credential import UnregisterPlatformCredential
from provision_service.domain.registry_port import RelaunchReason
from provision_service.launch import extend_provision
from provision_service.launch.extend_provision import ExtendProvision
from provision_service.workers import adopt_usage_token, reconcile, rekey, report_keys
from provision_service.workers.adopt_usage_token import AdoptUsageToken
from provision_service.workers.rekey import Rekey
from tests.storage.provision_world import (
    ADMIN,
    LAUNCHER,
    OAUTH,
    World,
    emptied,
    keys_document,
    opened,
)

K1, K2 = b"1" * 32, b"2" * 32
KEY = "sk-ant-oat-of-the-audit-0123456789"


@pytest.fixture
def world(provision_database_of_module: str, tmp_path: Path) -> Iterator[World]:
    keys = tmp_path / "keys.json"
    keys.touch(mode=0o600)
    keys.write_text(keys_document("k1", k1=K1))
    with opened(emptied(provision_database_of_module), tmp_path) as each:
        yield each


def audited(world: World, action: str) -> list[tuple[str, str, dict[str, str]]]:
    """Who, about what, and what it says; in their order."""
    rows = world.sql(
        "SELECT actor, subject, details FROM provision.audit_events WHERE action = :action"
        " ORDER BY seq",
        action=action,
    )
    return [(actor, subject, details) for actor, subject, details in rows]


def test_extending_a_launch_says_from_when_to_when(world: World) -> None:
    launched = world.launch(world.create()).provision
    command = ExtendProvision(call=LAUNCHER, provision_id=launched.id)
    extended = extend_provision.run(world.store, command, world.deployment)
    assert launched.lease_expire_time is not None
    assert extended.lease_expire_time is not None
    assert audited(world, "workspace.launch_extend") == [
        (
            LAUNCHER.caller.name,
            launched.id,
            {
                "from": launched.lease_expire_time.isoformat(),
                "to": extended.lease_expire_time.isoformat(),
            },
        )
    ]


def test_a_launch_names_the_secrets_that_it_hands_out(world: World) -> None:
    world.launch(world.create(secrets={**OAUTH, "OTHER": "o"}))
    ((_, _, details),) = audited(world, "workspace.launch")
    assert details == {
        "incarnation": "1",
        "reason": "RESTART",
        "names": "CLAUDE_CODE_OAUTH_TOKEN OTHER",
    }


def test_asking_a_vendor_names_what_was_sent(world: World) -> None:
    workspace = world.create(secrets={"CLAUDE_CODE_OAUTH_TOKEN": KEY})
    command = CheckCredentials(call=LAUNCHER, workspace_id=workspace.id)
    check_credentials.run(world.store, command, world.deployment, world.prober)
    ((actor, _, details),) = audited(world, "secret.probe")
    assert (actor, details) == (LAUNCHER.caller.name, {"names": "CLAUDE_CODE_OAUTH_TOKEN"})


def test_re_encryption_says_from_which_key_to_which(world: World) -> None:
    world.create(secrets={**OAUTH, "OTHER": "o"})
    world.keys_path.write_text(keys_document("k2", k1=K1, k2=K2))
    report_keys.run(world.store, world.keys)
    rekey.run(world.store, Rekey())
    rekey.run(world.store, Rekey())
    assert audited(world, "secret.rekey") == [
        ("system", "", {"from": "k1", "to": "k2", "rows": "3"})
    ]


def test_adopting_the_usage_token_is_told_once_and_so_is_the_next(world: World) -> None:
    for token in ("usage-token-1", "usage-token-1", "usage-token-2", ""):
        adopt_usage_token.run(world.store, AdoptUsageToken(usage_token=Secret(token)))
    told = [details for _, _, details in audited(world, "platform_credential.adopt")]
    first, second = told[0]["to"], told[1]["to"]
    assert len({first, second, ""}) == 3
    assert told == [
        {"from": "", "to": first},
        {"from": first, "to": second},
        {"from": second, "to": ""},
    ]


def test_registering_a_platform_credential_says_which_value_by_fingerprint(world: World) -> None:
    command = RegisterPlatformCredential(call=ADMIN, name="openai", value=Secret(KEY))
    done = register_platform_credential.run(world.store, command)
    unregister_platform_credential.run(
        world.store, UnregisterPlatformCredential(call=ADMIN, name="openai")
    )
    name = ADMIN.caller.name
    shown = {"fingerprint": done.credential.fingerprint}
    assert audited(world, "platform_credential.register") == [(name, "openai", shown)]
    assert audited(world, "platform_credential.unregister") == [(name, "openai", {"values": "1"})]


def test_marks_of_the_reconciler_say_from_what_to_what(world: World) -> None:
    workspace = world.create()
    launched = world.launch(workspace).provision
    world.complete(launched)
    for relaunch in (RelaunchReason.SILENT, None):
        world.registry.sees(workspace, incarnation=1, relaunch=relaunch)
        reconcile.run(world.store, world.deployment, world.registry)
    marked = [details for _, _, details in audited(world, "workspace.needs_launch")]
    unmarked = [details for _, _, details in audited(world, "workspace.needs_no_launch")]
    assert (marked, unmarked) == ([{"from": "", "to": "SILENT"}], [{"from": "SILENT", "to": ""}])


def test_no_value_is_in_the_audit(world: World) -> None:
    workspace = world.create(secrets={"CLAUDE_CODE_OAUTH_TOKEN": KEY})
    world.launch(workspace)
    world.set_own(workspace, "OTHER", "a value of its own")
    rows = world.sql("SELECT a::text FROM provision.audit_events a")
    assert len(rows) == 3
    assert not [row for (row,) in rows if KEY in row or "a value of its own" in row]
