"""TokenService: requests to commands."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from functools import partial
from typing import Final

from google.protobuf.duration_pb2 import Duration

from agentworkspace.core import ids
from agentworkspace.core.caller import Caller
from agentworkspace.core.ids import WorkspaceId
from agentworkspace.core.secret import Secret
from agentworkspace.registry.v1 import token_service_pb2 as pb
from agentworkspace.rpc.calls import Call
from registry_service.api import wire_enums
from registry_service.api.parse.fields import Fields, origin_of
from registry_service.commands.list_tokens import ListTokens
from registry_service.commands.mint_token import MintToken
from registry_service.commands.revoke_token import RevokeToken
from registry_service.commands.revoke_workspace_tokens import RevokeWorkspaceTokens
from registry_service.commands.rotate_token import RotateToken
from registry_service.commands.validate_tokens import ValidateToken
from registry_service.domain.tokens import RevokeReason

LONGEST_LABEL: Final = 200
LONGEST_NOTE: Final = 500
LARGEST_BATCH: Final = 1000
SHORTEST_TTL: Final = timedelta(seconds=1)
LONGEST_TTL: Final = timedelta(days=3653)
LONGEST_OVERLAP: Final = timedelta(days=7)
_OF_ONE: Final = {
    RevokeReason.OPERATOR: "its holder may come back",
    RevokeReason.COMPROMISED: (
        "somebody else may hold it: everything that its holder could have made with it ends, too"
    ),
}
_OF_A_WORKSPACE: Final = _OF_ONE | {
    RevokeReason.SUSPENDED: "the workspace may not run until it is launched for RESUME",
}
# The same as `ValidateToken(...)`, but faster: a batch has up to 1000.
_asking: Final = partial(tuple.__new__, ValidateToken)


def mint_token(request: pb.MintTokenRequest, call: Call) -> MintToken:
    fields = Fields()
    command = MintToken(
        origin=origin_of(call),
        caller=call.require_caller(),
        workspace_id=fields.workspace_id(request.workspace_id),
        kind=fields.named(request.kind, "kind", wire_enums.BEARER_KIND_OF),
        label=fields.text(request.label, "label", at_most=LONGEST_LABEL),
        scopes=fields.scopes(request.scopes),
        ttl=ttl(fields, request.ttl, "ttl") if request.HasField("ttl") else None,
        request_id=fields.request_id(request.request_id),
        token_sha256=fields.sha256(request.token_sha256),
    )
    return fields.finish(command)


def rotate_token(request: pb.RotateTokenRequest, call: Call) -> RotateToken:
    fields = Fields()
    command = RotateToken(
        origin=origin_of(call, request.workspace_id),
        caller=call.caller,
        bearer=call.bearer,
        workspace_id=fields.workspace_id(request.workspace_id),
        token_id=fields.token_id(request.token_id),
        overlap=fields.span(
            request.overlap, "overlap", at_least=timedelta(0), at_most=LONGEST_OVERLAP
        ),
        request_id=fields.request_id(request.request_id),
        token_sha256=fields.sha256(request.token_sha256),
    )
    return fields.finish(command)


def list_tokens(request: pb.ListTokensRequest, call: Call) -> ListTokens:
    fields = Fields()
    command = ListTokens(
        caller=call.require_caller(),
        workspace_id=fields.workspace_id(request.workspace_id),
        include_revoked=request.include_revoked,
        include_proxy=request.include_proxy,
        page_size=fields.page_size(request.page_size),
        page_token=fields.page_token(request.page_token),
    )
    return fields.finish(command)


def revoke_token(request: pb.RevokeTokenRequest, call: Call) -> RevokeToken:
    """The token is named either by its id and workspace, or by its own text alone."""
    fields = Fields()
    by_id = not request.token
    if request.token and request.token_id:
        fields.refuse("token_id", "must be empty when the token itself is given")
    command = RevokeToken(
        origin=origin_of(call, request.workspace_id),
        caller=call.caller,
        bearer=call.bearer,
        workspace_id=fields.workspace_id(request.workspace_id)
        if by_id
        else fields.optional_workspace_id(request.workspace_id),
        token_id=fields.token_id(request.token_id) if by_id else None,
        token=None if by_id else Secret(request.token),
        reason=_revoke_reason(fields, request.reason, _OF_ONE),
        note=fields.text(request.note, "note", at_most=LONGEST_NOTE),
    )
    return fields.finish(command)


def revoke_workspace_tokens(
    request: pb.RevokeWorkspaceTokensRequest, call: Call
) -> RevokeWorkspaceTokens:
    fields = Fields()
    reason = _revoke_reason(fields, request.reason, _OF_A_WORKSPACE)
    if reason is RevokeReason.SUSPENDED and request.kinds:
        fields.refuse("kinds", "must be empty with SUSPENDED, which concerns the whole workspace")
    command = RevokeWorkspaceTokens(
        origin=origin_of(call),
        caller=call.require_caller(),
        workspace_id=fields.workspace_id(request.workspace_id),
        kinds=frozenset(
            fields.named(kind, f"kinds[{index}]", wire_enums.KIND_OF)
            for index, kind in enumerate(request.kinds)
        ),
        reason=reason,
        note=fields.text(request.note, "note", at_most=LONGEST_NOTE),
    )
    return fields.finish(command)


def validate_token(request: pb.ValidateTokenRequest, call: Call) -> ValidateToken:
    fields = Fields()
    question = _question(fields, request, call.require_caller())
    return fields.finish(question)


def batch_validate_tokens(
    request: pb.BatchValidateTokensRequest, call: Call
) -> list[ValidateToken]:
    fields = Fields()
    if not 1 <= len(request.requests) <= LARGEST_BATCH:
        fields.refuse("requests", f"must be 1 to {LARGEST_BATCH}")
        fields.finish(None)
    caller = call.require_caller()
    questions = [
        _question(fields, each, caller, index) for index, each in enumerate(request.requests)
    ]
    return fields.finish(questions)


def watch_revocations(request: pb.WatchRevocationsRequest) -> int:
    """The revision after which to begin; 0 means from now on."""
    fields = Fields()
    after = fields.at_least_zero(request.after_revision, "after_revision")
    return fields.finish(after)


def ttl(fields: Fields, duration: Duration, field: str) -> timedelta:
    return fields.span(duration, field, at_least=SHORTEST_TTL, at_most=LONGEST_TTL)


def _question(
    fields: Fields, request: pb.ValidateTokenRequest, caller: Caller, index: int | None = None
) -> ValidateToken:
    """One question. The token's shape is not checked: somebody else presented it to the caller,
    who wants an answer about a malformed one, too. `index` is the question's place in a batch.
    """
    workspace_id: WorkspaceId | None = None
    named = request.workspace_id
    if ids.is_workspace_id(named):
        workspace_id = named
    elif named:
        # The field's name is put together only for a violation: a batch has up to 1000 questions.
        fields.refuse(_placed("workspace_id", index), ids.UUID_WANTED)
    elif not request.any_workspace:
        fields.refuse(_placed("workspace_id", index), "must be set, or any_workspace must be true")
    kind = None
    if request.required_kind:
        kind = fields.named(
            request.required_kind, _placed("required_kind", index), wire_enums.CHECKED_KIND_OF
        )
    scopes: frozenset[str] = frozenset()
    if wanted := request.required_scopes:
        scopes = frozenset(fields.scopes(wanted, _placed("required_scopes", index)))
    return _asking((caller, Secret(request.token), workspace_id, kind, scopes))


def _placed(field: str, index: int | None) -> str:
    return field if index is None else f"requests[{index}].{field}"


def _revoke_reason(
    fields: Fields, number: int, allowed: Mapping[RevokeReason, str]
) -> RevokeReason:
    """The reason, which has no default: it decides what can come back after the revocation."""
    reason = wire_enums.REVOKE_REASON_OF.get(number)
    if reason is not None and reason in allowed:
        return reason
    each = "; ".join(f"{name} ({what})" for name, what in allowed.items())
    fields.refuse("reason", f"must be one of: {each}")
    return RevokeReason.OPERATOR
