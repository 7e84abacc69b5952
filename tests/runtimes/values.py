"""Values of secrets that look like their vendor's, and can be told apart wherever they turn up."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Final

from tests.runtimes.answers import ACCOUNT

_SHAPES: Final = {
    "ANTHROPIC_API_KEY": "sk-ant-api03-",
    "CLAUDE_CODE_OAUTH_TOKEN": "sk-ant-oat01-",
    "OPENROUTER_API_KEY": "sk-or-v1-",
    "GOOGLE_API_KEY": "AIza",
    "GEMINI_API_KEY": "AIza",
    "GROQ_API_KEY": "gsk_",
    "HF_TOKEN": "hf_",
}
# Later than any run, and written into the logins so that no program goes and renews them.
_NEVER: Final = 4102444800


def value_of(name: str, owner: str, vendor: str = "") -> str:
    """The value of one secret of one owner; not Anthropic's look where it is another vendor's."""
    digest = hashlib.sha256(f"{name} of {owner}".encode()).hexdigest()[:40]
    if name in ("CODEX_AUTH_JSON", "CODEX_CHATGPT_AUTH_JSON"):
        return _login(digest)
    shape = "sk-" if vendor not in ("", "anthropic") else _SHAPES.get(name, "sk-")
    return f"{shape}{digest}"


def parts_of(name: str, value: str) -> dict[str, str]:
    """What of a secret must not be seen elsewhere; the first is what pays."""
    if not value.startswith("{"):
        return {name: value}
    tokens = json.loads(value)["tokens"]
    return {name: tokens["access_token"], f"{name}'s refresh token": tokens["refresh_token"]}


def _login(digest: str) -> str:
    account = {"chatgpt_account_id": ACCOUNT, "chatgpt_plan_type": "plus", "chatgpt_user_id": "u"}
    claims = {"exp": _NEVER, "https://api.openai.com/auth": account, "jti": digest}
    return json.dumps(
        {
            "auth_mode": "chatgpt",
            "OPENAI_API_KEY": None,
            "tokens": {
                "id_token": _unsigned({**claims, "email": "user@tenant.example"}),
                "access_token": _unsigned(claims),
                "refresh_token": f"rt-{digest}",
                "account_id": ACCOUNT,
            },
            "last_refresh": "2099-01-01T00:00:00Z",
        }
    )


def _unsigned(claims: dict[str, object]) -> str:
    parts = (json.dumps(each).encode() for each in ({"alg": "none", "typ": "JWT"}, claims))
    return (
        ".".join(base64.urlsafe_b64encode(each).rstrip(b"=").decode() for each in parts) + ".c2ln"
    )
