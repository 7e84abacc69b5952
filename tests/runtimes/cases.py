"""Every launch that is tried with the real programs, and what must be seen, written down by hand.

Read from the catalogue, an expectation would repeat the catalogue's mistakes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from tests.runtimes.rig import PROXY_PORT

PLATFORM: Final = f"https://llm.platform.test:{PROXY_PORT}"
USAGE_TOKEN: Final = "the platform's usage token"

BY_KEY: Final = "byok by key"
BY_OAUTH: Final = "byok by oauth"
BY_VENDOR: Final = "byok by another vendor"
OVERRIDDEN: Final = "byok over a platform model"
MANAGED: Final = "platform_managed"
DISABLED: Final = "disabled"
MODES: Final = (MANAGED, BY_KEY, BY_OAUTH, BY_VENDOR, OVERRIDDEN, DISABLED)


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What the model's host must see, and that it alone sees anything."""

    origin: str
    credential: str
    model: str
    header: str = "authorization"
    # A second header in which the program's library sends the same credential to the same host.
    also: str = ""
    # The platform meters a workspace by its header; a vendor has no business with it.
    workspace: bool = False


@dataclass(frozen=True, kw_only=True)
class Case:
    """One launch: its runtime, what the tenant chose and brought, and what must be seen.

    `program` is the one of programs.toml that runs, where it is not called as the runtime is.
    `secrets` are workspace secrets by name; `vendors` says whose a shared name is; `endpoints` are
    addresses of the tenant's own; `rather` are names that would rightly pay instead, so that no
    hostile tenant sets them by accident. Nothing is seen where a box has no model.
    """

    runtime: str
    mode: str
    model: str
    secrets: tuple[str, ...] = ()
    vendors: Mapping[str, str] = field(default_factory=dict)
    endpoints: Mapping[str, str] = field(default_factory=dict)
    rather: tuple[str, ...] = ()
    override: str | None = None
    seen: Seen | None = None
    program: str = ""

    @property
    def run_by(self) -> str:
        return self.program or self.runtime


def _platform(runtime: str, model: str, as_seen: str = "", header: str = "authorization") -> Case:
    seen = Seen(
        origin=PLATFORM,
        credential=USAGE_TOKEN,
        header=header,
        model=as_seen or model,
        workspace=True,
    )
    return Case(runtime=runtime, mode=MANAGED, model=model, seen=seen)


def _own(
    runtime: str,
    mode: str,
    model: str,
    key: str,
    origin: str,
    *,
    as_seen: str = "",
    header: str = "authorization",
    also: str = "",
    **more: object,
) -> Case:
    seen = Seen(
        origin=f"https://{origin}",
        credential=key,
        header=header,
        also=also,
        model=as_seen or model,
    )
    return Case(runtime=runtime, mode=mode, model=model, secrets=(key,), seen=seen, **more)  # type: ignore[arg-type]


def _disabled(runtime: str, model: str, key: str) -> Case:
    return Case(runtime=runtime, mode=DISABLED, model=model, secrets=(key,), override="disabled")


_ANTHROPIC: Final = "api.anthropic.com"
_OF_THE_TENANT: Final = "models.tenant.test"
_CLAUDE: Final = (
    _platform("claude-code", "anthropic/claude-opus-4-7", header="x-api-key"),
    _platform("claude-code", "minimax/MiniMax-M2.7", header="x-api-key"),
    _own(
        "claude-code",
        BY_KEY,
        "claude-sonnet-4-6",
        "ANTHROPIC_API_KEY",
        _ANTHROPIC,
        header="x-api-key",
    ),
    _own(
        "claude-code",
        BY_KEY,
        "anthropic:claude-opus-4-7",
        "ANTHROPIC_API_KEY",
        _ANTHROPIC,
        as_seen="claude-opus-4-7",
        header="x-api-key",
    ),
    # What the short names mean is the program's to say: see SHORT_NAMES.
    _own("claude-code", BY_OAUTH, "sonnet", "CLAUDE_CODE_OAUTH_TOKEN", _ANTHROPIC),
    _own("claude-code", BY_OAUTH, "anthropic:opus", "CLAUDE_CODE_OAUTH_TOKEN", _ANTHROPIC),
    _own(
        "claude-code",
        BY_VENDOR,
        "kimi-for-coding",
        "KIMI_API_KEY",
        "api.kimi.com",
        header="x-api-key",
    ),
    _own("claude-code", BY_VENDOR, "MiniMax-M2.7", "MINIMAX_API_KEY", "api.minimax.io"),
    _own("claude-code", BY_VENDOR, "glm-4.6", "GLM_API_KEY", "api.z.ai"),
    _own("claude-code", BY_VENDOR, "deepseek-chat", "DEEPSEEK_API_KEY", "api.deepseek.com"),
    _own(
        "claude-code",
        BY_VENDOR,
        "mimo-v2",
        "ANTHROPIC_AUTH_TOKEN",
        "api.xiaomimimo.com",
        vendors={"ANTHROPIC_AUTH_TOKEN": "xiaomi"},
    ),
    _own(
        "claude-code",
        OVERRIDDEN,
        "minimax/MiniMax-M2.7",
        "MINIMAX_API_KEY",
        "api.minimax.io",
        as_seen="MiniMax-M2.7",
        override="byok",
    ),
    _disabled("claude-code", "claude-sonnet-4-6", "ANTHROPIC_API_KEY"),
)

_CODEX: Final = (
    _platform("codex", "openai/gpt-5.4"),
    _own(
        "codex", BY_KEY, "openai-api:gpt-5.4", "OPENAI_API_KEY", "api.openai.com", as_seen="gpt-5.4"
    ),
    _own(
        "codex",
        BY_KEY,
        "gpt-5.4",
        "OPENAI_API_KEY",
        "api.openai.com",
        rather=("CODEX_AUTH_JSON", "CODEX_CHATGPT_AUTH_JSON"),
    ),
    _own("codex", BY_OAUTH, "gpt-5.4", "CODEX_AUTH_JSON", "chatgpt.com"),
    _own("codex", BY_OAUTH, "gpt-5.5", "CODEX_CHATGPT_AUTH_JSON", "chatgpt.com"),
    _own(
        "codex",
        BY_VENDOR,
        "minimax:MiniMax-M2.7",
        "MINIMAX_API_KEY",
        "api.minimax.io",
        as_seen="MiniMax-M2.7",
    ),
    _own(
        "codex",
        OVERRIDDEN,
        "openai/gpt-5.4",
        "OPENAI_API_KEY",
        "api.openai.com",
        as_seen="gpt-5.4",
        override="byok",
        rather=("CODEX_AUTH_JSON", "CODEX_CHATGPT_AUTH_JSON"),
    ),
    _disabled("codex", "gpt-5.4", "OPENAI_API_KEY"),
)

# Providers that Hermes reaches with an OpenAI-like protocol: the id on our menu, the id that is the
# vendor's, its key and its host.
_HERMES_VENDORS: Final = (
    ("openrouter:qwen/qwen3-max", "qwen/qwen3-max", "OPENROUTER_API_KEY", "openrouter.ai"),
    ("huggingface:a/b", "a/b", "HF_TOKEN", "router.huggingface.co"),
    ("ai-gateway:a/b", "a/b", "AI_GATEWAY_API_KEY", "ai-gateway.vercel.sh"),
    ("opencode-zen:big-1", "big-1", "OPENCODE_ZEN_API_KEY", "opencode.ai"),
    ("opencode-go:big-1", "big-1", "OPENCODE_GO_API_KEY", "opencode.ai"),
    ("kilocode:big-1", "big-1", "KILOCODE_API_KEY", "api.kilo.ai"),
    ("nvidia:nemotron-1", "nemotron-1", "NVIDIA_API_KEY", "integrate.api.nvidia.com"),
    ("arcee:trinity-1", "trinity-1", "ARCEE_API_KEY", "api.arcee.ai"),
    ("ollama-cloud:gpt-oss", "gpt-oss", "OLLAMA_CLOUD_API_KEY", "ollama.com"),
    (
        "nousresearch:hermes-4",
        "hermes-4",
        "NOUSRESEARCH_API_KEY",
        "inference-api.nousresearch.com",
    ),
    ("qwen3-max", "qwen3-max", "DASHSCOPE_API_KEY", "dashscope-intl.aliyuncs.com"),
    (
        "gemini/gemini-2.5-pro",
        "gemini-2.5-pro",
        "GEMINI_API_KEY",
        "generativelanguage.googleapis.com",
    ),
    ("openai/gpt-5.4", "gpt-5.4", "OPENAI_API_KEY", "api.openai.com"),
    ("minimax/MiniMax-M2.7", "MiniMax-M2.7", "MINIMAX_API_KEY", "api.minimax.io"),
)
_HERMES: Final = (
    _platform("hermes", "moonshot/kimi-k2.6"),
    _own(
        "hermes",
        BY_KEY,
        "kimi-coding/kimi-k2",
        "KIMI_API_KEY",
        "api.kimi.com",
        as_seen="kimi-k2",
        header="x-api-key",
    ),
    *(
        _own("hermes", BY_VENDOR, model, key, host, as_seen=theirs)
        for model, theirs, key, host in _HERMES_VENDORS
    ),
    *(
        _own("hermes", BY_VENDOR, model, key, host, as_seen=theirs, header=header)
        for model, theirs, key, host, header in (
            (
                "anthropic/claude-sonnet-4-6",
                "claude-sonnet-4-6",
                "ANTHROPIC_API_KEY",
                _ANTHROPIC,
                "x-api-key",
            ),
            ("glm-4.6", "glm-4.6", "GLM_API_KEY", "api.z.ai", "x-api-key"),
            ("deepseek-chat", "deepseek-chat", "DEEPSEEK_API_KEY", "api.deepseek.com", "x-api-key"),
            (
                "minimax-cn:MiniMax-M2.7",
                "MiniMax-M2.7",
                "MINIMAX_API_KEY",
                "api.minimaxi.com",
                "authorization",
            ),
        )
    ),
    _own(
        "hermes",
        BY_VENDOR,
        "mimo-v2",
        "ANTHROPIC_AUTH_TOKEN",
        "api.xiaomimimo.com",
        header="x-api-key",
        also="authorization",
        vendors={"ANTHROPIC_AUTH_TOKEN": "xiaomi"},
    ),
    _own(
        "hermes",
        BY_VENDOR,
        "custom:house-1",
        "CUSTOM_API_KEY",
        _OF_THE_TENANT,
        as_seen="house-1",
        endpoints={"HERMES_CUSTOM_BASE_URL": f"https://{_OF_THE_TENANT}/v1"},
    ),
    _own(
        "hermes",
        OVERRIDDEN,
        "moonshot/kimi-k2.6",
        "KIMI_API_KEY",
        "api.kimi.com",
        as_seen="kimi-k2.6",
        header="x-api-key",
        override="byok",
    ),
    _disabled("hermes", "moonshot/kimi-k2.6", "OPENROUTER_API_KEY"),
)

_ADK: Final = (
    _platform("google-adk", "platform:gemini-2.5-pro", "gemini-2.5-pro"),
    *(
        _own(
            "google-adk",
            BY_KEY,
            f"{prefix}gemini-2.5-pro",
            key,
            "generativelanguage.googleapis.com",
            as_seen="gemini-2.5-pro",
            header="x-goog-api-key",
            rather=("GEMINI_API_KEY", "GOOGLE_API_KEY"),
        )
        for prefix, key in (("", "GOOGLE_API_KEY"), ("google_genai:", "GEMINI_API_KEY"))
    ),
    _own(
        "google-adk",
        OVERRIDDEN,
        "platform:gemini-2.5-pro",
        "GEMINI_API_KEY",
        "generativelanguage.googleapis.com",
        as_seen="gemini-2.5-pro",
        header="x-goog-api-key",
        override="byok",
        rather=("GEMINI_API_KEY", "GOOGLE_API_KEY"),
    ),
    _disabled("google-adk", "gemini-2.5-pro", "GOOGLE_API_KEY"),
)

_OPENCLAW: Final = (
    _platform("openclaw", "moonshot/kimi-k2.6"),
    _own(
        "openclaw",
        BY_KEY,
        "openai:gpt-5.4",
        "OPENAI_API_KEY",
        "api.openai.com",
        as_seen="gpt-5.4",
    ),
    _own(
        "openclaw",
        BY_VENDOR,
        "moonshot:kimi-k2.6",
        "KIMI_API_KEY",
        "api.kimi.com",
        as_seen="kimi-k2.6",
        header="x-api-key",
    ),
    *(
        _own("openclaw", BY_VENDOR, model, key, host, as_seen=theirs)
        for model, theirs, key, host in (
            ("minimax:MiniMax-M2.7", "MiniMax-M2.7", "MINIMAX_API_KEY", "api.minimax.io"),
            ("openrouter:a/b", "a/b", "OPENROUTER_API_KEY", "openrouter.ai"),
            ("groq:llama-4", "llama-4", "GROQ_API_KEY", "api.groq.com"),
        )
    ),
    _own(
        "openclaw",
        BY_VENDOR,
        "custom:house-1",
        "CUSTOM_API_KEY",
        _OF_THE_TENANT,
        as_seen="house-1",
        endpoints={"OPENAI_BASE_URL": f"https://{_OF_THE_TENANT}/v1"},
    ),
    _own(
        "openclaw",
        OVERRIDDEN,
        "moonshot/kimi-k2.6",
        "KIMI_API_KEY",
        "api.kimi.com",
        as_seen="kimi-k2.6",
        header="x-api-key",
        override="byok",
    ),
    _disabled("openclaw", "moonshot/kimi-k2.6", "OPENAI_API_KEY"),
)

# Its SDK drives the same program, and has no say in any of it.
_SDK: Final = tuple(replace(case, program="claude-agent-sdk") for case in _CLAUDE)

_OPENCODE: Final = (
    _platform("opencode", "openai/gpt-5.4"),
    _own(
        "opencode",
        BY_KEY,
        "openrouter/anthropic/claude-sonnet-4.5",
        "OPENROUTER_API_KEY",
        "openrouter.ai",
        as_seen="anthropic/claude-sonnet-4.5",
    ),
    _disabled("opencode", "openai/gpt-5.4", "OPENROUTER_API_KEY"),
)

_QWEN: Final = (
    _platform("qwen-code", "alibaba/qwen3-max"),
    _own("qwen-code", BY_KEY, "qwen3-max", "DASHSCOPE_API_KEY", "dashscope-intl.aliyuncs.com"),
    _disabled("qwen-code", "qwen3-max", "DASHSCOPE_API_KEY"),
)

CASES: Final = (
    *_CLAUDE, *_CODEX, *_HERMES, *_ADK, *_OPENCLAW, *_SDK, *_OPENCODE, *_QWEN,
)  # fmt: skip
# Which ids the program's short names may turn into; its version decides which one it is.
SHORT_NAMES: Final = {"sonnet": "claude-sonnet-", "opus": "claude-opus-", "haiku": "claude-haiku-"}
