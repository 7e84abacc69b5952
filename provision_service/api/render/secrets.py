"""Secrets without their values, the values for a box, probes and shared values."""

from __future__ import annotations

from collections.abc import Iterable

from agentworkspace.provision.v1 import secret_service_pb2 as pb
from agentworkspace.rpc.wire_enums import number_of_text
from agentworkspace.rpc.wire_times import timestamp
from agentworkspace.service.paging import Page
from provision_service.api import wire_enums
from provision_service.api.render.billing import warnings
from provision_service.commands.assign_secret_provider import AssignSecretProviderResult
from provision_service.commands.audit_shared_secrets import AuditSharedSecretsResult
from provision_service.commands.check_credentials import CheckCredentialsResult
from provision_service.commands.get_secret_values import GetSecretValuesResult
from provision_service.commands.register_platform_credential import (
    RegisterPlatformCredentialResult,
)
from provision_service.commands.set_workspace_secret import SetWorkspaceSecretResult
from provision_service.domain.probing import ProbeResult
from provision_service.domain.records import PlatformCredential, SecretEntry, SecretHolder


def secret(entry: SecretEntry | None) -> pb.Secret | None:
    if entry is None:
        return None
    return pb.Secret(
        key=entry.key,
        scope=entry.scope,
        secret_scope=wire_enums.SCOPE[entry.scope],
        create_time=timestamp(entry.create_time),
        update_time=timestamp(entry.update_time),
        overrides_global=entry.overrides_global,
        provider=entry.provider,
    )


def workspace_secret(result: SetWorkspaceSecretResult) -> pb.SetWorkspaceSecretResponse:
    return pb.SetWorkspaceSecretResponse(
        secret=secret(result.secret), model=result.model, warnings=warnings(result.warnings)
    )


def assigned(result: AssignSecretProviderResult) -> pb.AssignSecretProviderResponse:
    return pb.AssignSecretProviderResponse(
        secret=secret(result.secret), warnings=warnings(result.warnings)
    )


def listed(page: Page[SecretEntry]) -> pb.ListSecretsResponse:
    return pb.ListSecretsResponse(
        secrets=[entry for each in page.rows if (entry := secret(each)) is not None],
        next_page_token=page.next_page_token,
    )


def values(result: GetSecretValuesResult) -> pb.GetSecretValuesResponse:
    """The one answer of this service that carries stored values."""
    return pb.GetSecretValuesResponse(
        values={key: value.reveal() for key, value in result.values.items()},
        input_revision=result.input_revision,
    )


def checked(result: CheckCredentialsResult) -> pb.CheckCredentialsResponse:
    return pb.CheckCredentialsResponse(
        results=_probes(result.results), matrix=_probes(result.matrix)
    )


def shared(result: AuditSharedSecretsResult) -> pb.AuditSharedSecretsResponse:
    return pb.AuditSharedSecretsResponse(
        groups=[
            pb.SharedSecretGroup(
                fingerprint=group.fingerprint,
                holders=_holders(group.holders),
                platform_credential_names=group.platform_credential_names,
            )
            for group in result.groups
        ],
        compared_count=result.compared_count,
    )


def registered(
    result: RegisterPlatformCredentialResult,
) -> pb.RegisterPlatformCredentialResponse:
    return pb.RegisterPlatformCredentialResponse(
        credential=_credential(result.credential), matches=_holders(result.matches)
    )


def credentials(page: Page[PlatformCredential]) -> pb.ListPlatformCredentialsResponse:
    return pb.ListPlatformCredentialsResponse(
        credentials=[_credential(each) for each in page.rows],
        next_page_token=page.next_page_token,
    )


def _credential(credential: PlatformCredential) -> pb.PlatformCredential:
    return pb.PlatformCredential(
        name=credential.name,
        fingerprint=credential.fingerprint,
        source=credential.source,
        origin=number_of_text(
            wire_enums.CREDENTIAL_ORIGIN,
            credential.source,
            pb.PLATFORM_CREDENTIAL_ORIGIN_UNSPECIFIED,
        ),
        create_time=timestamp(credential.create_time),
    )


def _probes(results: Iterable[ProbeResult]) -> list[pb.ProbeResult]:
    return [
        pb.ProbeResult(
            env=each.env,
            verdict=wire_enums.VERDICT[each.verdict],
            host=each.host,
            http_status=each.http_status,
            missing_scope=each.missing_scope,
            message=each.message,
            model=each.model,
            provider=each.provider,
        )
        for each in results
    ]


def _holders(holders: Iterable[SecretHolder]) -> list[pb.SharedSecretHolder]:
    return [
        pb.SharedSecretHolder(
            tenant_id=each.tenant_id,
            scope=each.scope,
            secret_scope=wire_enums.SCOPE[each.scope],
            workspace_id=each.workspace_id,
            key=each.key,
            exposed_workspace_ids=each.exposed_workspace_ids,
        )
        for each in holders
    ]
