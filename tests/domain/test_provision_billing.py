"""Who pays: effective model, mode, source, and what the resolution tells of them."""

from __future__ import annotations

import pytest

from agentworkspace.core.secret import Secret
from provision_service.domain.billing import parse_override
from tests.domain.provision_launches import CATALOGUE, WORKSPACE, launch, warnings


@pytest.mark.parametrize(
    ("request_model", "stored", "tenant", "workspace", "expected"),
    [
        ("haiku", "opus", {"MOLECULE_MODEL": "sonnet"}, {}, ("haiku", "request")),
        ("  ", "opus", {"MOLECULE_MODEL": "sonnet"}, {}, ("opus", "spec")),
        (
            "",
            " ",
            {"MOLECULE_MODEL": "sonnet", "MODEL": "x"},
            {},
            ("sonnet", "secret:MOLECULE_MODEL"),
        ),
        ("", "", {"MOLECULE_MODEL": " ", "MODEL": "opus"}, {}, ("opus", "secret:MODEL")),
        (
            "",
            "",
            {"MOLECULE_MODEL": "sonnet"},
            {"MODEL": "opus"},
            ("sonnet", "secret:MOLECULE_MODEL"),
        ),
        ("", "", {"MODEL": "sonnet"}, {"MODEL": "opus"}, ("opus", "secret:MODEL")),
        ("", "", {}, {}, ("", "none")),
        ("", "", {"LLM_PROVIDER": "opus", "MODEL_PROVIDER": "opus"}, {}, ("", "none")),
        ("\thaiku\n", "opus", {}, {}, ("haiku", "request")),
        ("", "\topus\n", {}, {}, ("opus", "spec")),
        ("", "", {"MODEL": " opus\n"}, {}, ("opus", "secret:MODEL")),
    ],
)
def test_the_effective_model_is_the_first_rung_that_is_not_blank(
    request_model: str,
    stored: str,
    tenant: dict[str, str],
    workspace: dict[str, str],
    expected: tuple[str, str],
) -> None:
    resolution = launch(
        model=stored, request_model=request_model, tenant=tenant, workspace=workspace
    ).resolution
    assert (resolution.effective_model, resolution.effective_model_source) == expected


@pytest.mark.parametrize(
    ("model", "override", "mode", "source", "selection"),
    [
        ("opus", "", "byok", "derived_provider", "anthropic-oauth"),
        ("kimi-for-coding", "", "byok", "derived_provider", "kimi-coding"),
        ("moonshot/kimi-k2.6", "", "platform_managed", "derived_provider", "platform"),
        ("anthropic/claude-opus-4-7", "", "platform_managed", "derived_provider", "platform"),
        ("", "", "platform_managed", "derived_default", None),
        ("nonsense", "", "platform_managed", "derived_default", None),
        ("opus", "platform_managed", "platform_managed", "workspace_override", "anthropic-oauth"),
        ("opus", "byok", "byok", "workspace_override", "anthropic-oauth"),
        ("opus", "disabled", "disabled", "workspace_override", "anthropic-oauth"),
        ("moonshot/kimi-k2.6", "byok", "byok", "workspace_override", "kimi-coding"),
        ("nonsense", "byok", "byok", "workspace_override", None),
        ("", "disabled", "disabled", "workspace_override", None),
        ("nonsense", "platform_managed", "platform_managed", "workspace_override", None),
    ],
)
def test_the_mode_is_the_override_else_the_derived_provider_else_the_default(
    model: str, override: str, mode: str, source: str, selection: str | None
) -> None:
    resolution = launch(model=model, override=override).resolution
    assert resolution.resolved_mode == mode
    assert resolution.source == source
    assert resolution.provider_selection == selection
    assert resolution.workspace_override == (override or None)


@pytest.mark.parametrize("override", ["BYOK", "platform-managed", "byok ", "null", "{", "0"])
def test_a_garbled_override_is_ignored_and_said_in_the_steps(override: str) -> None:
    resolution = launch(model="opus", override=override).resolution
    assert (resolution.resolved_mode, resolution.source) == ("byok", "derived_provider")
    assert resolution.workspace_override is None
    step = next(step for step in resolution.steps if step.rule == "mode.override")
    assert not step.fired
    assert step.inputs == (override,)
    assert step.text == "the stored override is no known mode: ignored"


def test_a_long_garbled_override_is_shown_cut() -> None:
    steps = launch(model="opus", override="x" * 500).resolution.steps
    assert next(step for step in steps if step.rule == "mode.override").inputs == ("x" * 40,)


def test_no_override_is_no_garbled_override() -> None:
    assert parse_override(None) is None
    assert parse_override("") is None
    steps = launch(model="opus").resolution.steps
    step = next(step for step in steps if step.rule == "mode.override")
    assert (step.fired, step.inputs, step.text) == (False, (), "no override is stored")


@pytest.mark.parametrize("runtime", ["external", "kimi", "kimi-cli", "mock"])
@pytest.mark.parametrize("override", ["", "byok", "platform_managed", "garbled"])
def test_a_runtime_without_an_entry_is_disabled_whatever_is_stored(
    runtime: str, override: str
) -> None:
    decision = launch(runtime, override=override)
    assert decision.resolution.resolved_mode == "disabled"
    assert decision.resolution.source == "derived_default"
    assert decision.resolution.provider_selection is None
    assert decision.refusal is None
    assert decision.skipped
    step = decision.resolution.steps[-1]
    assert (step.rule, step.fired, step.inputs) == (
        "runtime.without_catalogue_entry",
        True,
        (runtime,),
    )
    assert "there is no LLM to bill here" in step.text


def test_an_override_without_effect_is_said() -> None:
    step = launch("external", override="byok").resolution.steps[-1]
    assert step.text.endswith("the stored override `byok` has no effect")


def test_a_runtime_of_the_catalogue_is_not_skipped() -> None:
    assert not launch(model="opus").skipped
    assert not launch("no-such-runtime", "opus").skipped


def test_a_resolution_names_workspace_and_catalogue_version() -> None:
    resolution = launch(model="opus").resolution
    assert resolution.workspace_id == WORKSPACE
    assert resolution.catalogue_version == CATALOGUE.version
    assert resolution.catalogue_version.startswith("1+")


def test_every_rule_is_a_step_in_the_order_it_was_asked() -> None:
    decision = launch(
        model="opus", tenant={"MODEL": "x"}, workspace={"CLAUDE_CODE_OAUTH_TOKEN": "own"}
    )
    assert [(step.rule, step.fired) for step in decision.resolution.steps] == [
        ("model.request", False),
        ("model.spec", True),
        ("model.secret:MOLECULE_MODEL", False),
        ("model.secret:MODEL", False),
        ("derivation.model_required", False),
        ("derivation.runtime_unknown", False),
        ("derivation.exact", True),
        ("mode.override", False),
        ("mode.derived_platform", False),
        ("mode.derived_vendor", True),
        ("mode.default", False),
    ]


@pytest.mark.parametrize(
    ("model", "override", "fired"),
    [
        ("opus", "", "mode.derived_vendor"),
        ("anthropic/claude-opus-4-7", "", "mode.derived_platform"),
        ("nonsense", "", "mode.default"),
        ("opus", "byok", "mode.override"),
        ("nonsense", "disabled", "mode.override"),
    ],
)
def test_exactly_one_rule_decides_the_mode(model: str, override: str, fired: str) -> None:
    steps = launch(model=model, override=override).resolution.steps
    assert [s.rule for s in steps if s.rule.startswith("mode.") and s.fired] == [fired]


def test_steps_name_a_secret_with_its_scope_and_never_its_value() -> None:
    resolution = launch(
        tenant={"MODEL": "opus"}, workspace={"CLAUDE_CODE_OAUTH_TOKEN": "do-not-show"}
    ).resolution
    step = next(step for step in resolution.steps if step.rule == "model.secret:MODEL")
    assert step.inputs == ("MODEL@global",)
    assert "do-not-show" not in repr(resolution)


def test_a_resolution_is_made_also_when_the_launch_is_refused() -> None:
    decision = launch(model="opus")
    assert decision.plan is None
    assert decision.refusal is not None
    assert decision.resolution.refusal == "MISSING_BYOK_CREDENTIAL"
    assert decision.resolution.resolved_mode == "byok"


OAUTH = {"CLAUDE_CODE_OAUTH_TOKEN": "own"}


@pytest.mark.parametrize(
    ("runtime", "model", "tenant", "override", "change"),
    [
        ("claude-code", "opus", OAUTH, "", "use `anthropic/claude-opus-4-7`, which the platform"),
        (
            "claude-code",
            "anthropic/claude-opus-4-7",
            OAUTH,
            "",
            ("with your CLAUDE_CODE_OAUTH_TOKEN use `opus`"),
        ),
        (
            "claude-code",
            "anthropic/claude-opus-4-7",
            {},
            "",
            ("use `claude-opus-4-7` and add ANTHROPIC_API_KEY"),
        ),
        ("claude-code", "moonshot/kimi-k2.6", {}, "", "use `kimi-k2.5` and add KIMI_API_KEY"),
        ("claude-code", "", OAUTH, "", "with your CLAUDE_CODE_OAUTH_TOKEN use `sonnet`"),
        (
            "claude-code",
            "opus",
            OAUTH,
            "platform_managed",
            ("clear the billing override: `opus` then derives byok"),
        ),
        (
            "claude-code",
            "opus",
            OAUTH,
            "disabled",
            ("clear the billing override: `opus` then derives byok"),
        ),
        ("claude-code", "opus", OAUTH, "byok", "set the billing override to `platform_managed`"),
        (
            "claude-code",
            "anthropic/claude-opus-4-7",
            {},
            "byok",
            (
                "clear the billing override:"
                " `anthropic/claude-opus-4-7` then derives platform_managed"
            ),
        ),
        (
            "claude-code",
            "nonsense",
            {},
            "platform_managed",
            ("set the billing override to `byok`, or clear it and choose a vendor's model"),
        ),
        # An override alone would not launch a model that nothing serves.
        (
            "claude-code",
            "nonsense",
            OAUTH,
            "byok",
            (
                "clear the billing override and use `anthropic/claude-opus-4-7`,"
                " which the platform serves and pays"
            ),
        ),
        (
            "hermes",
            "openrouter/x",
            {"OPENROUTER_API_KEY": "k"},
            "",
            ("use `moonshot/kimi-k2.6`, which the platform serves and pays"),
        ),
        (
            "external",
            "",
            {},
            "",
            ("no change here gives another payer: choose a runtime of the catalogue"),
        ),
        (
            "nope",
            "opus",
            {},
            "",
            ("choose a runtime of the catalogue: claude-code, hermes, codex, openclaw, google-adk"),
        ),
    ],
)
def test_the_smallest_change_to_another_payer_is_named(
    runtime: str, model: str, tenant: dict[str, str], override: str, change: str
) -> None:
    resolution = launch(runtime, model, tenant=tenant, override=override).resolution
    assert resolution.change.startswith(change)


@pytest.mark.parametrize(
    ("model", "override", "codes"),
    [
        ("opus", "", []),
        ("opus", "byok", []),
        ("opus", "platform_managed", ["OVERRIDE_PLATFORM_OVER_VENDOR_MODEL"]),
        ("anthropic/claude-opus-4-7", "platform_managed", []),
        ("anthropic/claude-opus-4-7", "byok", ["OVERRIDE_BYOK_OVER_PLATFORM_MODEL"]),
        ("nonsense", "byok", ["OVERRIDE_BYOK_OVER_UNDERIVABLE_MODEL"]),
        ("nonsense", "platform_managed", []),
        ("nonsense", "disabled", []),
        ("", "byok", []),
    ],
)
def test_an_override_against_the_derived_provider_is_warned_of(
    model: str, override: str, codes: list[str]
) -> None:
    decision = launch(model=model, override=override, tenant=OAUTH)
    assert warnings(decision) == codes


def test_a_secret_never_shows_itself() -> None:
    secret = Secret("do-not-show")
    assert f"{secret} {secret!r} {secret:>40} {[secret]}".count("do-not-show") == 0
