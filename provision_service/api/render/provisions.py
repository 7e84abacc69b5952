"""Launches and the environments they hand out."""

from __future__ import annotations

from agentworkspace.provision.v1 import provision_pb2
from agentworkspace.provision.v1 import workspace_service_pb2 as pb
from agentworkspace.rpc.wire_enums import number_of_text
from agentworkspace.rpc.wire_times import timestamp
from agentworkspace.service.paging import Page
from provision_service.api import wire_enums
from provision_service.api.render.billing import resolution, warnings
from provision_service.api.render.launch import launch
from provision_service.domain.lifecycle import ProvisionState
from provision_service.domain.records import Provision
from provision_service.launch.provision_workspace import ProvisionWorkspaceResult


def provision(stored: Provision) -> provision_pb2.Provision:
    error = stored.error
    return provision_pb2.Provision(
        id=stored.id,
        workspace_id=stored.workspace_id,
        incarnation=stored.incarnation,
        state=_state(stored.state),
        billing=resolution(stored.billing),
        input_revision=stored.input_revision,
        lease_expire_time=timestamp(stored.lease_expire_time),
        reason=wire_enums.LAUNCH_REASON[stored.reason],
        request_id=stored.request_id,
        caller=stored.caller,
        manifest=[
            provision_pb2.ManifestEntry(
                name=entry.name,
                origin=entry.origin,
                value_origin=number_of_text(
                    wire_enums.VALUE_ORIGIN,
                    entry.origin,
                    provision_pb2.VALUE_ORIGIN_UNSPECIFIED,
                ),
                fingerprint=entry.fingerprint,
            )
            for entry in stored.manifest
        ],
        create_time=timestamp(stored.create_time),
        deliver_time=timestamp(stored.deliver_time),
        complete_time=timestamp(stored.complete_time),
        register_time=timestamp(stored.register_time),
        prove_time=timestamp(stored.prove_time),
        outcome=(
            wire_enums.OUTCOME[stored.outcome]
            if stored.outcome is not None
            else provision_pb2.PROVISION_OUTCOME_UNSPECIFIED
        ),
        error=provision_pb2.ProvisionError(code=error.code, message=error.message)
        if error
        else None,
        rerun_required=stored.rerun_required,
    )


def delivered(result: ProvisionWorkspaceResult) -> pb.ProvisionWorkspaceResponse:
    """The one answer that carries an environment."""
    return pb.ProvisionWorkspaceResponse(
        provision=provision(result.provision),
        env=result.env.reveal() if result.env is not None else {},
        joined=result.joined,
        skipped=result.skipped,
        warnings=warnings(result.warnings),
        launch=launch(result.env.launch if result.env is not None else None),
    )


def extended(launch: Provision) -> pb.ExtendProvisionResponse:
    return pb.ExtendProvisionResponse(
        state=_state(launch.state),
        rerun_required=launch.rerun_required,
        provision=provision(launch),
    )


def completed(launch: Provision) -> pb.CompleteProvisionResponse:
    return pb.CompleteProvisionResponse(
        state=_state(launch.state),
        rerun_required=launch.rerun_required,
        provision=provision(launch),
    )


def listed(page: Page[Provision]) -> pb.ListProvisionsResponse:
    return pb.ListProvisionsResponse(
        provisions=[provision(each) for each in page.rows],
        next_page_token=page.next_page_token,
    )


def _state(state: ProvisionState | None) -> provision_pb2.ProvisionState.ValueType:
    if state is None:
        return provision_pb2.PROVISION_STATE_UNSPECIFIED
    return wire_enums.STATE[state]
