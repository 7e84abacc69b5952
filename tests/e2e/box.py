"""A fake box: it has its environment and its own program, nothing else, and asks its model once.

Standalone on purpose: it imports the vendors' client libraries and nothing of this project. What a
runtime's program has built in (default endpoints, which vendor reads which name) lies in its
working directory, as an image would carry it; whose credential goes where, the environment says.
It is greedy the way the real ones are: a credential that is there is used, wanted or not.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any, Final

PROGRAM: Final = "program.json"
TASK: Final = "task.json"
REPLY: Final = "reply.json"


class NotLoggedIn(Exception):
    """The environment holds nothing that this runtime could pay with."""


def work() -> None:
    """Do the task in the working directory and leave the reply there."""
    program = json.loads(Path(PROGRAM).read_text())
    task = json.loads(Path(TASK).read_text())
    contacted = watch_the_network()
    # How a broken agent answers: in perfect shape, with the failure as its text.
    try:
        text = ask(program, task["question"])
    except NotLoggedIn:
        text = "Not logged in · Please run /login"
    except Exception as error:  # noqa: BLE001 - it stands for agents that do exactly this
        text = f"Agent error ({type(error).__name__}): {error}"
    reply = {"text": text, "environment": dict(os.environ), "contacted": contacted}
    Path(REPLY).write_text(json.dumps(reply))


def watch_the_network() -> list[list[Any]]:
    """Every address this process goes to; it gets no further than this machine."""
    contacted: list[list[Any]] = []

    def audit(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "socket.connect" and isinstance(arguments[1], tuple):
            host, port = arguments[1][:2]
        elif event == "socket.getaddrinfo":
            host, port = arguments[:2]
            host = host.decode() if isinstance(host, bytes) else str(host)
        else:
            return
        if [host, port] not in contacted:
            contacted.append([host, port])
        if host not in ("127.0.0.1", "localhost"):
            raise RuntimeError(f"{host} is not on this machine")

    sys.addaudithook(audit)
    return contacted


def ask(program: dict[str, Any], question: str) -> str:
    if os.environ["MOLECULE_LLM_BILLING_MODE_RESOLVED"] == "disabled":
        return "no model"
    return ask_anthropic(claude(program), os.environ["MODEL"], question)


def claude(program: dict[str, Any]) -> Any:
    """A subscription first, then whatever the library finds in the environment by itself."""
    import anthropic  # noqa: PLC0415 - a box that is not logged in needs it not

    base_url = os.environ.get("ANTHROPIC_BASE_URL") or program["anthropic"]
    token = os.environ.get("CLAUDE_CODE_OAUTH_TOKEN")
    if token:
        return anthropic.Anthropic(auth_token=token, base_url=base_url, max_retries=0)
    if not {"ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"} & os.environ.keys():
        raise NotLoggedIn
    if "ANTHROPIC_BASE_URL" in os.environ:
        return anthropic.Anthropic(max_retries=0)
    return anthropic.Anthropic(base_url=base_url, max_retries=0)


def ask_anthropic(client: Any, model: str, question: str) -> str:
    message = client.messages.create(
        model=model, max_tokens=64, messages=[{"role": "user", "content": question}]
    )
    return "".join(block.text for block in message.content if block.type == "text")


if __name__ == "__main__":
    work()
