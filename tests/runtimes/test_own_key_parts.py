"""What the rig's proxy answers on which key, without a registry."""

from __future__ import annotations

from dataclasses import replace

import grpc
import pytest

from agentworkspace.client.verifier import Principal, Rejected, Rejection
from agentworkspace.core.secret import Secret
from agentworkspace.core.token_format import TokenKind
from agentworkspace.rpc.errors import RpcFailure
from tests.runtimes.arrivals import Arrival
from tests.runtimes.proxy import MeteredProxy

MINE, SIBLING = "8970e341-19c0-4003-89a7-67a61aa47fb6", "11111111-19c0-4003-89a7-67a61aa47fb6"
CALL = Arrival(
    host="llm.platform.test",
    port=8443,
    secure=True,
    method="POST",
    target="/anthropic/v1/messages",
    headers={"x-api-key": "awp_mine"},
    body=b'{"model": "m"}',
)


def check(key: Secret, workspace: str | None) -> Principal:
    if key.reveal() != "awp_mine" or workspace not in (None, MINE):
        raise Rejected(Rejection.TOKEN_INVALID)
    return Principal(
        workspace_id=MINE,
        tenant_id="acme",
        token_id="t",
        kind=TokenKind.PROXY,
        scopes=frozenset(),
        incarnation=1,
        expires_at=None,
    )


@pytest.mark.parametrize(
    ("headers", "status", "billed"),
    [
        ({"x-api-key": "awp_mine"}, 200, [MINE]),
        ({"authorization": "Bearer awp_mine"}, 200, [MINE]),
        ({"x-api-key": "awp_mine", "x-molecule-workspace-id": MINE}, 200, [MINE]),
        ({"x-api-key": "awp_mine", "x-molecule-workspace-id": SIBLING}, 401, []),
        ({"x-api-key": "awp_other"}, 401, []),
        ({"x-api-key": "awp_other", "authorization": "Bearer awp_mine"}, 401, []),
        ({}, 401, []),
    ],
)
def test_the_key_says_who_is_billed_and_a_header_can_only_disagree(
    headers: dict[str, str], status: int, billed: list[str]
) -> None:
    proxy = MeteredProxy(check)
    assert proxy.answer(replace(CALL, headers=headers)).status == status
    assert proxy.metered == billed


def test_a_list_of_models_costs_nothing_but_wants_the_key() -> None:
    proxy = MeteredProxy(check)
    models = replace(CALL, method="GET", target="/v1/models", body=b"")
    assert proxy.answer(models).status == 200
    assert proxy.answer(replace(models, headers={})).status == 401
    assert proxy.metered == []


def test_another_host_asks_for_no_key_of_ours() -> None:
    proxy = MeteredProxy(check)
    assert proxy.answer(replace(CALL, host="api.anthropic.com", port=443)).status == 200
    assert proxy.metered == []


def test_a_key_that_cannot_be_checked_opens_nothing() -> None:
    def unreachable(_key: Secret, _workspace: str | None) -> Principal:
        raise RpcFailure(grpc.StatusCode.UNAVAILABLE, "", "", "nobody answers")

    proxy = MeteredProxy(unreachable)
    assert proxy.answer(CALL).status == 503
    assert proxy.metered == []
