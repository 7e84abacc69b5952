"""`billing` and `catalogue`: who pays and why, so that a person can follow it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from agentworkspace.provision.v1 import billing_service_pb2 as messages
from agentworkspace.provision.v1 import catalogue_service_pb2 as catalogue
from agentworkspace.provision.v1 import error_reason_pb2, resolution_pb2
from tests.rpc.workspacectl_pair import WORKSPACE, Pair, running_pair

STEPS = [
    resolution_pb2.Step(
        rule="derive.exact_id",
        fired=False,
        inputs=["ANTHROPIC_API_KEY (workspace)", "CLAUDE_CODE_OAUTH_TOKEN (global)"],
        text="no provider lists this id",
    ),
    resolution_pb2.Step(rule="derive.pattern", fired=True, text="one pattern matches"),
]
RESOLUTION = resolution_pb2.Resolution(
    workspace_id=WORKSPACE,
    resolved_mode="byok",
    source="derived_provider",
    provider_selection="anthropic-api",
    workspace_override="",
    effective_model="opus",
    refusal=error_reason_pb2.ERROR_REASON_MISSING_BYOK_CREDENTIAL,
    refusal_message="store ANTHROPIC_API_KEY",
    steps=STEPS,
    alternatives=["set the override to platform_managed", "use another model"],
    warnings=[resolution_pb2.Warning(code="MODEL_WITHDRAWN", message="off the menu")],
)
EXPLAINED = """\
who pays
  workspace id        6b2f3c1e-52c4-4b5a-9d4e-0f7f1c2d3e4f
  resolved mode       byok
  source              derived_provider
  provider selection  anthropic-api
  effective model     opus
  refusal             MISSING_BYOK_CREDENTIAL
  refusal message     store ANTHROPIC_API_KEY

what would change it
  set the override to platform_managed
  use another model

steps (* decided)
  #     RULE             LOOKED AT                                                        WHY
  1     derive.exact_id  ANTHROPIC_API_KEY (workspace), CLAUDE_CODE_OAUTH_TOKEN (global)  no provider lists this id
  2  *  derive.pattern   -                                                                one pattern matches

warnings
  CODE             WHAT TO KNOW
  MODEL_WITHDRAWN  off the menu
"""  # noqa: E501


@pytest.fixture
def pair() -> Iterator[Pair]:
    with running_pair() as found:
        yield found


def test_resolve_explains_every_step(pair: Pair) -> None:
    response = messages.ResolveBillingModeResponse(resolution=RESOLUTION)
    pair.provision.on("ResolveBillingMode", response)

    result = pair.run("billing", "resolve", WORKSPACE)

    assert result.code == 0
    assert result.out == EXPLAINED


def test_resolve_as_json_is_the_response(pair: Pair) -> None:
    response = messages.ResolveBillingModeResponse(resolution=RESOLUTION)
    pair.provision.on("ResolveBillingMode", response)

    resolution = pair.run("billing", "resolve", WORKSPACE, "--json").document["resolution"]

    assert resolution["refusal"] == "ERROR_REASON_MISSING_BYOK_CREDENTIAL"
    assert [step["fired"] for step in resolution["steps"]] == [False, True]


def test_preview_takes_names_of_credentials(pair: Pair) -> None:
    response = messages.PreviewBillingModeResponse(resolution=RESOLUTION)
    pair.provision.on("PreviewBillingMode", response)

    pair.run(
        *("billing", "preview", "--runtime", "claude-code", "--model", "opus"),
        *("--auth-env", "A", "--auth-env", "B", "--override", "byok"),
    )

    request = pair.provision.only(messages.PreviewBillingModeRequest)
    assert request == messages.PreviewBillingModeRequest(
        runtime="claude-code", model="opus", auth_env_names=["A", "B"], override="byok"
    )


def test_preview_without_an_override_sends_none(pair: Pair) -> None:
    response = messages.PreviewBillingModeResponse(resolution=RESOLUTION)
    pair.provision.on("PreviewBillingMode", response)

    pair.run("billing", "preview")

    assert not pair.provision.only(messages.PreviewBillingModeRequest).HasField("override")


@pytest.mark.parametrize(("word", "sent"), [("byok", "byok"), ("derived", None)])
def test_override_sets_the_payer_or_goes_back_to_the_derived_one(
    pair: Pair, word: str, sent: str | None
) -> None:
    response = messages.SetBillingModeOverrideResponse(resolution=RESOLUTION)
    pair.provision.on("SetBillingModeOverride", response)

    pair.run("billing", "override", WORKSPACE, word)

    request = pair.provision.only(messages.SetBillingModeOverrideRequest)
    assert request == messages.SetBillingModeOverrideRequest(workspace_id=WORKSPACE, mode=sent)


@pytest.fixture
def tenant(pair: Pair) -> Pair:
    response = messages.SetTenantBillingResponse(
        tenant_id="acme", default_billing="byok", has_platform_usage_token=True
    )
    pair.provision.on("SetTenantBilling", response)
    return pair


def test_a_tenants_usage_token_comes_from_standard_input(tenant: Pair) -> None:
    result = tenant.run(
        *("billing", "tenant", "acme", "--usage-token-file", "-"), stdin=b"usage-very-secret\n"
    )

    assert result.lines == [
        "tenant id acme",
        "default billing byok",
        "has platform usage token yes",
    ]
    assert "very-secret" not in result.out + result.err
    request = tenant.provision.only(messages.SetTenantBillingRequest)
    assert request == messages.SetTenantBillingRequest(
        tenant_id="acme", platform_usage_token="usage-very-secret"
    )


def test_a_tenants_usage_token_comes_from_a_file(tenant: Pair, tmp_path: Path) -> None:
    path = tmp_path / "usage"
    path.write_text("from-a-file")

    tenant.run("billing", "tenant", "acme", "--usage-token-file", str(path))

    request = tenant.provision.only(messages.SetTenantBillingRequest)
    assert request.platform_usage_token == "from-a-file"


def test_a_tenants_usage_token_is_kept_unless_its_removal_is_asked_for(tenant: Pair) -> None:
    tenant.run("billing", "tenant", "acme", "--default-billing", "byok")
    tenant.run("billing", "tenant", "acme", "--remove-usage-token", "--yes")

    kept, removed = (asked.request for asked in tenant.provision.asked)
    assert not kept.HasField("platform_usage_token")
    assert removed.HasField("platform_usage_token")
    assert removed.platform_usage_token == ""


def test_catalogue_providers_show_the_way_to_them(pair: Pair) -> None:
    provider = catalogue.Provider(
        name="platform", protocol="anthropic", auth_env=["A", "B"], platform=True
    )
    pair.provision.on("ListProviders", catalogue.ListProvidersResponse(providers=[provider]))

    result = pair.run("catalogue", "providers", "--all")

    assert result.lines[1] == "platform anthropic - A, B yes"


def test_catalogue_runtimes_show_their_providers(pair: Pair) -> None:
    runtime = catalogue.Runtime(name="hermes", providers=["x", "y"], launched=True)
    pair.provision.on("ListRuntimes", catalogue.ListRuntimesResponse(runtimes=[runtime]))

    assert pair.run("catalogue", "runtimes").lines[1] == "hermes - yes x, y"


def test_catalogue_models_are_those_of_a_runtime(pair: Pair) -> None:
    model = catalogue.Model(id="opus", billing_mode="byok", providers=["x"], auth_env=["A"])
    pair.provision.on("ListModels", catalogue.ListModelsResponse(models=[model]))

    result = pair.run("catalogue", "models", "claude-code")

    assert result.lines[1] == "opus byok x A"
    assert pair.provision.only(catalogue.ListModelsRequest).runtime == "claude-code"


def test_catalogue_derive_explains_every_step(pair: Pair) -> None:
    response = catalogue.DeriveProviderResponse(provider="anthropic-api", steps=STEPS)
    pair.provision.on("DeriveProvider", response)

    result = pair.run("catalogue", "derive", "claude-code", "opus", "--auth-env", "A")

    assert result.lines[0] == "provider anthropic-api"
    assert result.lines[-1] == "2 * derive.pattern - one pattern matches"
    request = pair.provision.only(catalogue.DeriveProviderRequest)
    assert request == catalogue.DeriveProviderRequest(
        runtime="claude-code", model="opus", auth_env_names=["A"]
    )
