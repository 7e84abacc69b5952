"""Every refusal and every warning of a launch, word for word, with its metadata."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from agentworkspace.core.secret import Secret
from provision_service.catalogue.catalogue import Runtime
from provision_service.catalogue.parse import parse_catalogue
from provision_service.domain.decision import Decision, Inputs, decide
from provision_service.domain.scope import Scope
from provision_service.domain.secrets import StoredSecret, merge
from provision_service.domain.spec import WorkspaceSpec
from tests.domain.provision_launches import CATALOGUE, NO_PROXY, PROXY, WORKSPACE, edited, launch
from tests.domain.test_provision_derivation import WITHDRAWN
from tests.domain.test_provision_steps import TWO_PATTERNS

OAUTH = {"CLAUDE_CODE_OAUTH_TOKEN": "own"}
KIMI = {"KIMI_API_KEY": "own"}
VERSION = CATALOGUE.version
ODD_PLATFORM_MODEL = parse_catalogue(
    edited(("          - anthropic/claude-opus-4-7\n", "          - odd/strange-1\n")),
    file="odd-platform-model.yaml",
)


def with_rows(*rows: StoredSecret) -> Decision:
    """Decide over rows as the store gives them."""
    return decide(
        Inputs(
            workspace_id=WORKSPACE,
            spec=WorkspaceSpec(runtime="claude-code", model="opus"),
            secrets=merge(
                [row for row in rows if row.scope is Scope.GLOBAL],
                [row for row in rows if row.scope is Scope.WORKSPACE],
            ),
            catalogue=CATALOGUE,
            platform=PROXY,
        )
    )


REFUSALS: dict[str, tuple[Callable[[], Decision], str, str, dict[str, str]]] = {
    "forbidden names": (
        lambda: with_rows(
            StoredSecret("GITHUB_TOKEN", Scope.GLOBAL, Secret("x")),
            StoredSecret("WORKSPACE_ID", Scope.WORKSPACE, Secret("x")),
        ),
        "FORBIDDEN_ENV_KEY",
        (
            "GITHUB_TOKEN (tenant-wide), WORKSPACE_ID (workspace)"
            " is a name that no tenant may set; delete it"
        ),
        {"keys": "GITHUB_TOKEN,WORKSPACE_ID"},
    ),
    "unreadable": (
        lambda: with_rows(StoredSecret("GREETING", Scope.WORKSPACE, None)),
        "SECRET_UNDECRYPTABLE",
        (
            "GREETING (workspace)"
            " cannot be decrypted; set it again, or restore the key it was encrypted with"
        ),
        {"keys": "GREETING"},
    ),
    "comingled": (
        lambda: with_rows(StoredSecret("KIMI_API_KEY", Scope.GLOBAL, Secret("x"), comingled=True)),
        "PLATFORM_CREDENTIAL_COMINGLED",
        (
            "KIMI_API_KEY (tenant-wide)"
            " holds a credential of the platform; replace it with the tenant's own"
        ),
        {"keys": "KIMI_API_KEY"},
    ),
    "unknown runtime": (
        lambda: launch("nope", "opus"),
        "RUNTIME_UNKNOWN",
        (
            "runtime `nope` is not in the catalogue; use one of:"
            " claude-code, hermes, codex, openclaw, google-adk, external, kimi, kimi-cli"
        ),
        {"runtime": "nope", "catalogue_version": VERSION},
    ),
    "no model": (
        lambda: launch("claude-code"),
        "MODEL_REQUIRED",
        (
            "runtime `claude-code` needs a model and none is set in the spec or in"
            " MOLECULE_MODEL or MODEL; for example `sonnet`"
        ),
        {"runtime": "claude-code", "model": "", "catalogue_version": VERSION},
    ),
    "no model, and a credential for one": (
        lambda: launch("claude-code", tenant=KIMI),
        "MODEL_REQUIRED",
        (
            "runtime `claude-code` needs a model and none is set in the spec or in"
            " MOLECULE_MODEL or MODEL; with your KIMI_API_KEY use `kimi-for-coding`"
        ),
        {"runtime": "claude-code", "model": "", "catalogue_version": VERSION},
    ),
    "no model, and no default": (
        lambda: launch("codex"),
        "MODEL_REQUIRED",
        (
            "runtime `codex` needs a model and none is set in the spec or in"
            " MOLECULE_MODEL or MODEL; for example `gpt-5.5`"
        ),
        {"runtime": "codex", "model": "", "catalogue_version": VERSION},
    ),
    "no model, and a default that is not the first": (
        lambda: launch("openclaw"),
        "MODEL_REQUIRED",
        (
            "runtime `openclaw` needs a model and none is set in the spec or in"
            " MOLECULE_MODEL or MODEL; for example `minimax:MiniMax-M2.7`"
        ),
        {"runtime": "openclaw", "model": "", "catalogue_version": VERSION},
    ),
    "ambiguous": (
        lambda: launch("codex", "gpt-9", catalogue=TWO_PATTERNS),
        "PROVIDER_AMBIGUOUS",
        (
            "`gpt-9` could be served by openai-subscription or openai-api:"
            " set the credential of exactly one of them (CODEX_AUTH_JSON, OPENAI_API_KEY)"
        ),
        {
            "runtime": "codex",
            "model": "gpt-9",
            "catalogue_version": TWO_PATTERNS.version,
            "providers": "openai-subscription,openai-api",
        },
    ),
    "unregistered": (
        lambda: launch("claude-code", "opuss"),
        "MODEL_UNREGISTERED",
        "no provider of runtime `claude-code` serves `opuss`; for example `sonnet`",
        {"runtime": "claude-code", "model": "opuss", "catalogue_version": VERSION},
    ),
    "withdrawn": (
        lambda: launch(
            "claude-code", "kimi-k2.5", at_create=True, catalogue=WITHDRAWN, tenant=KIMI
        ),
        "MODEL_WITHDRAWN",
        (
            "`kimi-k2.5` is withdrawn and not given to new workspaces;"
            " with your KIMI_API_KEY use `kimi-k2`"
        ),
        {
            "runtime": "claude-code",
            "model": "kimi-k2.5",
            "catalogue_version": WITHDRAWN.version,
        },
    ),
    "another credential": (
        lambda: launch("claude-code", "claude-opus-4-7", tenant=OAUTH),
        "MISSING_BYOK_CREDENTIAL",
        (
            "provider anthropic-api: `claude-opus-4-7` needs ANTHROPIC_API_KEY (accepted:"
            " ANTHROPIC_API_KEY, ANTHROPIC_AUTH_TOKEN); with your CLAUDE_CODE_OAUTH_TOKEN use"
            " `opus`, or add ANTHROPIC_API_KEY"
        ),
        {
            "runtime": "claude-code",
            "model": "claude-opus-4-7",
            "provider": "anthropic-api",
            "accepted": "ANTHROPIC_API_KEY,ANTHROPIC_AUTH_TOKEN",
        },
    ),
    "a shared name": (
        lambda: launch("claude-code", "MiniMax-M2", tenant={"ANTHROPIC_AUTH_TOKEN": "own"}),
        "MISSING_BYOK_CREDENTIAL",
        (
            "provider minimax: `MiniMax-M2` needs MINIMAX_API_KEY (accepted: MINIMAX_API_KEY,"
            " ANTHROPIC_AUTH_TOKEN on the workspace itself, ANTHROPIC_API_KEY on the workspace"
            " itself); with your ANTHROPIC_AUTH_TOKEN use `claude-sonnet-4-6`, or add"
            " MINIMAX_API_KEY; a shared name set tenant-wide counts for Anthropic's own API only"
        ),
        {
            "runtime": "claude-code",
            "model": "MiniMax-M2",
            "provider": "minimax",
            "accepted": "MINIMAX_API_KEY,ANTHROPIC_AUTH_TOKEN,ANTHROPIC_API_KEY",
        },
    ),
    "byok over the platform's model": (
        lambda: launch("google-adk", "platform:gemini-2.5-pro", override="byok"),
        "MISSING_BYOK_CREDENTIAL",
        (
            "provider google: `gemini-2.5-pro` needs GEMINI_API_KEY"
            " (accepted: GEMINI_API_KEY, GOOGLE_API_KEY); add GEMINI_API_KEY"
        ),
        {
            "runtime": "google-adk",
            "model": "gemini-2.5-pro",
            "provider": "google",
            "accepted": "GEMINI_API_KEY,GOOGLE_API_KEY",
        },
    ),
    "byok over a model of the platform that no vendor of the runtime serves": (
        lambda: launch(
            "claude-code", "odd/strange-1", override="byok", catalogue=ODD_PLATFORM_MODEL
        ),
        "MODEL_UNREGISTERED",
        (
            "no provider of runtime `claude-code` serves `strange-1`, which is the vendor's"
            " own id behind `odd/strange-1`; for example `sonnet`"
        ),
        {
            "runtime": "claude-code",
            "model": "strange-1",
            "platform_model": "odd/strange-1",
            "catalogue_version": ODD_PLATFORM_MODEL.version,
        },
    ),
    "byok over no known model": (
        lambda: launch("openclaw", "zzz", override="byok"),
        "MISSING_BYOK_CREDENTIAL",
        (
            "the billing override says byok and `zzz` is not in the catalogue:"
            " add a credential of one of the runtime's own vendors (KIMI_API_KEY,"
            " OPENROUTER_API_KEY, CUSTOM_API_KEY, OPENAI_API_KEY, MINIMAX_API_KEY, GROQ_API_KEY),"
            " or clear the override"
        ),
        {
            "runtime": "openclaw",
            "model": "zzz",
            "accepted": "KIMI_API_KEY,OPENROUTER_API_KEY,CUSTOM_API_KEY,OPENAI_API_KEY,"
            "MINIMAX_API_KEY,GROQ_API_KEY",
        },
    ),
    "no proxy": (
        lambda: launch("codex", "openai/gpt-5.4", platform=NO_PROXY),
        "MISSING_PLATFORM_PROXY",
        (
            "the platform would pay for `openai/gpt-5.4` in runtime `codex`, and this deployment"
            " lacks PLATFORM_LLM_BASE_URL and a usage token for the tenant"
        ),
        {
            "runtime": "codex",
            "model": "openai/gpt-5.4",
            "missing": "PLATFORM_LLM_BASE_URL,a usage token for the tenant",
        },
    ),
    "required": (
        lambda: launch(
            model="opus",
            tenant={**OAUTH, "LLM_PROVIDER": "x"},
            required_env=("A", "LLM_PROVIDER", "CLAUDE_CODE_OAUTH_TOKEN", "WORKSPACE_ID"),
        ),
        "MISSING_REQUIRED_ENV",
        (
            "the workspace requires A, LLM_PROVIDER (set, but a retired way to choose a model:"
            " never emitted): set it as a secret, or take it off required_env"
        ),
        {"keys": "A,LLM_PROVIDER"},
    ),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_a_refusal_says_what_and_the_remedy(case: str) -> None:
    decide_it, reason, message, metadata = REFUSALS[case]
    decision = decide_it()
    assert decision.refusal is not None
    assert decision.refusal.reason.value == reason
    assert decision.refusal.message == message
    assert dict(decision.refusal.metadata or {}) == metadata


WARNINGS: list[tuple[Mapping[str, Any], str, str]] = [
    (
        {"model": "kimi-k2.5", "catalogue": WITHDRAWN, "tenant": KIMI},
        "MODEL_WITHDRAWN",
        "`kimi-k2.5` is withdrawn: choose another for the future",
    ),
    (
        {"model": "opus", "override": "platform_managed"},
        "OVERRIDE_PLATFORM_OVER_VENDOR_MODEL",
        "`opus` is served by anthropic-oauth, and the override bills it to the platform",
    ),
    (
        {
            "model": "anthropic/claude-opus-4-7",
            "override": "byok",
            "tenant": {"ANTHROPIC_API_KEY": "own"},
        },
        "OVERRIDE_BYOK_OVER_PLATFORM_MODEL",
        (
            "`anthropic/claude-opus-4-7` is a model of the platform, and the override bills it to"
            " the tenant's key: the box runs anthropic-api's `claude-opus-4-7`"
        ),
    ),
    (
        {"model": "claude-opsu-9000", "tenant": {"ANTHROPIC_API_KEY": "own"}},
        "MODEL_NOT_LISTED",
        (
            "`claude-opsu-9000` is on no menu of runtime `claude-code`: it launches because a"
            " pattern of anthropic-api matches it, so check its spelling; the nearest on the menu"
            " are `claude-opus-4-8`, `claude-opus-4-7`, `claude-haiku-4-5`"
        ),
    ),
    (
        {"model": "zzz", "override": "byok", "tenant": OAUTH},
        "OVERRIDE_BYOK_OVER_UNDERIVABLE_MODEL",
        "no provider derives for `zzz`: every credential of the tenant is left in place",
    ),
]


@pytest.mark.parametrize(("arguments", "code", "text"), WARNINGS)
def test_a_warning_says_what_is_unusual(arguments: Mapping[str, Any], code: str, text: str) -> None:
    decision = launch(**arguments)
    assert decision.refusal is None
    assert [(notice.code, notice.text) for notice in decision.warnings] == [(code, text)]


@pytest.mark.parametrize(
    "arguments",
    [
        {"model": "opus", "override": "byok", "tenant": OAUTH},
        {"model": "opus", "tenant": OAUTH},
        {"model": "anthropic/claude-opus-4-7", "override": "platform_managed"},
        {"model": "zzz", "override": "disabled"},
        {"model": "", "override": "byok", "tenant": OAUTH},
        {"runtime": "nope", "model": "opus", "override": "byok", "tenant": OAUTH},
        {"runtime": "external", "model": "zzz", "override": "byok"},
    ],
)
def test_what_is_usual_or_refused_anyway_is_not_warned_of(arguments: Mapping[str, Any]) -> None:
    assert launch(**arguments).warnings == ()


def test_a_required_name_that_is_blank_is_missing() -> None:
    decision = launch(
        model="opus", workspace={**OAUTH, "GREETING": " "}, required_env=("GREETING",)
    )
    assert decision.refusal is not None
    assert decision.refusal.reason.value == "MISSING_REQUIRED_ENV"


def test_where_there_is_nothing_to_use_no_example_is_given() -> None:
    bare = replace(CATALOGUE, runtimes={"bare": Runtime(name="bare", offerings=())})
    decision = launch("bare", "x", catalogue=bare)
    assert decision.refusal is not None
    assert decision.refusal.message == "no provider of runtime `bare` serves `x`"


def test_a_launch_is_no_creation_unless_it_says_so() -> None:
    relaunch = Inputs(
        workspace_id=WORKSPACE,
        spec=WorkspaceSpec(runtime="claude-code", model="kimi-k2.5"),
        secrets=merge((), [StoredSecret("KIMI_API_KEY", Scope.WORKSPACE, Secret("own"))]),
        catalogue=WITHDRAWN,
        platform=PROXY,
    )
    assert decide(relaunch).refusal is None
