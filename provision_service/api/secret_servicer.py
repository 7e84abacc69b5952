"""SecretService: parse, run, render."""

from __future__ import annotations

from typing_extensions import override

from agentworkspace.provision.v1 import secret_service_pb2 as pb
from agentworkspace.provision.v1 import secret_service_pb2_grpc
from agentworkspace.rpc import calls
from provision_service.api.core import Core, current_call
from provision_service.api.parse import secrets as parse
from provision_service.api.render import secrets as render
from provision_service.commands import (
    assign_secret_provider,
    audit_shared_secrets,
    check_credentials,
    delete_global_secret,
    delete_workspace_secret,
    get_secret_values,
    list_platform_credentials,
    list_secrets,
    register_platform_credential,
    set_global_secret,
    set_workspace_secret,
    unregister_platform_credential,
)


class Secrets(secret_service_pb2_grpc.SecretServiceServicer):
    def __init__(self, core: Core) -> None:
        self._core = core

    @override
    async def SetGlobalSecret(
        self, request: pb.SetGlobalSecretRequest, context: object
    ) -> pb.SetGlobalSecretResponse:
        core, command = self._core, parse.set_global_secret(request, current_call())
        stored = await core.run(set_global_secret.run, command, core.deployment)
        return pb.SetGlobalSecretResponse(secret=render.secret(stored))

    @override
    async def DeleteGlobalSecret(
        self, request: pb.DeleteGlobalSecretRequest, context: object
    ) -> pb.DeleteGlobalSecretResponse:
        command = parse.delete_global_secret(request, current_call())
        deleted = await self._core.run(delete_global_secret.run, command)
        return pb.DeleteGlobalSecretResponse(deleted=deleted)

    @override
    async def SetWorkspaceSecret(
        self, request: pb.SetWorkspaceSecretRequest, context: object
    ) -> pb.SetWorkspaceSecretResponse:
        core, command = self._core, parse.set_workspace_secret(request, current_call())
        return render.workspace_secret(
            await core.run(set_workspace_secret.run, command, core.deployment)
        )

    @override
    async def AssignSecretProvider(
        self, request: pb.AssignSecretProviderRequest, context: object
    ) -> pb.AssignSecretProviderResponse:
        core, command = self._core, parse.assign_secret_provider(request, current_call())
        return render.assigned(await core.run(assign_secret_provider.run, command, core.deployment))

    @override
    async def DeleteWorkspaceSecret(
        self, request: pb.DeleteWorkspaceSecretRequest, context: object
    ) -> pb.DeleteWorkspaceSecretResponse:
        command = parse.delete_workspace_secret(request, current_call())
        deleted = await self._core.run(delete_workspace_secret.run, command)
        return pb.DeleteWorkspaceSecretResponse(deleted=deleted)

    @override
    async def ListSecrets(
        self, request: pb.ListSecretsRequest, context: object
    ) -> pb.ListSecretsResponse:
        command = parse.list_secrets(request, current_call())
        return render.listed(await self._core.run(list_secrets.run, command))

    @override
    async def GetSecretValues(
        self, request: pb.GetSecretValuesRequest, context: object
    ) -> pb.GetSecretValuesResponse:
        core, command = self._core, parse.get_secret_values(request, calls.current())
        return render.values(
            await core.run(get_secret_values.run, command, core.deployment, core.registry)
        )

    @override
    async def CheckCredentials(
        self, request: pb.CheckCredentialsRequest, context: object
    ) -> pb.CheckCredentialsResponse:
        core, command = self._core, parse.check_credentials(request, current_call())
        return render.checked(
            await core.run(check_credentials.run, command, core.deployment, core.prober)
        )

    @override
    async def AuditSharedSecrets(
        self, request: pb.AuditSharedSecretsRequest, context: object
    ) -> pb.AuditSharedSecretsResponse:
        core, command = self._core, parse.audit_shared_secrets(request, current_call())
        return render.shared(await core.run(audit_shared_secrets.run, command, core.deployment))

    @override
    async def RegisterPlatformCredential(
        self, request: pb.RegisterPlatformCredentialRequest, context: object
    ) -> pb.RegisterPlatformCredentialResponse:
        command = parse.register_platform_credential(request, current_call())
        return render.registered(await self._core.run(register_platform_credential.run, command))

    @override
    async def ListPlatformCredentials(
        self, request: pb.ListPlatformCredentialsRequest, context: object
    ) -> pb.ListPlatformCredentialsResponse:
        command = parse.list_platform_credentials(request, current_call())
        return render.credentials(await self._core.run(list_platform_credentials.run, command))

    @override
    async def UnregisterPlatformCredential(
        self, request: pb.UnregisterPlatformCredentialRequest, context: object
    ) -> pb.UnregisterPlatformCredentialResponse:
        command = parse.unregister_platform_credential(request, current_call())
        deleted = await self._core.run(unregister_platform_credential.run, command)
        return pb.UnregisterPlatformCredentialResponse(deleted=deleted)
