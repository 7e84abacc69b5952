"""Launch recipes: what each program gets beside the table, and how it is put together."""

from __future__ import annotations

import json
import tomllib
from typing import ClassVar

import pytest
import yaml

from agentworkspace.core.secret import Secret
from provision_service.catalogue.parse import parse_catalogue
from provision_service.domain.launch_plan import MAX_LAUNCH_BYTES, LaunchPlan
from provision_service.domain.platform_proxy import PlatformProxy
from tests.domain.provision_launches import (
    CATALOGUE,
    CATALOGUE_FILE,
    WORKSPACE,
    edited,
    environment,
    launch,
    message,
    reason,
    removed,
    warnings,
)


def recipe(*arguments: str, **more: object) -> LaunchPlan:
    """The expanded recipe of a launch that was not refused."""
    decision = launch(*arguments, **more)  # type: ignore[arg-type]  # passed on as they are
    assert decision.plan is not None, decision.refusal
    assert decision.plan.launch is not None
    return decision.plan.launch


def test_every_runtime_of_the_shipped_catalogue_has_a_recipe_for_each_of_its_providers() -> None:
    for runtime in CATALOGUE.runtimes.values():
        assert runtime.recipe is not None, runtime.name
        for provider in runtime.providers:
            assert runtime.recipe.way_for(provider.name) is not None, (runtime.name, provider.name)


class TestClaudeCode:
    @pytest.mark.parametrize(
        ("model", "secrets", "spelled"),
        [
            ("opus", {"CLAUDE_CODE_OAUTH_TOKEN": "own"}, "opus"),
            ("anthropic:opus", {"CLAUDE_CODE_OAUTH_TOKEN": "own"}, "opus"),
            ("anthropic:claude-opus-4-8", {"ANTHROPIC_API_KEY": "own"}, "claude-opus-4-8"),
            ("zai:glm-4.7", {"GLM_API_KEY": "own"}, "glm-4.7"),
            ("deepseek/deepseek-chat", {"DEEPSEEK_API_KEY": "own"}, "deepseek-chat"),
            ("minimax/MiniMax-M3", {}, "minimax/MiniMax-M3"),
        ],
    )
    def test_the_model_is_spelled_for_it(
        self, model: str, secrets: dict[str, str], spelled: str
    ) -> None:
        env = environment(launch(model=model, workspace=secrets))
        assert env["ANTHROPIC_MODEL"] == spelled
        assert env["MODEL"] == model

    def test_a_vendor_of_one_model_gets_no_other_in_the_background(self) -> None:
        env = environment(launch(model="MiniMax-M2.7", workspace={"MINIMAX_API_KEY": "own"}))
        names = [
            "ANTHROPIC_SMALL_FAST_MODEL", "ANTHROPIC_DEFAULT_HAIKU_MODEL",
            "ANTHROPIC_DEFAULT_SONNET_MODEL", "ANTHROPIC_DEFAULT_OPUS_MODEL",
            "CLAUDE_CODE_SUBAGENT_MODEL",
        ]  # fmt: skip
        assert {env[name] for name in names} == {"MiniMax-M2.7"}
        anthropics = environment(launch(model="opus", tenant={"CLAUDE_CODE_OAUTH_TOKEN": "own"}))
        assert not set(names) & anthropics.keys()

    def test_it_starts_from_a_directory_of_settings_that_is_fresh(self) -> None:
        plan = recipe(model="opus", tenant={"CLAUDE_CODE_OAUTH_TOKEN": "own"})
        assert [(made.env, made.path) for made in plan.directories] == [
            ("CLAUDE_CONFIG_DIR", "claude")
        ]
        assert (plan.arguments, plan.files) == ((), ())


class TestCodex:
    def config(self, plan: LaunchPlan) -> dict[str, object]:
        (file,) = (file for file in plan.files if file.path == "codex/config.toml")
        assert (file.mode, file.secret) == ("0600", False)
        return tomllib.loads(file.content)

    def test_the_platform_is_reached_with_the_workspaces_header(self) -> None:
        plan = recipe("codex", "openai/gpt-5.4")
        config = self.config(plan)
        assert (config["model"], config["model_provider"]) == ("openai/gpt-5.4", "workspace")
        assert config["model_providers"] == {
            "workspace": {
                "name": "platform",
                "base_url": "https://llm.platform.test/openai/v1",
                "wire_api": "responses",
                "env_key": "OPENAI_API_KEY",
                "env_http_headers": {"X-Molecule-Workspace-Id": "WORKSPACE_ID"},
            }
        }
        assert [(made.env, made.path) for made in plan.directories] == [("CODEX_HOME", "codex")]

    def test_an_own_key_is_named_and_goes_to_its_vendor(self) -> None:
        config = self.config(recipe("codex", "gpt-5.5", tenant={"OPENAI_API_KEY": "own"}))
        assert config["model_providers"] == {
            "workspace": {
                "name": "openai-api",
                "base_url": "https://api.openai.com/v1",
                "wire_api": "responses",
                "env_key": "OPENAI_API_KEY",
            }
        }

    def test_an_own_endpoint_is_where_it_goes(self) -> None:
        own = {"OPENAI_API_KEY": "own", "OPENAI_BASE_URL": "https://llm.tenant.test/v1"}
        plan = recipe("codex", "gpt-5.5", workspace=own)
        assert plan.endpoint == "https://llm.tenant.test/v1"
        assert 'base_url = "${OPENAI_BASE_URL}"' in plan.files[0].content
        assert "llm.tenant.test" not in repr(plan)

    @pytest.mark.parametrize(
        "odd", ["not a url", 'https://a.test/"', "https://a.test/${X}", "ftp://a"]
    )
    def test_what_is_no_plain_address_is_no_endpoint(self, odd: str) -> None:
        own = {"OPENAI_API_KEY": "own", "OPENAI_BASE_URL": odd}
        assert recipe("codex", "gpt-5.5", workspace=own).endpoint == "https://api.openai.com/v1"

    @pytest.mark.parametrize("name", ["CODEX_AUTH_JSON", "CODEX_CHATGPT_AUTH_JSON"])
    def test_a_subscription_is_a_secret_file_that_names_the_variable(self, name: str) -> None:
        plan = recipe("codex", "gpt-5.5", tenant={name: '{"tokens": "do-not-show"}'})
        (auth,) = (file for file in plan.files if file.path == "codex/auth.json")
        assert (auth.content, auth.mode, auth.secret) == (f"${{{name}}}", "0600", True)
        config = self.config(plan)
        assert config["model_providers"] == {
            "workspace": {
                "name": "openai-subscription",
                "base_url": "https://chatgpt.com/backend-api/codex",
                "wire_api": "responses",
                "requires_openai_auth": True,
                "supports_websockets": False,
            }
        }

    @pytest.mark.parametrize("stray", ["CODEX_API_KEY", "CODEX_ACCESS_TOKEN"])
    @pytest.mark.parametrize("scope", ["tenant", "workspace"])
    def test_what_it_would_send_instead_of_a_subscription_is_removed(
        self, stray: str, scope: str
    ) -> None:
        secrets = {"CODEX_AUTH_JSON": "{}", stray: "stray"}
        decision = launch("codex", "gpt-5.5", **{scope: secrets})  # type: ignore[arg-type]
        assert stray not in environment(decision)
        assert stray in removed(decision)
        assert warnings(decision) == (["RIVAL_CREDENTIAL_REMOVED"] if scope == "workspace" else [])

    def test_a_model_id_cannot_leave_its_quotes_or_name_a_variable(self) -> None:
        odd = 'openai-api/a"\\ ${WORKSPACE_BOOTSTRAP_TICKET} $$ {endpoint}\x7f'
        plan = recipe("codex", odd, tenant={"OPENAI_API_KEY": "own"})
        content = plan.files[0].content
        assert "$${WORKSPACE_BOOTSTRAP_TICKET} $$$$" in content
        config = tomllib.loads(content.replace("$$", "$"))
        assert config["model"] == odd.removeprefix("openai-api/")


def test_the_launch_is_one_line_of_ascii_for_whoever_starts_the_box() -> None:
    decision = launch("codex", "gpt-5.5", tenant={"CODEX_AUTH_JSON": "do-not-show"})
    text = environment(decision)["WORKSPACE_LAUNCH"]
    assert text.isascii()
    assert "\n" not in text
    assert "do-not-show" not in text
    document = json.loads(text)
    assert document.keys() == {"version", "arguments", "directories", "files", "unset"}
    assert document["version"] == 1
    assert document["directories"] == [{"env": "CODEX_HOME", "path": "codex"}]
    assert document["files"][1] == {
        "path": "codex/auth.json",
        "mode": "0600",
        "content": "${CODEX_AUTH_JSON}",
        "secret": True,
    }
    assert {"CODEX_API_KEY", "OPENAI_BASE_URL", "CODEX_SQLITE_HOME"} <= set(document["unset"])
    assert "CODEX_AUTH_JSON" not in document["unset"]


def test_what_is_handed_on_is_never_taken_out_again() -> None:
    decision = launch(model="MiniMax-M2.7", tenant={"MINIMAX_API_KEY": "own"})
    unset = json.loads(environment(decision)["WORKSPACE_LAUNCH"])["unset"]
    assert not set(unset) & environment(decision).keys()


def test_disabled_and_external_like_launches_have_no_recipe() -> None:
    for decision in (launch(model="opus", override="disabled"), launch("external")):
        assert decision.plan is not None
        assert decision.plan.launch is None
        assert "WORKSPACE_LAUNCH" not in environment(decision)


def test_a_launch_that_would_not_fit_into_a_variable_is_refused() -> None:
    long = "openai-api/" + "x" * MAX_LAUNCH_BYTES
    decision = launch("codex", tenant={"OPENAI_API_KEY": "own", "MODEL": long})
    assert reason(decision) == "SECRET_LIMIT_EXCEEDED"
    assert message(decision).endswith("; shorten the model id or the endpoint")


def test_the_proxys_address_can_name_the_workspace() -> None:
    proxy = PlatformProxy(
        base_url="https://llm.platform.test/{workspace_id}/v1", usage_token=Secret("usage")
    )
    env = environment(launch("codex", "openai/gpt-5.4", platform=proxy))
    assert env["OPENAI_BASE_URL"] == f"https://llm.platform.test/{WORKSPACE}/v1"
    assert f"https://llm.platform.test/{WORKSPACE}/v1" in env["WORKSPACE_LAUNCH"]


SIXTH = """
  - name: sixth
    recipe:
      reads: [SIXTH_KEY, {name: OPENAI_API_KEY, vendor: openrouter}]
      routes:
        switches: [SIXTH_PROFILE]
        models: [SIXTH_DEFAULT_MODEL]
        headers: [SIXTH_HEADERS]
        endpoints: [SIXTH_BASE_URL]
      directories: [{env: SIXTH_HOME, path: .}]
      words: {dialect: chat}
      ways:
        - key: SIXTH_KEY
          model: 'own/{id}'
          endpoint_from: [SIXTH_BASE_URL]
          env: {SIXTH_DEFAULT_MODEL: '{model}'}
          arguments: [--model, '{model}', --settings, '${SIXTH_SETTINGS}']
          files:
            - path: settings.json
              env: SIXTH_SETTINGS
              text: '{"url": "{endpoint}", "key": "$${{key_env}}", "dialect": "{dialect}"}'
    providers:
      - name: platform
        models: [sixth/one]
      - name: byok-openai
        models: [two]
"""
WITH_A_SIXTH = parse_catalogue(edited() + SIXTH, file="sixth.yaml")


class TestASixthRuntime:
    """A runtime that is added by editing nothing but the file."""

    OWN: ClassVar = {"OPENAI_API_KEY": "own"}

    def test_it_is_launched_by_its_recipe(self) -> None:
        decision = launch("sixth", "two", catalogue=WITH_A_SIXTH, workspace=self.OWN)
        assert decision.plan is not None
        assert decision.plan.launch is not None
        env = environment(decision)
        assert env["SIXTH_DEFAULT_MODEL"] == "own/two"
        assert env["SIXTH_KEY"] == "own"
        plan = decision.plan.launch
        assert plan.arguments == ("--model", "own/two", "--settings", "${SIXTH_SETTINGS}")
        (file,) = plan.files
        assert (file.path, file.env) == ("settings.json", "SIXTH_SETTINGS")
        assert file.content == (
            '{"url": "https://api.openai.com/v1", "key": "$${SIXTH_KEY}", "dialect": "chat"}'
        )

    def test_a_name_that_it_sends_to_a_stranger_is_renamed_and_said(self) -> None:
        decision = launch("sixth", "two", catalogue=WITH_A_SIXTH, workspace=self.OWN)
        assert "OPENAI_API_KEY" not in environment(decision)
        (notice,) = decision.warnings
        assert notice.code == "CREDENTIAL_RENAMED"
        assert notice.text == (
            "OPENAI_API_KEY (workspace) would be sent by sixth to openrouter: it is handed on as"
            " SIXTH_KEY, so it does not reach the box; read SIXTH_KEY in programs of your own"
        )

    def test_the_platforms_key_stands_under_no_name_that_goes_to_a_stranger(self) -> None:
        env = environment(launch("sixth", "sixth/one", catalogue=WITH_A_SIXTH))
        assert "OPENAI_API_KEY" not in env
        assert env["SIXTH_KEY"] == "usage-token-of-the-tenant"

    def test_where_the_proxy_cannot_learn_the_workspace_it_is_said(self) -> None:
        decision = launch("sixth", "sixth/one", catalogue=WITH_A_SIXTH)
        assert warnings(decision) == ["WORKSPACE_NOT_METERED"]
        metered = PlatformProxy(
            base_url="https://llm.platform.test/{workspace_id}", usage_token=Secret("usage")
        )
        decision = launch("sixth", "sixth/one", catalogue=WITH_A_SIXTH, platform=metered)
        assert warnings(decision) == []

    @pytest.mark.parametrize("name", ["SIXTH_PROFILE", "SIXTH_HOME", "SIXTH_SETTINGS"])
    @pytest.mark.parametrize("model", ["two", "sixth/one"])
    def test_its_switches_and_sources_of_settings_are_route_names(
        self, name: str, model: str
    ) -> None:
        secrets = {**self.OWN, name: "elsewhere"}
        decision = launch("sixth", model, catalogue=WITH_A_SIXTH, workspace=secrets)
        assert name not in environment(decision)
        assert removed(decision)[name] == (
            "would lead sixth to another endpoint, vendor or set of settings"
        )
        assert "ROUTE_NAME_REMOVED" in warnings(decision)


class TestHermes:
    def config(self, plan: LaunchPlan) -> dict[str, object]:
        (file,) = (file for file in plan.files if file.path == "hermes/config.yaml")
        found = yaml.safe_load(file.content)
        assert isinstance(found, dict)
        return found

    @pytest.mark.parametrize(
        ("model", "own", "endpoint", "key", "dialect", "spelled"),
        [
            ("openrouter/a/b", "OPENROUTER_API_KEY", "https://openrouter.ai/api/v1",
             "OPENROUTER_API_KEY", "chat_completions", "a/b"),
            ("kimi-coding/kimi-k2", "KIMI_API_KEY", "https://api.kimi.com/coding",
             "KIMI_API_KEY", "anthropic_messages", "kimi-k2"),
            ("anthropic/claude-x", "ANTHROPIC_API_KEY", "https://api.anthropic.com",
             "ANTHROPIC_API_KEY", "anthropic_messages", "claude-x"),
            ("openai:gpt-x", "OPENAI_API_KEY", "https://api.openai.com/v1",
             "HERMES_LLM_API_KEY", "codex_responses", "gpt-x"),
            ("huggingface/a/b", "HF_TOKEN", "https://router.huggingface.co/v1",
             "HF_TOKEN", "chat_completions", "a/b"),
        ],
    )  # fmt: skip
    def test_its_settings_name_the_key_and_the_endpoint_of_the_vendor(  # noqa: PLR0917  # a row of the table
        self, model: str, own: str, endpoint: str, key: str, dialect: str, spelled: str
    ) -> None:
        plan = recipe("hermes", model, tenant={own: "own"})
        config = self.config(plan)
        assert config["providers"] == {
            "workspace": {
                "name": "workspace",
                "base_url": endpoint,
                "key_env": key,
                "transport": dialect,
                "default_model": spelled,
                "discover_models": False,
                "extra_headers": {},
            }
        }
        assert [(made.env, made.path) for made in plan.directories] == [("HERMES_HOME", "hermes")]

    def test_openais_key_never_stands_where_it_goes_to_openrouter(self) -> None:
        decision = launch("hermes", "openai:gpt-x", workspace={"OPENAI_API_KEY": "own"})
        env = environment(decision)
        assert "OPENAI_API_KEY" not in env
        assert env["HERMES_LLM_API_KEY"] == "own"
        assert warnings(decision) == ["MODEL_NOT_LISTED", "CREDENTIAL_RENAMED"]

    def test_the_platforms_key_stands_under_its_own_name_alone(self) -> None:
        env = environment(launch("hermes", "moonshot/kimi-k2.6"))
        holders = {name for name, value in env.items() if value == "usage-token-of-the-tenant"}
        assert holders == {"MOLECULE_LLM_USAGE_TOKEN"}
        providers = self.config(recipe("hermes", "moonshot/kimi-k2.6"))["providers"]
        assert isinstance(providers, dict)
        assert providers["workspace"]["key_env"] == "MOLECULE_LLM_USAGE_TOKEN"
        assert providers["workspace"]["extra_headers"] == {"X-Molecule-Workspace-Id": WORKSPACE}

    def test_what_the_table_has_and_a_stranger_would_get_is_said_in_the_steps(self) -> None:
        decision = launch("hermes", "moonshot/kimi-k2.6")
        (step,) = (s for s in decision.resolution.steps if s.rule == "environment.renamed")
        assert step.inputs == ("OPENAI_API_KEY", "MOLECULE_LLM_USAGE_TOKEN")
        assert step.text == (
            "OPENAI_API_KEY would be sent by hermes to openrouter: it is handed on as"
            " MOLECULE_LLM_USAGE_TOKEN"
        )
        assert decision.warnings == ()

    def test_over_a_model_that_nothing_derives_openais_key_does_not_go_along_either(self) -> None:
        own = {"KIMI_API_KEY": "one", "OPENAI_API_KEY": "two", "NVIDIA_API_KEY": "three"}
        env = environment(launch("hermes", "unheard-of", override="byok", workspace=own))
        assert "OPENAI_API_KEY" not in env
        assert env["NVIDIA_API_KEY"] == "three"

    def test_anthropics_bearer_does_not_go_to_a_vendor_of_its_dialect(self) -> None:
        own = {"DEEPSEEK_API_KEY": "own", "ANTHROPIC_AUTH_TOKEN": "stray"}
        decision = launch("hermes", "deepseek-chat", workspace=own)
        assert "ANTHROPIC_AUTH_TOKEN" not in environment(decision)
        assert warnings(decision) == ["MODEL_NOT_LISTED", "RIVAL_CREDENTIAL_REMOVED"]

    def test_an_endpoint_that_nobody_knows_is_asked_for(self) -> None:
        decision = launch("hermes", "custom/x", workspace={"CUSTOM_API_KEY": "own"})
        assert warnings(decision) == ["MODEL_NOT_LISTED", "ENDPOINT_UNKNOWN"]
        assert decision.plan is not None
        assert decision.plan.launch is not None
        assert decision.plan.launch.files == ()
        own = {"CUSTOM_API_KEY": "own", "HERMES_CUSTOM_BASE_URL": "https://llm.tenant.test/v1"}
        plan = recipe("hermes", "custom/x", workspace=own)
        assert "${HERMES_CUSTOM_BASE_URL}" in plan.files[0].content


class TestOpenClaw:
    def test_its_settings_name_the_key_and_leave_filling_it_in_to_the_program(self) -> None:
        plan = recipe("openclaw", "groq:llama", tenant={"GROQ_API_KEY": "own"})
        (file,) = plan.files
        assert file.path == "openclaw/openclaw.json"
        config = json.loads(file.content.replace("$$", "$"))
        assert config["agents"]["defaults"]["model"] == {"primary": "resolved/llama"}
        provider = config["models"]["providers"]["resolved"]
        assert provider["baseUrl"] == "https://api.groq.com/openai/v1"
        assert provider["apiKey"] == "${GROQ_API_KEY}"
        assert provider["models"][0]["id"] == "llama"

    def test_the_platforms_key_stands_under_its_own_name_alone(self) -> None:
        env = environment(launch("openclaw", "moonshot/kimi-k2.6"))
        holders = {name for name, value in env.items() if value == "usage-token-of-the-tenant"}
        assert holders == {"MOLECULE_LLM_USAGE_TOKEN"}


class TestGoogleAdk:
    @pytest.mark.parametrize(
        ("model", "own", "spelled"),
        [
            ("platform:gemini-2.5-pro", {}, "openai/gemini-2.5-pro"),
            ("google_genai:gemini-2.5-pro", {"GEMINI_API_KEY": "own"}, "gemini-2.5-pro"),
            ("gemini-2.5-pro", {"GOOGLE_API_KEY": "own"}, "gemini-2.5-pro"),
        ],
    )
    def test_a_program_of_ones_own_is_told_the_model(
        self, model: str, own: dict[str, str], spelled: str
    ) -> None:
        env = environment(launch("google-adk", model, tenant=own))
        assert env["ADK_MODEL"] == spelled
        header = f"X-Molecule-Workspace-Id: {WORKSPACE}"
        assert env.get("OPENAI_CUSTOM_HEADERS") == (None if own else header)

    def test_only_one_of_googles_two_names_reaches_it(self) -> None:
        own = {"GEMINI_API_KEY": "one", "GOOGLE_API_KEY": "two"}
        decision = launch("google-adk", "gemini-2.5-pro", workspace=own)
        assert "GOOGLE_API_KEY" not in environment(decision)
        assert warnings(decision) == ["RIVAL_CREDENTIAL_REMOVED"]


README = CATALOGUE_FILE.parents[1] / "README.md"


def test_the_runtime_of_the_readme_is_added_by_editing_the_file_alone() -> None:
    text = README.read_text(encoding="utf-8")
    (block,) = (
        part for part in text.split("```yaml\n")[1:] if part.startswith("  - name: opencode")
    )
    catalogue = parse_catalogue(edited() + block.split("```")[0], file="with-opencode.yaml")
    secrets = {"OPENROUTER_API_KEY": "own"}
    decision = launch(
        "opencode", "openrouter/anthropic/claude-sonnet-4.5", catalogue=catalogue, tenant=secrets
    )
    assert decision.plan is not None
    assert decision.plan.launch is not None
    files = {file.env: file for file in decision.plan.launch.files}
    file = files["OPENCODE_CONFIG"]
    config = json.loads(file.content)
    assert config["model"] == "resolved/anthropic/claude-sonnet-4.5"
    assert config["provider"]["resolved"]["options"] == {
        "baseURL": "https://openrouter.ai/api/v1",
        "apiKey": "{env:OPENROUTER_API_KEY}",
        "headers": {},
    }
    platform = launch("opencode", "openai/gpt-5.4", catalogue=catalogue)
    assert "OPENAI_API_KEY" not in environment(platform)
    assert '"apiKey": "{env:MOLECULE_LLM_USAGE_TOKEN}"' in environment(platform)[
        "WORKSPACE_LAUNCH"
    ].replace('\\"', '"')
