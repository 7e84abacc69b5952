"""Incident 6: an end-to-end check that a broken agent passed."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from deploy.demo.moves import create, launch, metered_tenant
from deploy.demo.narrative import Narrative
from deploy.demo.recording_host import RecordingHost, question
from deploy.demo.stage import Stage, fresh_id

BOX = Path(__file__).with_name("box.py")
SECONDS = 30
ERRORS_AS_TEXT = ("agent error", "exception", "missing_byok_credential", "not logged in")


def play(stage: Stage, tell: Narrative) -> None:
    tell.chapter(
        6,
        "error as text",
        """The end-to-end check looked at the shape of an agent's reply. A broken agent answers
        “Agent error (Exception) …” in perfect shape, so it passed.""",
    )
    on_the_tenants_key(stage, tell)
    on_the_platforms_bill(stage, tell)


def on_the_tenants_key(stage: Stage, tell: Narrative) -> None:
    vendor = stage.outside.vendor
    key = f"demo-minimax-{fresh_id()}"
    created = create(stage, "acme", "MiniMax-M2.7", {"MINIMAX_API_KEY": key}).message
    env = dict(launch(stage, created.workspace.id, "CREATE").message.env)
    tell.asked("start a box with the handed out environment and nothing else; ask it for a sum")
    vendor.received.clear()
    text = reply_of_box(env)
    tell.came_back(f"{text!r}; {heard(vendor)}")
    tell.rule("what counts is the known answer, and at the upstream the credential that came")
    tell.prove(
        is_the_answer(text)
        and [(call.path, call.credentials) for call in vendor.received]
        == [("/anthropic/v1/messages", (key,))]
        and not stage.outside.proxy.received,
        "a byok box reaches its vendor, with the tenant's key, and never the proxy",
    )
    tell.asked("the same box with an endpoint where nobody answers")
    broken = reply_of_box({**env, "ANTHROPIC_BASE_URL": "http://127.0.0.1:9"})
    tell.came_back(repr(broken))
    tell.rule("an error as text is refused, however well it is shaped")
    tell.prove(
        broken.startswith("Agent error (Exception)") and not is_the_answer(broken),
        "the broken agent's perfectly shaped reply does not pass",
    )


def on_the_platforms_bill(stage: Stage, tell: Narrative) -> None:
    proxy = stage.outside.proxy
    tenant, usage_token = metered_tenant(stage)
    created = create(stage, tenant, "anthropic/claude-opus-4-7", {}).message
    env = dict(launch(stage, created.workspace.id, "CREATE").message.env)
    tell.asked("the same with a model of the platform")
    text = reply_of_box(env)
    tell.came_back(f"{text!r}; {heard(proxy)}")
    tell.rule("platform_managed: the proxy, the tenant's usage token, the workspace in a header")
    tell.prove(
        is_the_answer(text)
        and [(call.credentials, call.workspace_id) for call in proxy.received]
        == [((usage_token,), created.workspace.id)],
        "the proxy is told whose usage it meters",
    )


def reply_of_box(env: Mapping[str, str]) -> str:
    """Run a box to its end; `env` is its whole environment."""
    asked, _ = question()
    done = subprocess.run(
        # Without site-packages and the variables of Python: the box needs neither.
        (sys.executable, "-I", "-S", str(BOX), asked),
        env=dict(env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        check=True,
        timeout=SECONDS,
    )
    return str(json.loads(done.stdout)["text"])


def is_the_answer(text: str) -> bool:
    """Whether the reply is the one right answer, and not an error in the shape of a reply."""
    _, answer = question()
    return text.strip() == answer and not any(word in text.lower() for word in ERRORS_AS_TEXT)


def heard(host: RecordingHost) -> str:
    """What a host heard, in words; never the credential itself."""
    paths = ", ".join(call.path for call in host.received) or "nothing"
    return f"the upstream heard {paths}, {len(host.received)} call"
