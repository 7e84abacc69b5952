"""An operator's day with the real pair: create, launch, look, lock out, remove."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.rpc.registry_server import secret_of
from tests.rpc.workspacectl_pair import Result
from tests.services import Pair

SCRIPT = "import sys; from agentworkspace.ctl.main import main; sys.exit(main())"
NOBODY = "00000000-0000-4000-8000-000000000000"
OAUTH = "sk-ant-oat01-the-customers-own-subscription"


class Operator:
    """Somebody at a shell, with a credential in a file and the rest in the environment."""

    def __init__(self, pair: Pair, home: Path, name: str = "operator") -> None:
        self.home = home
        credential = home / "credential"
        credential.write_text(secret_of(name) + "\n")
        self._environment = {
            "REGISTRY_ADDRESS": pair.registry.address,
            "PROVISION_ADDRESS": pair.provision.address,
            "WORKSPACECTL_TOKEN_FILE": str(credential),
            "PYTHONPATH": ":".join(path for path in sys.path if path),
        }

    def tries(self, *words: str, stdin: str = "") -> Result:
        """In a process of its own: the services log to this one's standard output."""
        ran = subprocess.run(
            [sys.executable, "-c", SCRIPT, *words],
            env=self._environment,
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
        )
        return Result(ran.returncode, ran.stdout, ran.stderr)

    def does(self, *words: str, stdin: str = "") -> Result:
        result = self.tries(*words, stdin=stdin)
        assert (result.code, OAUTH in result.out + result.err) == (0, False), result.err
        return result


@pytest.fixture
def operator(pair: Pair, tmp_path: Path) -> Operator:
    return Operator(pair, tmp_path)


def test_an_operators_day(operator: Operator) -> None:
    home = operator.home
    create = ("workspaces", "create", "--tenant", "acme", "--name", "scribe", "--model", "opus")

    refused = operator.tries(*create)
    assert refused.code == 1
    assert "MISSING_BYOK_CREDENTIAL (FAILED_PRECONDITION)" in refused.err

    operator.does("secrets", "set", "CLAUDE_CODE_OAUTH_TOKEN", "--tenant", "acme", stdin=OAUTH)
    created = operator.does(*create, "--out", str(home / "first.token"), "--json")
    workspace = created.document["workspace"]["id"]
    assert created.document["billing"]["resolvedMode"] == "byok"
    assert "steps (* decided)" in operator.does("billing", "resolve", "scribe").lines

    token = (home / "first.token").read_text()
    assert token.startswith("awa_")
    validate = ("tokens", "validate", "--workspace", workspace)
    assert operator.does(*validate, stdin=token).lines[0] == "live"

    box = home / "box.env"
    launched = operator.does(
        *("launch", workspace, "--reason", "create", "--env-file", str(box), "--json")
    )
    assert launched.document["provision"]["incarnation"] == "1"
    assert f"CLAUDE_CODE_OAUTH_TOKEN={OAUTH}\n" in box.read_text()
    provision = launched.document["provision"]["id"]
    operator.does("provisions", "complete", provision, "--outcome", "succeeded")
    assert "LAUNCHED" in operator.does("provisions", "list", "--workspace", workspace).out

    diagnosis = operator.does("registrations", "diagnose", workspace[:8])
    assert "what a Register would get now" in diagnosis.lines
    operator.does("tokens", "revoke-all", workspace, "--reason", "compromised", "--yes")
    assert operator.tries(*validate, stdin=token).code == 1
    assert "COMPROMISED" in operator.does("registrations", "list").out

    operator.does("workspaces", "remove", "scribe", "--yes")
    assert "REMOVED" in operator.does("workspaces", "list", "--show-removed").out
    for service in ("registry", "provision"):
        assert "operator" in operator.does("audit", service, "--all").out


@pytest.mark.parametrize(
    "words",
    [
        ("health",),
        ("catalogue", "providers"),
        ("catalogue", "runtimes"),
        ("catalogue", "models", "claude-code", "--all"),
        ("catalogue", "derive", "claude-code", "opus"),
        ("billing", "preview", "--model", "opus"),
        ("billing", "tenant", "acme", "--default-billing", "byok"),
        ("secrets", "list", "--tenant", "acme"),
        ("secrets", "audit-shared"),
        ("platform-credentials", "list"),
    ],
)
def test_a_question_gets_a_document(operator: Operator, words: tuple[str, ...]) -> None:
    assert operator.does(*words, "--json").document


def test_every_violation_of_a_real_refusal_is_told(operator: Operator) -> None:
    result = operator.tries(
        *("tokens", "mint", NOBODY, "--label", "x" * 201, "--scope", "A B", "--ttl", "0s")
    )

    assert result.code == 1
    for rule in (
        "label must be at most 200 characters",
        "scopes[0] must be 1 to 64 of a-z 0-9 : . _ -",
        "ttl must be a duration from",
    ):
        assert rule in result.err


def test_whoever_lacks_the_role_is_told_which(pair: Pair, tmp_path: Path) -> None:
    result = Operator(pair, tmp_path, "gateway").tries("registrations", "list")

    assert result.code == 1
    assert "ROLE_REQUIRED (PERMISSION_DENIED)" in result.err
    assert "roles" in result.err
