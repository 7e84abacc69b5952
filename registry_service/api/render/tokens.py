"""TokenService: results to responses."""

from __future__ import annotations

from collections.abc import Sequence

from agentworkspace.registry.v1 import token_pb2, token_service_pb2
from agentworkspace.rpc.wire_enums import number
from agentworkspace.rpc.wire_times import timestamp
from agentworkspace.service.paging import Page
from registry_service.api import wire_enums
from registry_service.commands.issued import Issued
from registry_service.commands.read_revocations import Revocation
from registry_service.commands.revoke_token import RevokedToken
from registry_service.commands.revoke_workspace_tokens import RevokedWorkspaceTokens
from registry_service.commands.validate_tokens import Rejection
from registry_service.commands.views import ListedToken
from registry_service.domain.principal import Principal
from registry_service.domain.tokens import Token


def token(found: Token, revoke_note: str = "") -> token_pb2.Token:
    return token_pb2.Token(
        token_id=found.token_id,
        workspace_id=found.workspace_id,
        kind=wire_enums.KIND[found.kind],
        prefix=found.prefix,
        label=found.label,
        scopes=sorted(found.scopes),
        incarnation=found.incarnation,
        create_time=timestamp(found.create_time),
        expire_time=timestamp(found.expire_time),
        first_use_time=timestamp(found.first_use_time),
        last_use_time=timestamp(found.last_use_time),
        revoke_time=timestamp(found.revoke_time),
        revoke_reason=number(
            wire_enums.REVOKE_REASON, found.revoke_reason, token_pb2.REVOKE_REASON_UNSPECIFIED
        ),
        revoke_note=revoke_note,
    )


def listed(found: ListedToken) -> token_pb2.Token:
    return token(found.token, found.revoke_note)


def issued(made: Issued) -> token_pb2.Issued:
    """Only here, and in the answers of Register and BeginIncarnation, is a secret written out."""
    return token_pb2.Issued(
        token=token(made.token),
        plaintext=made.plaintext.reveal() if made.plaintext else "",
        delivery=wire_enums.DELIVERY[made.delivery],
    )


def principal(known: Principal) -> token_pb2.Principal:
    return token_pb2.Principal(
        workspace_id=known.workspace_id,
        tenant_id=known.tenant_id,
        token_id=known.token_id,
        kind=wire_enums.KIND[known.kind],
        scopes=known.scopes,
        incarnation=known.incarnation,
        expire_time=timestamp(known.expire_time),
        evidence_backed=known.evidence_backed,
    )


def page(found: Page[ListedToken]) -> token_service_pb2.ListTokensResponse:
    return token_service_pb2.ListTokensResponse(
        tokens=map(listed, found.rows), next_page_token=found.next_page_token
    )


def revoked(receipt: RevokedToken) -> token_service_pb2.RevokeTokenResponse:
    return token_service_pb2.RevokeTokenResponse(
        revision=receipt.revision,
        already_revoked=receipt.already_revoked,
        workspace_id=receipt.workspace_id,
        token_id=receipt.token_id,
    )


def revoked_of_workspace(
    receipt: RevokedWorkspaceTokens,
) -> token_service_pb2.RevokeWorkspaceTokensResponse:
    return token_service_pb2.RevokeWorkspaceTokensResponse(
        revoked_count=receipt.revoked_count, revision=receipt.revision
    )


def validated(
    answer: Principal | Rejection, revision: int
) -> token_service_pb2.ValidateTokenResponse:
    response = token_service_pb2.ValidateTokenResponse(revision=revision)
    _fill(response, answer)
    return response


def validated_batch(
    answers: Sequence[Principal | Rejection], revision: int
) -> token_service_pb2.BatchValidateTokensResponse:
    response = token_service_pb2.BatchValidateTokensResponse(revision=revision)
    add = response.results.add
    for answer in answers:
        result = add()
        result.revision = revision
        _fill(result, answer)
    return response


def _fill(response: token_service_pb2.ValidateTokenResponse, answer: Principal | Rejection) -> None:
    """Fill in place, field by field: making a message and copying it in takes twice as long."""
    if isinstance(answer, Rejection):
        response.rejection.reason = wire_enums.REJECTION[answer]
        return
    workspace_id, tenant_id, token_id, kind, scopes, incarnation, expire_time, backed = answer
    whom = response.principal
    whom.workspace_id = workspace_id
    whom.tenant_id = tenant_id
    whom.token_id = token_id
    whom.kind = wire_enums.KIND[kind]
    if scopes:
        whom.scopes.extend(scopes)
    if incarnation:
        whom.incarnation = incarnation
    if expire_time is not None:
        whom.expire_time.FromDatetime(expire_time)
    whom.evidence_backed = backed


def revocation(event: Revocation) -> token_service_pb2.WatchRevocationsResponse:
    """A revocation of one token, or of every token of a workspace; never of both."""
    if event.workspace_id is not None:
        return token_service_pb2.WatchRevocationsResponse(
            revision=event.revision,
            workspace_id=event.workspace_id,
            reason=wire_enums.REVOKE_REASON[event.reason],
        )
    return token_service_pb2.WatchRevocationsResponse(
        revision=event.revision,
        token_sha256=(event.token_sha256 or b"").hex(),
        reason=wire_enums.REVOKE_REASON[event.reason],
    )


def keep_alive(revision: int, *, reset: bool = False) -> token_service_pb2.WatchRevocationsResponse:
    return token_service_pb2.WatchRevocationsResponse(revision=revision, reset=reset)
