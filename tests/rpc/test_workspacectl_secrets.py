"""`secrets` and `platform-credentials`: values go in by file or pipe, and never come out."""

from __future__ import annotations

import argparse
import getpass
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentworkspace.ctl.main import GROUPS, SINGLE
from agentworkspace.ctl.parser import build_parser
from agentworkspace.provision.v1 import resolution_pb2
from agentworkspace.provision.v1 import secret_service_pb2 as messages
from agentworkspace.rpc.redaction import names_a_secret
from tests.rpc.workspacectl_pair import WORKSPACE, Pair, at, running_pair

VALUE = "the-very-secret-value"
STORED = messages.Secret(
    key="OPENAI_API_KEY", scope="global", update_time=at("2026-01-02T03:04:05Z")
)
HOLDER = messages.SharedSecretHolder(
    tenant_id="acme", scope="global", key="OPENAI_API_KEY", exposed_workspace_ids=["w-1", "w-2"]
)


@pytest.fixture
def pair() -> Iterator[Pair]:
    with running_pair() as found:
        found.provision.on("SetGlobalSecret", messages.SetGlobalSecretResponse(secret=STORED))
        yield found


def sent(pair: Pair) -> str:
    return pair.provision.only(messages.SetGlobalSecretRequest).value


@pytest.mark.parametrize("form", [(), ("--json",)])
def test_a_value_from_standard_input_is_stored_and_shown_nowhere(
    pair: Pair, form: tuple[str, ...]
) -> None:
    result = pair.run(
        *("secrets", "set", "OPENAI_API_KEY", "--tenant", "acme", *form),
        stdin=VALUE.encode() + b"\n",
    )

    assert result.code == 0
    assert VALUE not in result.out + result.err
    request = pair.provision.only(messages.SetGlobalSecretRequest)
    assert request == messages.SetGlobalSecretRequest(
        tenant_id="acme", key="OPENAI_API_KEY", value=VALUE
    )


@pytest.mark.parametrize(
    ("typed", "stored"),
    [(b"a\n", "a"), (b"a\r\n", "a"), (b"a\n\n", "a\n"), (b" a ", " a "), (b"\xc3\xa9", "\xe9")],
)
def test_one_line_break_at_the_end_is_not_part_of_a_value(
    pair: Pair, typed: bytes, stored: str
) -> None:
    pair.run("secrets", "set", "K", "--tenant", "acme", stdin=typed)

    assert sent(pair) == stored


def test_verbatim_keeps_every_byte_of_a_file(pair: Pair, tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    path.write_bytes(b"-----BEGIN\r\n-----END\n")

    pair.run("secrets", "set", "K", "--tenant", "a", "--value-file", str(path), "--verbatim")

    assert sent(pair) == "-----BEGIN\r\n-----END\n"


def test_bytes_that_are_no_text_are_refused_and_not_quoted(pair: Pair) -> None:
    result = pair.run("secrets", "set", "K", "--tenant", "acme", stdin=b"secret\xff")

    assert (result.code, result.err) == (2, "workspacectl: standard input is not UTF-8 text\n")


def test_at_a_terminal_a_value_is_asked_for_without_echo(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(getpass, "getpass", lambda prompt: f"typed at {prompt}")

    pair.run("secrets", "set", "K", "--tenant", "acme", stdin=None)

    assert sent(pair) == "typed at value: "


def test_a_model_written_as_a_secret_is_told_as_the_specs_model(pair: Pair) -> None:
    warning = resolution_pb2.Warning(code="PAYER_CHANGED", message="the tenant pays now")
    response = messages.SetWorkspaceSecretResponse(model="opus", warnings=[warning])
    pair.provision.on("SetWorkspaceSecret", response)

    result = pair.run("secrets", "set", "MODEL", "--workspace", WORKSPACE, stdin=b"opus")

    assert result.lines[0] == "model opus"
    assert "PAYER_CHANGED the tenant pays now" in result.lines


def test_whose_credential_it_is_goes_with_the_value_or_is_said_later(pair: Pair) -> None:
    said = messages.Secret(key="ANTHROPIC_API_KEY", scope="workspace", provider="minimax")
    pair.provision.on("SetWorkspaceSecret", messages.SetWorkspaceSecretResponse(secret=said))
    pair.provision.on("AssignSecretProvider", messages.AssignSecretProviderResponse(secret=said))
    at = ("ANTHROPIC_API_KEY", "--workspace", WORKSPACE)

    pair.run("secrets", "set", *at, "--provider", "minimax", stdin=b"key")
    result = pair.run("secrets", "assign-provider", *at[:1], "minimax", *at[1:])

    stored, assigned = pair.provision.asked
    assert stored.request.provider == assigned.request.provider == "minimax"
    assert "provider minimax" in result.lines


def test_whose_credential_it_is_is_not_said_of_a_tenants_secret(pair: Pair) -> None:
    result = pair.run("secrets", "set", "K", "--tenant", "acme", "--provider", "zai", stdin=b"k")

    assert result.code == 2
    assert "--provider is for a secret of one workspace" in result.err


@pytest.mark.parametrize("where", ["--tenant", "--workspace"])
def test_delete_tells_whether_there_was_one(pair: Pair, where: str) -> None:
    pair.provision.on("DeleteGlobalSecret", messages.DeleteGlobalSecretResponse(deleted=True))
    pair.provision.on("DeleteWorkspaceSecret", messages.DeleteWorkspaceSecretResponse(deleted=True))

    place = {"--tenant": "acme", "--workspace": WORKSPACE}[where]
    result = pair.run("secrets", "delete", "K", where, place, "--yes")

    (asked,) = pair.provision.asked
    expected = {"--tenant": "DeleteGlobalSecret", "--workspace": "DeleteWorkspaceSecret"}
    assert asked.method == expected[where]
    assert result.lines == ["deleted yes"]


def test_list_shows_names_scopes_and_times(pair: Pair) -> None:
    pair.provision.on("ListSecrets", messages.ListSecretsResponse(secrets=[STORED]))

    result = pair.run("secrets", "list", "--workspace", WORKSPACE)

    assert result.lines[1] == "OPENAI_API_KEY global - no - 2026-01-02 03:04:05Z"


@pytest.mark.parametrize(
    ("verdict", "code"),
    [
        (messages.PROBE_VERDICT_OK, 0),
        (messages.PROBE_VERDICT_SKIP, 0),
        (messages.PROBE_VERDICT_INCONCLUSIVE, 0),
        (messages.PROBE_VERDICT_MISSING_SCOPE, 1),
        (messages.PROBE_VERDICT_INVALID, 1),
    ],
)
def test_check_is_exit_code_1_when_a_vendor_says_no(
    pair: Pair, verdict: messages.ProbeVerdict.ValueType, code: int
) -> None:
    probe = messages.ProbeResult(env="OPENAI_API_KEY", verdict=verdict, host="api.openai.example")
    response = messages.CheckCredentialsResponse(results=[probe], matrix=[probe])
    pair.provision.on("CheckCredentials", response)

    result = pair.run("secrets", "check", WORKSPACE)

    word = messages.ProbeVerdict.Name(verdict).removeprefix("PROBE_VERDICT_")
    assert result.code == code
    assert result.lines.count(f"OPENAI_API_KEY - - {word} -") == 2


def test_audit_shared_shows_every_holder_by_fingerprint(pair: Pair) -> None:
    other = messages.SharedSecretHolder(tenant_id="globex", scope="global", key="K")
    group = messages.SharedSecretGroup(
        fingerprint="f00d", holders=[HOLDER, other], platform_credential_names=["prod"]
    )
    response = messages.AuditSharedSecretsResponse(groups=[group], compared_count=10)
    pair.provision.on("AuditSharedSecrets", response)

    result = pair.run("secrets", "audit-shared")

    assert result.code == 3
    assert result.lines[0] == "compared count 10"
    assert result.lines[-2:] == [
        "f00d prod acme global - OPENAI_API_KEY w-1, w-2",
        "f00d prod globex global - K -",
    ]


def test_audit_shared_of_nobody_who_shares_anything_is_well(pair: Pair) -> None:
    pair.provision.on("AuditSharedSecrets", messages.AuditSharedSecretsResponse(compared_count=10))

    assert pair.run("secrets", "audit-shared").code == 0


def test_a_platform_credential_is_registered_from_standard_input(pair: Pair) -> None:
    credential = messages.PlatformCredential(name="prod", fingerprint="f00d", source="registered")
    response = messages.RegisterPlatformCredentialResponse(credential=credential, matches=[HOLDER])
    pair.provision.on("RegisterPlatformCredential", response)

    result = pair.run(
        *("platform-credentials", "register", "prod", "--validate-only"), stdin=VALUE.encode()
    )

    assert result.lines[0] == "would be registered"
    assert result.lines[-1] == "acme global - OPENAI_API_KEY w-1, w-2"
    assert VALUE not in result.out + result.err
    request = pair.provision.only(messages.RegisterPlatformCredentialRequest)
    assert request == messages.RegisterPlatformCredentialRequest(
        name="prod", value=VALUE, validate_only=True
    )


def test_platform_credentials_are_listed_by_fingerprint(pair: Pair) -> None:
    credential = messages.PlatformCredential(name="prod", fingerprint="f00d", source="usage_token")
    response = messages.ListPlatformCredentialsResponse(credentials=[credential])
    pair.provision.on("ListPlatformCredentials", response)

    assert pair.run("platform-credentials", "list").lines[1] == "prod usage_token f00d -"


def test_a_platform_credential_is_forgotten_by_name(pair: Pair) -> None:
    response = messages.UnregisterPlatformCredentialResponse(deleted=True)
    pair.provision.on("UnregisterPlatformCredential", response)

    result = pair.run("platform-credentials", "unregister", "prod", "--yes")

    assert result.lines == ["deleted yes"]
    assert pair.provision.only(messages.UnregisterPlatformCredentialRequest).name == "prod"


def arguments_of(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for inner in action.choices.values():
                yield from arguments_of(inner)
        else:
            yield action


def test_no_argument_takes_a_secret() -> None:
    found = list(arguments_of(build_parser(GROUPS, SINGLE)))

    assert len(found) > 400
    # Options that name a file are fine, and so are switches.
    texts = {action.dest for action in found if action.type is not Path and action.nargs != 0}
    assert {name for name in texts if names_a_secret(name)} == set()


def test_a_value_put_on_the_command_line_by_mistake_is_not_repeated(pair: Pair) -> None:
    result = pair.run("secrets", "set", "K", VALUE, f"--value={VALUE}", "--tenant", "acme")

    assert result.code == 2
    assert "there is no --value; did you mean --value-file?" in result.err
    assert VALUE not in result.err


@pytest.mark.parametrize("value", [VALUE, "-----BEGIN PRIVATE KEY-----", "-very-secret"])
def test_whoever_types_a_value_is_told_where_it_belongs_and_that_it_is_lost(
    pair: Pair, value: str
) -> None:
    result = pair.run("secrets", "set", "K", "--tenant", "acme", value)

    assert result.code == 2
    assert "the value is read from standard input or --value-file, never from the" in result.err
    assert "treat this one as leaked" in result.err
    assert value not in result.err
    assert pair.provision.asked == []
