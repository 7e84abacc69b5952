"""A model is trimmed before its shape is judged: what surrounds it is no part of it."""

from __future__ import annotations

import pytest

from agentworkspace.core.caller import Caller
from agentworkspace.core.refusal import Refusal
from agentworkspace.provision.v1 import (
    billing_service_pb2,
    catalogue_service_pb2,
)
from provision_service.api.parse import billing, catalogue
from provision_service.commands.call import Call

CALL = Call(caller=Caller("control-plane", frozenset({"launcher"}), None), correlation_id="c")


@pytest.mark.parametrize(("model", "seen"), [(" \topus\r\n", "opus"), (" \t\n", "")])
def test_white_space_around_a_model_is_no_violation(model: str, seen: str) -> None:
    preview = billing_service_pb2.PreviewBillingModeRequest(runtime="claude-code", model=model)
    assert billing.preview_billing_mode(preview, CALL).model == seen
    derive = catalogue_service_pb2.DeriveProviderRequest(runtime="claude-code", model=model)
    assert catalogue.derive_provider(derive).model == seen


def test_a_control_character_inside_a_model_is_a_violation() -> None:
    derive = catalogue_service_pb2.DeriveProviderRequest(runtime="claude-code", model="op\nus")
    with pytest.raises(Refusal) as caught:
        catalogue.derive_provider(derive)
    assert [each.field for each in caught.value.violations] == ["model"]
