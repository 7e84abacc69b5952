"""A box of the demonstration: it knows its environment, and asks its model the one question.

    python3 -I -S box.py QUESTION

Prints its reply as JSON. Like the agents of the incident it has an answer of the right shape for
everything, its own failures included.
"""

from __future__ import annotations

import json
import os
import sys
import urllib.request


def main() -> int:
    try:
        text = ask(sys.argv[1])
    except Exception as error:  # noqa: BLE001 - the very habit that the incident is about
        text = f"Agent error (Exception): {error}"
    print(json.dumps({"type": "result", "text": text}))
    return 0


def ask(question: str) -> str:
    body = {
        "model": os.environ["MODEL"],
        "max_tokens": 64,
        "messages": [{"role": "user", "content": question}],
    }
    request = urllib.request.Request(  # noqa: S310 - where it leads is what is to be shown
        os.environ["ANTHROPIC_BASE_URL"] + "/v1/messages",
        data=json.dumps(body).encode(),
        headers={"Content-Type": "application/json"} | credential() | custom_headers(),
    )
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 - likewise
        return "".join(part["text"] for part in json.load(answer)["content"])


def credential() -> dict[str, str]:
    """The first credential there is, a subscription before a key: real runtimes choose so, too."""
    for name in ("CLAUDE_CODE_OAUTH_TOKEN", "ANTHROPIC_AUTH_TOKEN"):
        if os.environ.get(name):
            return {"Authorization": f"Bearer {os.environ[name]}"}
    return {"x-api-key": os.environ["ANTHROPIC_API_KEY"]}


def custom_headers() -> dict[str, str]:
    lines = os.environ.get("ANTHROPIC_CUSTOM_HEADERS", "").splitlines()
    return {name.strip(): text.strip() for name, _, text in (line.partition(":") for line in lines)}


if __name__ == "__main__":
    sys.exit(main())
