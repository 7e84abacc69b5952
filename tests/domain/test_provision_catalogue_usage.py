"""Removing an id that a stored workspace uses, and previews from names alone."""

from __future__ import annotations

import pytest

from provision_service.catalogue.parse import parse_catalogue
from provision_service.catalogue.usage import UsedModel, removed_ids
from provision_service.domain.decision import Decision
from provision_service.domain.preview import preview
from tests.domain.provision_launches import CATALOGUE, PROXY, edited

WITHOUT_ADK = parse_catalogue(
    edited(("  - name: google-adk\n", "  - name: google-kda\n")), file="new.yaml"
)
WITHOUT_KIMI_K25 = parse_catalogue(edited(("          - kimi-k2.5\n", "")), file="new.yaml")
WITHOUT_GENAI = parse_catalogue(
    edited(("          - google_genai:gemini-2.5-pro\n", "")), file="new.yaml"
)
KIMI_WITHDRAWN = parse_catalogue(
    edited(("          - kimi-k2.5\n", "          - {id: kimi-k2.5, withdrawn: true}\n")),
    file="new.yaml",
)


def said(*used: UsedModel, old: bool = True, new: object = CATALOGUE) -> list[tuple[str, str]]:
    assert isinstance(new, type(CATALOGUE))
    found = removed_ids(CATALOGUE if old else None, new, used)
    return [(entry.what, entry.remedy) for entry in found]


def test_the_same_catalogue_takes_nothing_away() -> None:
    used = [UsedModel("claude-code", "opus", "anthropic-oauth"), UsedModel("external", "")]
    assert said(*used) == []
    assert said(*used, old=False) == []


@pytest.mark.parametrize("old", [True, False])
def test_a_runtime_in_use_that_is_gone_is_found(old: bool) -> None:
    used = UsedModel("google-adk", "gemini-2.5-pro")
    assert said(used, old=old, new=WITHOUT_ADK) == [
        ("runtime `google-adk` is gone", "keep the runtime")
    ]


@pytest.mark.parametrize("old", [True, False])
def test_an_id_in_use_that_nothing_serves_any_more_is_found(old: bool) -> None:
    used = UsedModel("google-adk", "google_genai:gemini-2.5-pro")
    assert said(used, old=old, new=WITHOUT_GENAI) == [
        (
            "`google_genai:gemini-2.5-pro` is gone from runtime `google-adk`",
            "keep `google_genai:gemini-2.5-pro` and mark it withdrawn",
        )
    ]


def test_an_id_in_use_that_left_its_menu_is_found_although_a_pattern_finds_it() -> None:
    used = UsedModel("claude-code", " kimi-k2.5 ")
    assert said(used, new=WITHOUT_KIMI_K25) == [
        (
            "`kimi-k2.5` left the menu of runtime `claude-code`",
            "keep `kimi-k2.5` and mark it withdrawn",
        )
    ]
    assert said(used, new=WITHOUT_KIMI_K25, old=False) == []


def test_withdrawing_an_id_takes_nothing_away() -> None:
    assert said(UsedModel("claude-code", "kimi-k2.5"), new=KIMI_WITHDRAWN) == []


def test_an_id_that_moved_to_another_provider_is_found() -> None:
    used = UsedModel("claude-code", "opus", "anthropic-api")
    assert said(used, old=False) == [
        (
            "provider `anthropic-api` no longer serves `opus` in `claude-code`",
            "keep `opus` under `anthropic-api`",
        )
    ]


def test_what_was_not_served_before_was_not_removed() -> None:
    used = [UsedModel("claude-code", "nonsense"), UsedModel("nope", "x"), UsedModel("codex", "")]
    assert said(*used) == []


def test_each_use_is_said_once() -> None:
    used = [UsedModel("google-adk", "gemini-2.5-pro")] * 3
    assert len(said(*used, new=WITHOUT_ADK)) == 1


def previewed(runtime: str, model: str, *names: str, override: str = "") -> Decision:
    return preview(
        CATALOGUE,
        runtime=runtime,
        model=model,
        credential_names=names,
        override=override,
        platform=PROXY,
    )


@pytest.mark.parametrize(
    ("runtime", "model", "names", "mode", "provider", "refusal"),
    [
        ("claude-code", "opus", ["CLAUDE_CODE_OAUTH_TOKEN"], "byok", "anthropic-oauth", None),
        ("claude-code", "opus", [], "byok", "anthropic-oauth", "MISSING_BYOK_CREDENTIAL"),
        ("claude-code", "MiniMax-M2.7", ["MINIMAX_API_KEY"], "byok", "minimax", None),
        (
            "claude-code",
            "MiniMax-M2.7",
            ["ANTHROPIC_AUTH_TOKEN"],
            "byok",
            "minimax",
            "MISSING_BYOK_CREDENTIAL",
        ),
        ("codex", "gpt-5.5", ["OPENAI_API_KEY"], "byok", "openai-api", None),
        ("claude-code", "", ["MODEL", "MOLECULE_MODEL"], "platform_managed", None,
         "MODEL_REQUIRED"),
        ("claude-code", "moonshot/kimi-k2.6", ["PATH", "MOLECULE_LLM_USAGE_TOKEN"],
         "platform_managed", "platform", None),
        ("external", "", [], "disabled", None, None),
        ("", "opus", [], "platform_managed", None, "RUNTIME_UNKNOWN"),
    ],
)  # fmt: skip
def test_a_preview_decides_from_names(  # noqa: PLR0917 -- the table above names them
    runtime: str,
    model: str,
    names: list[str],
    mode: str,
    provider: str | None,
    refusal: str | None,
) -> None:
    resolution = previewed(runtime, model, *names).resolution
    assert resolution.resolved_mode == mode
    assert resolution.provider_selection == provider
    assert resolution.refusal == refusal
    assert resolution.effective_model_source == ("request" if model else "none")


def test_a_preview_takes_an_override() -> None:
    resolution = previewed("claude-code", "opus", override="disabled").resolution
    assert (resolution.resolved_mode, resolution.source) == ("disabled", "workspace_override")
