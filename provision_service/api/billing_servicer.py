"""BillingService: parse, run, render."""

from __future__ import annotations

from typing_extensions import override

from agentworkspace.provision.v1 import billing_service_pb2 as pb
from agentworkspace.provision.v1 import billing_service_pb2_grpc
from provision_service.api.core import Core, current_call
from provision_service.api.parse import billing as parse
from provision_service.api.render import billing as render
from provision_service.api.render.launch import launch
from provision_service.commands import (
    preview_billing_mode,
    resolve_billing_mode,
    set_billing_mode_override,
    set_tenant_billing,
)


class Billings(billing_service_pb2_grpc.BillingServiceServicer):
    def __init__(self, core: Core) -> None:
        self._core = core

    @override
    async def ResolveBillingMode(
        self, request: pb.ResolveBillingModeRequest, context: object
    ) -> pb.ResolveBillingModeResponse:
        core, command = self._core, parse.resolve_billing_mode(request, current_call())
        result = await core.run(resolve_billing_mode.run, command, core.deployment)
        return pb.ResolveBillingModeResponse(
            resolution=render.resolution(result.billing), launch=launch(result.launch)
        )

    @override
    async def PreviewBillingMode(
        self, request: pb.PreviewBillingModeRequest, context: object
    ) -> pb.PreviewBillingModeResponse:
        command = parse.preview_billing_mode(request, current_call())
        # Neither store nor network: well below a millisecond, so it stays on the loop.
        result = preview_billing_mode.run(command, self._core.deployment)
        return pb.PreviewBillingModeResponse(
            resolution=render.resolution(result.billing), launch=launch(result.launch)
        )

    @override
    async def SetBillingModeOverride(
        self, request: pb.SetBillingModeOverrideRequest, context: object
    ) -> pb.SetBillingModeOverrideResponse:
        core, command = self._core, parse.set_billing_mode_override(request, current_call())
        return render.set_override(
            await core.run(set_billing_mode_override.run, command, core.deployment)
        )

    @override
    async def SetTenantBilling(
        self, request: pb.SetTenantBillingRequest, context: object
    ) -> pb.SetTenantBillingResponse:
        core, command = self._core, parse.set_tenant_billing(request, current_call())
        return render.set_tenant_billing(
            await core.run(set_tenant_billing.run, command, core.deployment)
        )
