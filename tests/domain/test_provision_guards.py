"""What may be written as a secret, and what a model secret turns into."""

from __future__ import annotations

import pytest

from agentworkspace.core.refusal import Refusal
from provision_service.domain.billing import BillingMode
from provision_service.domain.guards import (
    refuse_forbidden,
    refuse_global_bypass,
    refuse_too_much,
    refuse_workspace_bypass,
    secret_violations,
    secrets_violations,
    take_model,
)
from provision_service.domain.refusals import Reason
from provision_service.domain.scope import Scope
from tests.domain.provision_launches import CATALOGUE


@pytest.mark.parametrize("key", ["A", "_", "a1", "GREETING", "A" * 128])
def test_a_key_like_an_environment_name_is_right(key: str) -> None:
    assert secret_violations(key, "x") == []


@pytest.mark.parametrize("key", ["", "1A", "A-B", "A B", "A" * 129, "A=", "\u00c4", "A\n", "A.B"])
def test_any_other_key_is_a_violation(key: str) -> None:
    assert [v.field for v in secret_violations(key, "x", field="secrets[0]")] == ["secrets[0].key"]


@pytest.mark.parametrize("value", ["x", " ", "x" * 65536, "\u2603" * 21845])
def test_a_value_of_1_byte_to_64_kib_is_right(value: str) -> None:
    assert secret_violations("A", value) == []


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("", "must be 1 byte to 64 KiB, not 0 bytes"),
        ("x" * 65537, "must be 1 byte to 64 KiB, not 65537 bytes"),
        ("\u2603" * 21846, "must be 1 byte to 64 KiB, not 65538 bytes"),
        ("a\0b", "must not contain a NUL character"),
    ],
)
def test_any_other_value_is_a_violation(value: str, said: str) -> None:
    assert [(v.field, v.description) for v in secret_violations("A", value)] == [("value", said)]


def test_every_violation_of_a_map_is_listed_with_its_key() -> None:
    found = secrets_violations({"GOOD": "x", "1": "", "B": "a\0"})
    assert [v.field for v in found] == ["secrets[1].key", "secrets[1].value", "secrets[B].value"]


def test_a_violation_never_shows_a_value() -> None:
    assert "do-not-show" not in repr(secrets_violations({"A": "do-not-show\0"}))


def test_all_secrets_together_are_at_most_512_kib() -> None:
    refuse_too_much(524288)
    with pytest.raises(Refusal) as caught:
        refuse_too_much(524289)
    assert caught.value.reason is Reason.SECRET_LIMIT_EXCEEDED
    assert caught.value.metadata == {"bytes": "524289", "limit_bytes": "524288"}


SOURCE_HOSTS = [
    "GITEA_TOKEN", "GITHUB_TOKEN", "GH_TOKEN", "GITLAB_TOKEN", "GL_TOKEN", "BITBUCKET_TOKEN",
]  # fmt: skip
CLOSED = [
    "ADMIN_TOKEN", "AWS_ACCESS_KEY_ID", "GITEA_PAT", "GITHUB_PAT", "SECRETS_ENCRYPTION_KEY",
    "MOLECULE_OPERATOR_ANYTHING", "WORKSPACE_ID", "WORKSPACE_", "MOLECULE_LLM_USAGE_TOKEN",
    "MOLECULE_MODELS", "PATH", "LD_PRELOAD", "PYTHONPATH", "PYTHON", "NODE_OPTIONS",
]  # fmt: skip
OPEN = [
    "MOLECULE_MODEL", "MODEL", "PATHS", "LDX", "NODE_OPTION", "WORKSPACE", "path", "MY_PATH",
    "OPENAI_API_KEY", "LLM_PROVIDER", "GREETING", "github_token",
]  # fmt: skip


@pytest.mark.parametrize("scope", list(Scope))
@pytest.mark.parametrize("key", CLOSED)
def test_a_forbidden_or_reserved_name_is_refused_at_every_scope(key: str, scope: Scope) -> None:
    with pytest.raises(Refusal) as caught:
        refuse_forbidden(CATALOGUE, key, scope)
    assert caught.value.reason is Reason.FORBIDDEN_ENV_KEY
    assert caught.value.metadata == {"keys": key, "scope": scope.value}
    assert "choose another" in caught.value.message


@pytest.mark.parametrize("scope", list(Scope))
@pytest.mark.parametrize("key", OPEN)
def test_any_other_name_is_allowed_at_every_scope(key: str, scope: Scope) -> None:
    refuse_forbidden(CATALOGUE, key, scope)


@pytest.mark.parametrize("key", SOURCE_HOSTS)
def test_a_source_host_token_is_allowed_on_a_workspace_only(key: str) -> None:
    refuse_forbidden(CATALOGUE, key, Scope.WORKSPACE)
    with pytest.raises(Refusal) as caught:
        refuse_forbidden(CATALOGUE, key, Scope.GLOBAL)
    assert caught.value.reason is Reason.FORBIDDEN_ENV_KEY
    assert "set it on the workspace" in caught.value.message


@pytest.mark.parametrize("key", ["OPENAI_API_KEY", "XAI_API_KEY", "ANTHROPIC_BASE_URL"])
def test_a_tenant_that_the_platform_pays_for_sets_no_bypass_name(key: str) -> None:
    with pytest.raises(Refusal) as caught:
        refuse_global_bypass(CATALOGUE, key, BillingMode.PLATFORM_MANAGED)
    assert caught.value.reason is Reason.BYPASS_KEY_REFUSED
    assert caught.value.metadata == {"key": key, "scope": "global"}
    refuse_global_bypass(CATALOGUE, key, BillingMode.BYOK)


@pytest.mark.parametrize("key", ["GROQ_API_KEY", "GOOGLE_API_KEY", "GREETING", "MODEL"])
def test_a_tenant_that_the_platform_pays_for_sets_everything_else(key: str) -> None:
    refuse_global_bypass(CATALOGUE, key, BillingMode.PLATFORM_MANAGED)


@pytest.mark.parametrize(
    ("key", "runtime", "refused"),
    [
        ("OPENAI_API_KEY", "claude-code", True),
        ("OPENAI_BASE_URL", "claude-code", True),
        ("GOOGLE_API_KEY", "claude-code", False),
        ("GOOGLE_API_KEY", "google-adk", True),
        ("GROQ_API_KEY", "openclaw", True),
        ("GREETING", "openclaw", False),
    ],
)
def test_a_workspace_that_the_platform_pays_for_sets_no_bypass_name_of_its_runtime(
    key: str, runtime: str, refused: bool
) -> None:
    paid = BillingMode.PLATFORM_MANAGED
    if refused:
        with pytest.raises(Refusal) as caught:
            refuse_workspace_bypass(CATALOGUE, key, runtime=runtime, resolved_mode=paid)
        assert caught.value.reason is Reason.BYPASS_KEY_REFUSED
        assert caught.value.metadata == {"key": key, "scope": "workspace"}
    else:
        refuse_workspace_bypass(CATALOGUE, key, runtime=runtime, resolved_mode=paid)
    for mode in (BillingMode.BYOK, BillingMode.DISABLED):
        refuse_workspace_bypass(CATALOGUE, key, runtime=runtime, resolved_mode=mode)


@pytest.mark.parametrize(
    ("secrets", "kept", "model"),
    [
        ({"MODEL": "opus", "A": "1"}, {"A": "1"}, "opus"),
        ({"MOLECULE_MODEL": "opus", "MODEL": "haiku"}, {}, "opus"),
        ({"MODEL": "opus", "MOLECULE_MODEL": "haiku"}, {}, "haiku"),
        ({"MOLECULE_MODEL": " ", "MODEL": " haiku\n"}, {}, "haiku"),
        ({"MOLECULE_MODEL": " "}, {}, ""),
        ({"A": "1"}, {"A": "1"}, ""),
        ({"LLM_PROVIDER": "x", "MODEL_PROVIDER": "y"}, {"LLM_PROVIDER": "x", "MODEL_PROVIDER": "y"},
         ""),
    ],
)  # fmt: skip
def test_a_model_written_as_a_workspace_secret_leaves_no_secret(
    secrets: dict[str, str], kept: dict[str, str], model: str
) -> None:
    assert take_model(secrets) == (kept, model)
