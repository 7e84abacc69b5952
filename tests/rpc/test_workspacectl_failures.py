"""What an operator is told when a call fails, and the exit codes a script may rely on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import grpc
import pytest

from agentworkspace.core.refusal import Recovery, Violation
from agentworkspace.registry.v1 import token_service_pb2 as registry
from agentworkspace.rpc.errors import RpcFailure
from tests.rpc.workspacectl_pair import CORRELATION, TOKEN, WORKSPACE, Pair, run, running_pair

NOWHERE = "127.0.0.1:1"
LAUNCH = ("launch", WORKSPACE, "--reason", "create")


@pytest.fixture
def pair() -> Iterator[Pair]:
    with running_pair() as found:
        yield found


def test_a_refusal_says_reason_message_recovery_and_correlation_id(pair: Pair) -> None:
    pair.provision.on(
        "GetWorkspace",
        RpcFailure(
            grpc.StatusCode.PERMISSION_DENIED,
            "agentworkspace.provision",
            "ERROR_REASON_TENANT_FORBIDDEN",
            "the caller may not act for tenant acme",
            metadata={"tenant_id": "acme"},
            recovery=Recovery.FIX_REQUEST,
        ),
    )

    result = pair.run("workspaces", "get", WORKSPACE)

    assert result.code == 1
    assert result.out == ""
    assert result.err == (
        "refused\n"
        "  what            the caller may not act for tenant acme\n"
        "  next step       use the credential of a caller of this tenant; `workspacectl whoami`"
        " shows yours\n"
        "  reason          TENANT_FORBIDDEN (PERMISSION_DENIED)\n"
        "    tenant_id     acme\n"
        "  correlation id  corr-of-the-service\n"
        "  more            workspacectl explain TENANT_FORBIDDEN\n"
    )


def test_every_violation_is_listed(pair: Pair) -> None:
    pair.registry.on(
        "MintToken",
        RpcFailure(
            grpc.StatusCode.INVALID_ARGUMENT,
            "agentworkspace.registry",
            "ERROR_REASON_INVALID_REQUEST",
            "2 fields are not as they must be",
            violations=[
                Violation("workspace_id", "must be a lower-case UUID"),
                Violation("label", "must have at most 200 characters"),
            ],
            recovery=Recovery.FIX_REQUEST,
        ),
    )

    result = pair.run("tokens", "mint", WORKSPACE)

    assert result.code == 1
    assert result.err.startswith(
        "refused\n"
        "  what            workspace_id must be a lower-case UUID\n"
        "                  label must have at most 200 characters\n"
        "  next step       correct this and repeat it; "
    )


def test_a_machine_gets_the_refusal_as_one_document_on_standard_error(pair: Pair) -> None:
    pair.registry.on(
        "ListTokens",
        RpcFailure(
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            "agentworkspace.registry",
            "ERROR_REASON_OVERLOADED",
            "as much work as it can hold",
            violations=[Violation("a", "b")],
            retry_after=timedelta(seconds=2.5),
        ),
    )

    result = pair.run("--json", "tokens", "list", WORKSPACE)

    assert result.code == 1
    assert result.out == ""
    assert json.loads(result.err) == {
        "error": {
            "code": "RESOURCE_EXHAUSTED",
            "domain": "agentworkspace.registry",
            "reason": "ERROR_REASON_OVERLOADED",
            "message": "a b",
            "recovery": "RETRY",
            "nextStep": "correct this and repeat it;"
            " the command's --help shows what each argument takes",
            "correlationId": CORRELATION,
            "metadata": {},
            "violations": [{"field": "a", "description": "b"}],
            "retryAfter": "2.5s",
        }
    }


def test_a_service_without_its_database_has_still_answered(pair: Pair, tmp_path: Path) -> None:
    pair.provision.on(
        "ProvisionWorkspace",
        RpcFailure(
            grpc.StatusCode.UNAVAILABLE,
            "agentworkspace.provision",
            "ERROR_REASON_STORE_UNAVAILABLE",
            "the database did not answer",
        ),
    )

    result = pair.run(
        *("launch", WORKSPACE, "--reason", "restart", "--request-id", "again-please", "--yes"),
        *("--env-file", str(tmp_path / "box.env")),
    )

    assert result.code == 1
    assert "STORE_UNAVAILABLE (UNAVAILABLE)" in result.err
    assert "retry after     1 s" in result.err
    assert "repeat with     --request-id again-please" in result.err


def test_nobody_there_is_exit_code_4_under_the_correlation_id_that_was_sent() -> None:
    result = run("--registry", NOWHERE, "--json", "tokens", "list", WORKSPACE)

    error = json.loads(result.err)["error"]
    assert (result.code, error["code"], error["reason"]) == (4, "UNAVAILABLE", "")
    assert len(error["correlationId"]) == 32


def test_nobody_there_is_told_with_the_request_id_that_makes_a_repetition_safe() -> None:
    result = run("--registry", NOWHERE, "tokens", "mint", WORKSPACE)

    assert result.code == 4
    assert result.err.startswith("unreachable\n")
    assert "repeat with     --request-id " in result.err
    assert "Traceback" not in result.err


def test_a_service_that_does_not_answer_in_time_is_exit_code_4(pair: Pair) -> None:
    pair.provision.on("GetWorkspace", None)

    result = pair.run("--timeout", "0.1", "workspaces", "get", WORKSPACE)

    assert result.code == 4
    assert "DEADLINE_EXCEEDED" in result.err


def test_whoever_forgot_the_credential_is_told_where_it_goes(pair: Pair) -> None:
    pair.registry.on(
        "ListTokens",
        RpcFailure(
            grpc.StatusCode.UNAUTHENTICATED,
            "agentworkspace.registry",
            "ERROR_REASON_CREDENTIAL_MISSING",
            "the call carries no credential",
        ),
    )

    result = pair.run("tokens", "list", WORKSPACE)

    assert "say who you are: --token-file FILE" in result.err


def test_an_answer_cannot_move_the_cursor_of_a_terminal(pair: Pair) -> None:
    pair.registry.on(
        "RevokeToken",
        RpcFailure(grpc.StatusCode.NOT_FOUND, "d", "ERROR_REASON_TOKEN_UNKNOWN", "no\x1b[2Jne"),
    )

    result = pair.run("tokens", "revoke", WORKSPACE, TOKEN, "--reason", "operator", "--yes")

    assert "\x1b" not in result.err
    assert r"no\x1b[2Jne" in result.err


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ((), "required: COMMAND"),
        (("tokens",), "required: VERB"),
        (("tokens", "list"), "required: workspace"),
        (("tokens", "list", WORKSPACE, "--al"), "there is no --al; did you mean --all?"),
        (("catalogue", "derive", "codex", "x", "--model"), "there is no --model\n"),
        (("tokens", "list", WORKSPACE, "--limit", "0"), "'0': expected 1 to 1000000"),
        (("tokens", "mint", WORKSPACE, "--ttl", "soon"), "expected a span such as 90s"),
        (("tokens", "mint", WORKSPACE, "--kind", "cookie"), "expected one of instance, api"),
        (("launch", WORKSPACE), "required: --reason"),
        (("--timeout", "-1", "health"), "expected seconds, at most 3600"),
        (("workspaces", "update", WORKSPACE), "nothing to change"),
        (("workspaces", "update", WORKSPACE, "--tier", "9" * 12), "expected -2147483648 to"),
        (("secrets", "set", "KEY"), "either --tenant or --workspace"),
        (("secrets", "delete", "K", "--tenant", "a", "--workspace", "b"), "either --tenant or"),
        (("secrets", "list"), "--tenant or --workspace"),
        (("tokens", "validate"), "either --workspace or --any-workspace"),
        ((*LAUNCH, "--validate-only", "--env-file", "x"), "hands out nothing"),
        (("billing", "tenant", "a", "--usage-token-file", "-", "--remove-usage-token"), "exclude"),
        (("workspaces", "get", "\udcff"), "not UTF-8"),
    ],
)  # fmt: skip
def test_a_wrong_command_line_is_exit_code_2_and_calls_nobody(
    pair: Pair, words: tuple[str, ...], complaint: str
) -> None:
    result = pair.run(*words)

    assert result.code == 2
    assert complaint in result.err
    assert pair.registry.asked == pair.provision.asked == []


def test_help_is_exit_code_0() -> None:
    result = run("--help")

    assert result.code == 0
    assert "1 the service refused" in result.out


def test_exit_code_0_is_an_answer(pair: Pair) -> None:
    pair.registry.on("ListTokens", registry.ListTokensResponse())

    assert pair.run("tokens", "list", WORKSPACE).code == 0
