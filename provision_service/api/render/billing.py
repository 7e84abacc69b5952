"""Resolutions, steps and warnings."""

from __future__ import annotations

from collections.abc import Iterable

from agentworkspace.core.refusal import AnyReason
from agentworkspace.provision.v1 import billing_service_pb2 as pb
from agentworkspace.provision.v1 import error_reason_pb2, resolution_pb2
from agentworkspace.rpc.wire_enums import number_of_text
from provision_service.api import wire_enums
from provision_service.commands.set_billing_mode_override import SetBillingModeOverrideResult
from provision_service.commands.set_tenant_billing import SetTenantBillingResult
from provision_service.domain.records import Billing
from provision_service.domain.step import Notice, Step


def reason(refusal: AnyReason | None) -> error_reason_pb2.ErrorReason.ValueType:
    """The reason of a refusal; unspecified where there is none."""
    if refusal is None:
        return error_reason_pb2.ERROR_REASON_UNSPECIFIED
    return wire_enums.REASON[refusal]


def resolution(billing: Billing | None) -> resolution_pb2.Resolution | None:
    if billing is None:
        return None
    decided = billing.resolution
    message = resolution_pb2.Resolution(
        workspace_id=decided.workspace_id,
        resolved_mode=decided.resolved_mode,
        source=decided.source,
        provider_selection=decided.provider_selection or "",
        effective_model=decided.effective_model,
        effective_model_source=decided.effective_model_source,
        refusal=reason(decided.refusal),
        mode=wire_enums.MODE[decided.resolved_mode],
        decided_by=wire_enums.SOURCE[decided.source],
        model_source=number_of_text(
            wire_enums.MODEL_SOURCE,
            decided.effective_model_source,
            resolution_pb2.MODEL_SOURCE_UNSPECIFIED,
        ),
        override_mode=number_of_text(
            wire_enums.MODE,
            billing.stored_override or "",
            resolution_pb2.BILLING_MODE_UNSPECIFIED,
        ),
        refusal_message=billing.refusal_message,
        steps=steps(decided.steps),
        catalogue_version=decided.catalogue_version,
        alternatives=[decided.change] if decided.change else [],
        warnings=warnings(billing.warnings),
    )
    if billing.stored_override:
        message.workspace_override = billing.stored_override
    return message


def steps(looked_at: Iterable[Step]) -> list[resolution_pb2.Step]:
    return [
        resolution_pb2.Step(rule=each.rule, fired=each.fired, inputs=each.inputs, text=each.text)
        for each in looked_at
    ]


def warnings(notices: Iterable[Notice]) -> list[resolution_pb2.Warning]:
    return [
        resolution_pb2.Warning(code=each.code, message=each.text, metadata=each.metadata)
        for each in notices
    ]


def set_override(result: SetBillingModeOverrideResult) -> pb.SetBillingModeOverrideResponse:
    return pb.SetBillingModeOverrideResponse(
        resolution=resolution(result.billing), warnings=warnings(result.warnings)
    )


def set_tenant_billing(result: SetTenantBillingResult) -> pb.SetTenantBillingResponse:
    return pb.SetTenantBillingResponse(
        tenant_id=result.tenant_id,
        default_billing=result.default_billing,
        global_vendor_keys=wire_enums.GLOBAL_VENDOR_KEYS[result.default_billing],
        has_platform_usage_token=result.has_platform_usage_token,
    )
