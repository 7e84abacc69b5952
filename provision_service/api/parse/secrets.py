"""SecretService: requests to commands."""

from __future__ import annotations

from typing import Final

from agentworkspace.core.secret import Secret
from agentworkspace.provision.v1 import secret_service_pb2 as pb
from agentworkspace.rpc import calls
from provision_service.api.parse.fields import Fields
from provision_service.commands.assign_secret_provider import AssignSecretProvider
from provision_service.commands.audit_shared_secrets import AuditSharedSecrets
from provision_service.commands.call import Call
from provision_service.commands.check_credentials import CheckCredentials
from provision_service.commands.delete_global_secret import DeleteGlobalSecret
from provision_service.commands.delete_workspace_secret import DeleteWorkspaceSecret
from provision_service.commands.get_secret_values import GetSecretValues
from provision_service.commands.list_platform_credentials import ListPlatformCredentials
from provision_service.commands.list_secrets import ListSecrets
from provision_service.commands.register_platform_credential import RegisterPlatformCredential
from provision_service.commands.set_global_secret import SetGlobalSecret
from provision_service.commands.set_workspace_secret import SetWorkspaceSecret
from provision_service.commands.unregister_platform_credential import UnregisterPlatformCredential
from provision_service.domain import guards
from provision_service.domain.guards import MAX_VALUE_BYTES

LONGEST_CREDENTIAL_NAME: Final = 128
LONGEST_PROVIDER: Final = 128


def set_global_secret(request: pb.SetGlobalSecretRequest, call: Call) -> SetGlobalSecret:
    fields = Fields()
    fields.refuse_all(guards.secret_violations(request.key, request.value))
    command = SetGlobalSecret(
        call=call,
        tenant_id=fields.tenant_id(request.tenant_id),
        key=request.key,
        value=Secret(request.value),
    )
    return fields.finish(command)


def delete_global_secret(request: pb.DeleteGlobalSecretRequest, call: Call) -> DeleteGlobalSecret:
    fields = Fields()
    command = DeleteGlobalSecret(
        call=call, tenant_id=fields.tenant_id(request.tenant_id), key=fields.key(request.key)
    )
    return fields.finish(command)


def set_workspace_secret(request: pb.SetWorkspaceSecretRequest, call: Call) -> SetWorkspaceSecret:
    fields = Fields()
    fields.refuse_all(guards.secret_violations(request.key, request.value))
    command = SetWorkspaceSecret(
        call=call,
        workspace_id=fields.workspace_id(request.workspace_id),
        key=request.key,
        value=Secret(request.value),
        provider=_provider(fields, request.provider),
    )
    return fields.finish(command)


def assign_secret_provider(
    request: pb.AssignSecretProviderRequest, call: Call
) -> AssignSecretProvider:
    fields = Fields()
    command = AssignSecretProvider(
        call=call,
        workspace_id=fields.workspace_id(request.workspace_id),
        key=fields.key(request.key),
        provider=_provider(fields, request.provider),
    )
    return fields.finish(command)


def delete_workspace_secret(
    request: pb.DeleteWorkspaceSecretRequest, call: Call
) -> DeleteWorkspaceSecret:
    fields = Fields()
    command = DeleteWorkspaceSecret(
        call=call,
        workspace_id=fields.workspace_id(request.workspace_id),
        key=fields.key(request.key),
    )
    return fields.finish(command)


def list_secrets(request: pb.ListSecretsRequest, call: Call) -> ListSecrets:
    fields = Fields()
    if not request.tenant_id and not request.workspace_id:
        fields.refuse("tenant_id", "must be given, or workspace_id")
    command = ListSecrets(
        call=call,
        tenant_id=fields.optional_tenant_id(request.tenant_id),
        workspace_id=fields.optional_uuid(request.workspace_id, "workspace_id"),
        page_size=fields.page_size(request.page_size),
        page_token=fields.page_token(request.page_token),
    )
    return fields.finish(command)


def get_secret_values(request: pb.GetSecretValuesRequest, served: calls.Call) -> GetSecretValues:
    fields = Fields()
    command = GetSecretValues(
        workspace_id=fields.workspace_id(request.workspace_id),
        bearer=served.bearer,
        method=served.method,
        correlation_id=served.correlation_id,
    )
    return fields.finish(command)


def check_credentials(request: pb.CheckCredentialsRequest, call: Call) -> CheckCredentials:
    fields = Fields()
    command = CheckCredentials(call=call, workspace_id=fields.workspace_id(request.workspace_id))
    return fields.finish(command)


def audit_shared_secrets(request: pb.AuditSharedSecretsRequest, call: Call) -> AuditSharedSecrets:
    del request
    return AuditSharedSecrets(call=call)


def register_platform_credential(
    request: pb.RegisterPlatformCredentialRequest, call: Call
) -> RegisterPlatformCredential:
    fields = Fields()
    size = len(request.value.encode())
    if not request.value.strip() or "\0" in request.value or size > MAX_VALUE_BYTES:
        fields.refuse("value", "must be 1 byte to 64 KiB that is not blank, without NUL")
    command = RegisterPlatformCredential(
        call=call,
        name=_credential_name(fields, request.name),
        value=Secret(request.value),
        validate_only=request.validate_only,
    )
    return fields.finish(command)


def list_platform_credentials(
    request: pb.ListPlatformCredentialsRequest, call: Call
) -> ListPlatformCredentials:
    fields = Fields()
    command = ListPlatformCredentials(
        call=call,
        page_size=fields.page_size(request.page_size),
        page_token=fields.page_token(request.page_token),
    )
    return fields.finish(command)


def unregister_platform_credential(
    request: pb.UnregisterPlatformCredentialRequest, call: Call
) -> UnregisterPlatformCredential:
    fields = Fields()
    command = UnregisterPlatformCredential(call=call, name=_credential_name(fields, request.name))
    return fields.finish(command)


def _provider(fields: Fields, name: str) -> str:
    return fields.text(name, "provider", at_most=LONGEST_PROVIDER)


def _credential_name(fields: Fields, name: str) -> str:
    return fields.text(name, "name", at_least=1, at_most=LONGEST_CREDENTIAL_NAME)
