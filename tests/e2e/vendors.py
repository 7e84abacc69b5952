"""Which credential each provider must get at which address, written down by hand.

Read from the catalogue, an expectation would repeat the catalogue's mistakes. The catalogue that
the service gets here is the shipped one with every vendor's host replaced by a local upstream.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from tests.e2e.upstreams import Upstreams

ROOT: Final = Path(__file__).resolve().parent.parent.parent
SHIPPED: Final = ROOT / "provision_service" / "catalogue" / "catalogue.yaml"
# Hosts with a part that the runtime fills in stay as they are.
_HOST: Final = re.compile(r"https://([a-z0-9.-]+)(?=/)")

PROXY: Final = "the platform's proxy"
ANTHROPIC: Final = "api.anthropic.com"
OPENAI: Final = "api.openai.com"
CHAT: Final = "/v1/chat/completions"
MESSAGES: Final = "/v1/messages"


@dataclass(frozen=True)
class Way:
    """How a box reaches its model on a tenant's own credential."""

    credential: str
    upstream: str
    path: str


# Providers whose endpoint no catalogue names: the runtime has it built in.
BUILT_IN: Final[Mapping[str, str]] = {
    "anthropic-oauth": ANTHROPIC,
    "openai-subscription": "chatgpt.com",
    "alibaba": "dashscope.example",
    "nousresearch": "nousresearch.example",
    "huggingface": "huggingface.example",
    "ai-gateway": "ai-gateway.example",
    "opencode-zen": "opencode-zen.example",
    "opencode-go": "opencode-go.example",
    "kilocode": "kilocode.example",
    "ollama-cloud": "ollama-cloud.example",
    "arcee": "arcee.example",
    # Wherever the tenant says.
    "custom": "custom.example",
}

# (runtime, provider): the model that leads there, and the way.
WAYS: Final[Mapping[tuple[str, str], tuple[str, Way]]] = {
    ("claude-code", "anthropic-oauth"): (
        "opus",
        Way("CLAUDE_CODE_OAUTH_TOKEN", ANTHROPIC, MESSAGES),
    ),
    ("claude-code", "anthropic-api"): (
        "claude-opus-4-7",
        Way("ANTHROPIC_API_KEY", ANTHROPIC, MESSAGES),
    ),
    ("claude-code", "kimi-coding"): (
        "kimi-for-coding",
        Way("KIMI_API_KEY", "api.kimi.com", "/coding/v1/messages"),
    ),
    ("claude-code", "minimax"): (
        "MiniMax-M2.7",
        Way("MINIMAX_API_KEY", "api.minimax.io", "/anthropic/v1/messages"),
    ),
    ("claude-code", "zai"): (
        "glm-4.6",
        Way("GLM_API_KEY", "api.z.ai", "/api/anthropic/v1/messages"),
    ),
    ("claude-code", "deepseek"): (
        "deepseek-chat",
        Way("DEEPSEEK_API_KEY", "api.deepseek.com", "/anthropic/v1/messages"),
    ),
    ("claude-code", "xiaomi-mimo"): (
        "mimo-v2",
        Way("ANTHROPIC_AUTH_TOKEN", "api.xiaomimimo.com", "/anthropic/v1/messages"),
    ),
    ("hermes", "kimi-coding"): (
        "kimi-coding/kimi-k2",
        Way("KIMI_API_KEY", "api.kimi.com", "/coding/v1/messages"),
    ),
    ("hermes", "openrouter"): (
        "openrouter/any-model",
        Way("OPENROUTER_API_KEY", "openrouter.ai", "/api/v1/chat/completions"),
    ),
    ("hermes", "huggingface"): ("huggingface/m", Way("HF_TOKEN", "huggingface.example", CHAT)),
    ("hermes", "ai-gateway"): (
        "ai-gateway/m",
        Way("AI_GATEWAY_API_KEY", "ai-gateway.example", CHAT),
    ),
    ("hermes", "opencode-zen"): (
        "opencode-zen/m",
        Way("OPENCODE_ZEN_API_KEY", "opencode-zen.example", CHAT),
    ),
    ("hermes", "opencode-go"): (
        "opencode-go/m",
        Way("OPENCODE_GO_API_KEY", "opencode-go.example", CHAT),
    ),
    ("hermes", "kilocode"): ("kilocode/m", Way("KILOCODE_API_KEY", "kilocode.example", CHAT)),
    ("hermes", "custom"): ("custom/m", Way("CUSTOM_API_KEY", "custom.example", CHAT)),
    ("hermes", "nvidia"): (
        "nvidia/nemotron",
        Way("NVIDIA_API_KEY", "integrate.api.nvidia.com", CHAT),
    ),
    ("hermes", "arcee"): ("arcee/m", Way("ARCEE_API_KEY", "arcee.example", CHAT)),
    ("hermes", "ollama-cloud"): (
        "ollama-cloud/m",
        Way("OLLAMA_CLOUD_API_KEY", "ollama-cloud.example", CHAT),
    ),
    ("hermes", "minimax-cn"): (
        "minimax-cn/MiniMax-M2",
        Way("MINIMAX_API_KEY", "api.minimaxi.com", CHAT),
    ),
    ("hermes", "nousresearch"): (
        "nousresearch/hermes-4",
        Way("NOUSRESEARCH_API_KEY", "nousresearch.example", CHAT),
    ),
    ("hermes", "deepseek"): (
        "deepseek/deepseek-chat",
        Way("DEEPSEEK_API_KEY", "api.deepseek.com", "/anthropic/v1/messages"),
    ),
    ("hermes", "zai"): (
        "zai/glm-4.6",
        Way("GLM_API_KEY", "api.z.ai", "/api/anthropic/v1/messages"),
    ),
    ("hermes", "xiaomi-mimo"): (
        "xiaomi/mimo-v2",
        Way("ANTHROPIC_API_KEY", "api.xiaomimimo.com", "/anthropic/v1/messages"),
    ),
    ("hermes", "alibaba"): ("qwen-max", Way("DASHSCOPE_API_KEY", "dashscope.example", CHAT)),
    ("hermes", "byok-anthropic"): (
        "anthropic/claude-opus-4-7",
        Way("ANTHROPIC_API_KEY", ANTHROPIC, MESSAGES),
    ),
    ("hermes", "byok-gemini"): (
        "gemini/gemini-2.5-pro",
        Way(
            "GEMINI_API_KEY",
            "generativelanguage.googleapis.com",
            "/v1beta/openai/chat/completions",
        ),
    ),
    ("hermes", "byok-openai"): ("openai/gpt-5.4", Way("OPENAI_API_KEY", OPENAI, CHAT)),
    ("hermes", "byok-minimax"): (
        "minimax/MiniMax-M2.7",
        Way("MINIMAX_API_KEY", "api.minimax.io", CHAT),
    ),
    ("codex", "openai-subscription"): ("gpt-5.5", Way("CODEX_AUTH_JSON", "chatgpt.com", CHAT)),
    ("codex", "openai-api"): ("gpt-5.5", Way("OPENAI_API_KEY", OPENAI, CHAT)),
    ("codex", "byok-minimax"): (
        "codex-minimax-m2",
        Way("MINIMAX_API_KEY", "api.minimax.io", CHAT),
    ),
    ("openclaw", "kimi-coding"): (
        "moonshot:kimi-k2.6",
        Way("KIMI_API_KEY", "api.kimi.com", "/coding/v1/messages"),
    ),
    ("openclaw", "openrouter"): (
        "openrouter:any-model",
        Way("OPENROUTER_API_KEY", "openrouter.ai", "/api/v1/chat/completions"),
    ),
    ("openclaw", "custom"): ("custom:m", Way("CUSTOM_API_KEY", "custom.example", CHAT)),
    ("openclaw", "byok-openai"): ("openai:gpt-5.4", Way("OPENAI_API_KEY", OPENAI, CHAT)),
    ("openclaw", "byok-minimax"): (
        "minimax:MiniMax-M2.7",
        Way("MINIMAX_API_KEY", "api.minimax.io", CHAT),
    ),
    ("openclaw", "groq"): (
        "groq:llama-4",
        Way("GROQ_API_KEY", "api.groq.com", "/openai/v1/chat/completions"),
    ),
    ("google-adk", "google"): (
        "gemini-2.5-pro",
        Way(
            "GEMINI_API_KEY",
            "generativelanguage.googleapis.com",
            "/v1beta/openai/chat/completions",
        ),
    ),
    # The platform's own models: the way is that of an own key which an operator puts over them.
    ("claude-code", "platform"): (
        "anthropic/claude-opus-4-7",
        Way("ANTHROPIC_API_KEY", ANTHROPIC, MESSAGES),
    ),
    ("hermes", "platform"): ("moonshot/kimi-k2.6", Way("OPENAI_API_KEY", OPENAI, CHAT)),
    ("codex", "platform"): ("openai/gpt-5.4", Way("OPENAI_API_KEY", OPENAI, CHAT)),
    ("openclaw", "platform"): ("moonshot/kimi-k2.6", Way("OPENAI_API_KEY", OPENAI, CHAT)),
    ("google-adk", "platform"): (
        "platform:gemini-2.5-pro",
        Way(
            "GEMINI_API_KEY",
            "generativelanguage.googleapis.com",
            "/v1beta/openai/chat/completions",
        ),
    ),
}


def shipped() -> dict[str, Any]:
    """The shipped catalogue as plain data."""
    found = yaml.safe_load(SHIPPED.read_text())
    assert isinstance(found, dict)
    return found


def upstream_names() -> list[str]:
    """One for the platform, one for each host of the catalogue, and those built in."""
    hosts = _HOST.findall(SHIPPED.read_text())
    return sorted({PROXY, *hosts, *BUILT_IN.values()})


def write_loopback_catalogue(upstreams: Upstreams, path: Path) -> None:
    """The shipped catalogue, line by line, with the vendors' hosts on this machine."""
    text = _HOST.sub(lambda host: upstreams.url(host[1]), SHIPPED.read_text())
    path.write_text(text)


def programs(catalogue: Path, upstreams: Upstreams) -> dict[str, dict[str, Any]]:
    """What the image of each runtime has built in: where it goes when nobody says where."""
    found = yaml.safe_load(catalogue.read_text())
    providers = {each["name"]: each for each in found["providers"]}
    return {
        runtime["name"]: {
            "kind": "anthropic" if runtime["name"] == "claude-code" else "openai",
            "anthropic": upstreams.url(ANTHROPIC),
            "openai": upstreams.url(OPENAI, "/v1"),
            "vendors": {
                each["name"]: _vendor(providers[each["name"]], upstreams)
                for each in runtime["providers"]
                if each["name"] != "platform"
            },
        }
        for runtime in found["runtimes"]
    }


def _vendor(provider: dict[str, Any], upstreams: Upstreams) -> dict[str, Any]:
    protocol = provider["protocol"]
    named = provider.get("anthropic_base_url" if protocol == "anthropic" else "base_url")
    if named is None:
        named = upstreams.url(BUILT_IN[provider["name"]], "/v1")
    return {"protocol": protocol, "base_url": named, "auth_env": provider["auth_env"]}
