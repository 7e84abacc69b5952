"""Claude Code itself, started with the materialized environment and nothing else.

Runs where the program is: on PATH, or from `pip install claude-agent-sdk`, which carries it; those
170 MB are no dependency of the tests.
"""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import pytest

from tests.e2e.boxes import Reply
from tests.e2e.upstreams import answer_to, question_of
from tests.e2e.vendors import ANTHROPIC, PROXY
from tests.e2e.verdict import Expected, prove
from tests.e2e.world import World, running_world

SECONDS: Final = 60


def claude() -> str | None:
    found = shutil.which("claude")
    if found is not None:
        return found
    package = importlib.util.find_spec("claude_agent_sdk")
    if package is None or package.origin is None:
        return None
    bundled = Path(package.origin).parent / "_bundled" / "claude"
    return str(bundled) if bundled.exists() else None


pytestmark = pytest.mark.skipif(
    claude() is None, reason="Claude Code is not installed; pip install claude-agent-sdk brings it"
)


@pytest.fixture(scope="module")
def world(
    registry_database_of_module: str,
    provision_database_of_module: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[World]:
    with running_world(
        registry_database_of_module, provision_database_of_module, tmp_path_factory.mktemp("claude")
    ) as running:
        yield running


def complete(
    world: World, directory: Path, name: str, model: str, secrets: Mapping[str, str]
) -> tuple[str, str, Reply]:
    """The question, the workspace and what came out."""
    tenant = f"claude-{name}"
    world.give_usage_token(tenant, f"usage-token-of-{tenant}")
    # The tenant also says where the program keeps its files, so that it leaves nothing behind.
    kept = {"CLAUDE_CONFIG_DIR": str(directory / "kept")}
    workspace = world.create(tenant, "claude-code", model, {**secrets, **kept})
    environment = dict(world.launch(workspace).env)
    question = question_of(next(world.numbers))
    program = claude()
    assert program is not None
    done = subprocess.run(
        (program, "-p", question, "--model", environment["MODEL"]),
        cwd=directory,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        timeout=SECONDS,
    )
    return question, workspace, Reply(text=done.stdout.decode() or done.stderr.decode())


# It is told where Anthropic is by the tenant: a subscription has no endpoint in any catalogue.
@pytest.mark.parametrize(
    ("name", "model", "credential", "upstream", "path"),
    [
        ("platform", "anthropic/claude-opus-4-7", "", PROXY, "/anthropic/v1/messages"),
        ("oauth", "opus", "CLAUDE_CODE_OAUTH_TOKEN", ANTHROPIC, "/v1/messages"),
        ("key", "claude-opus-4-7", "ANTHROPIC_API_KEY", ANTHROPIC, "/v1/messages"),
        (
            "third-party",
            "MiniMax-M2.7",
            "MINIMAX_API_KEY",
            "api.minimax.io",
            "/anthropic/v1/messages",
        ),
        (
            "other-header",
            "deepseek-chat",
            "DEEPSEEK_API_KEY",
            "api.deepseek.com",
            "/anthropic/v1/messages",
        ),
        ("kimi", "kimi-for-coding", "KIMI_API_KEY", "api.kimi.com", "/coding/v1/messages"),
        ("zai", "glm-5", "GLM_API_KEY", "api.z.ai", "/api/anthropic/v1/messages"),
    ],
)
def test_claude_code_reaches_its_model_on_the_payers_credential(
    world: World,
    tmp_path: Path,
    *,
    name: str,
    model: str,
    credential: str,
    upstream: str,
    path: str,
) -> None:
    secrets = {credential: f"sk-ant-oat01-{name}-of-the-tenant-0123456789"} if credential else {}
    if name == "oauth":
        secrets["ANTHROPIC_BASE_URL"] = world.upstreams.url(ANTHROPIC)
    question, workspace, reply = complete(world, tmp_path, name, model, secrets)
    (call,) = calls = world.upstreams.asked(question)
    prove(
        reply,
        calls,
        Expected(
            question=question,
            answer=answer_to(question),
            upstream=upstream,
            port=world.port(upstream),
            path=path,
            # A name such as `opus` is spelt out by the program itself.
            model=call.model if name == "oauth" else model,
            credential=secrets.get(credential, f"usage-token-of-claude-{name}"),
            workspace_id=workspace if not credential else "",
        ),
    )
