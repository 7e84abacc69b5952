"""Where calls go, whose they are, and how they are protected on the way."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from agentworkspace.registry.v1 import token_service_pb2 as registry
from tests.rpc.test_rpc_tls import Authority
from tests.rpc.workspacectl_pair import (
    PROVISION,
    REGISTRY,
    WORKSPACE,
    Pair,
    Result,
    run,
    running_pair,
    serving,
    set_serving,
)

LIST = ("tokens", "list", WORKSPACE)


@pytest.fixture
def pair() -> Iterator[Pair]:
    with running_pair() as found:
        found.registry.on("ListTokens", registry.ListTokensResponse())
        yield found


@pytest.fixture
def credential(tmp_path: Path) -> Path:
    path = tmp_path / "operator.token"
    path.write_text("operator-secret\n")
    return path


def bearer_of(pair: Pair) -> str | None:
    (asked,) = pair.registry.asked
    return asked.metadata.get("authorization")


def test_the_credential_comes_from_the_file_that_is_named(pair: Pair, credential: Path) -> None:
    result = pair.run(*LIST, "--token-file", str(credential))

    assert result.code == 0
    assert bearer_of(pair) == "Bearer operator-secret"


def test_the_credential_comes_from_the_file_that_the_environment_names(
    pair: Pair, credential: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORKSPACECTL_TOKEN_FILE", str(credential))

    pair.run(*LIST)

    assert bearer_of(pair) == "Bearer operator-secret"


def test_without_a_credential_the_call_goes_without(pair: Pair) -> None:
    pair.run(*LIST)

    assert bearer_of(pair) is None


@pytest.mark.parametrize("content", [b"", b"two words", b"caf\xc3\xa9", b"\xff\xfe", b"a\nb"])
def test_a_file_without_a_credential_is_refused_and_not_quoted(
    pair: Pair, tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "odd"
    path.write_bytes(content)

    result = pair.run(*LIST, "--token-file", str(path))

    assert result.code == 2
    assert str(path) in result.err
    assert "two words" not in result.err
    assert pair.registry.asked == []


def test_a_missing_file_is_told_without_a_traceback(pair: Pair, tmp_path: Path) -> None:
    result = pair.run(*LIST, "--token-file", str(tmp_path / "none"))

    assert (result.code, result.err) == (
        2,
        (
            f"workspacectl: cannot read {tmp_path}/none: No such file or directory;"
            " --token-file FILE, WORKSPACECTL_TOKEN_FILE or a context says where your credential"
            " is\n"
        ),
    )


def test_the_environment_names_both_services(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGISTRY_ADDRESS", pair.registry.address)
    monkeypatch.setenv("PROVISION_ADDRESS", pair.provision.address)
    set_serving(pair.registry, "")

    result = run("health", "--json")

    addresses = {row["service"]: row["address"] for row in result.document["health"]}
    assert addresses == {"registry": pair.registry.address, "provision": pair.provision.address}


def test_options_may_stand_before_or_after_the_command(pair: Pair) -> None:
    assert pair.run("--json", *LIST).document == pair.run(*LIST, "--json").document


def test_every_call_carries_one_correlation_id(pair: Pair) -> None:
    pair.run(*LIST)

    (asked,) = pair.registry.asked
    assert len(asked.metadata["agentworkspace-correlation-id"]) == 32


@pytest.mark.parametrize("address", ["registry.example:7101", "192.0.2.1:7101", "0.0.0.0:7101"])
def test_off_this_machine_nothing_travels_in_plaintext(address: str, credential: Path) -> None:
    words = ("--registry", address, "--token-file", str(credential), "--timeout", "0.2", *LIST)

    # Nobody is there; what matters is which kind of channel was made.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(grpc, "insecure_channel", _refuse)
        result = run(*words)

    assert result.code == 4


def test_plaintext_off_this_machine_must_be_asked_for(credential: Path) -> None:
    words = ("--registry", "192.0.2.1:7101", "--token-file", str(credential), *LIST)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(grpc, "insecure_channel", _refuse)
        with pytest.raises(AssertionError, match="in plaintext"):
            run("--plaintext", *words)


def _refuse(*_: object, **__: object) -> None:
    raise AssertionError("in plaintext")


def over_tls(tmp_path: Path, *words: str, client_ca: bytes | None = None) -> Result:
    authority = Authority(tmp_path, "ca")
    certificate, key = authority.issue("server")
    credentials = grpc.ssl_server_credentials(
        [(key.read_bytes(), certificate.read_bytes())],
        root_certificates=authority.file.read_bytes() if client_ca is not None else None,
        require_client_auth=client_ca is not None,
    )
    client_certificate, client_key = authority.issue("client")
    files = {"CA": authority.file, "CERT": client_certificate, "KEY": client_key}
    with serving(REGISTRY, credentials) as script:
        script.on("ListTokens", registry.ListTokensResponse())
        given = [str(files.get(word, word)) for word in words]
        return run("--registry", script.address, "--timeout", "5", *LIST, *given)


def test_tls_is_spoken_when_a_ca_is_named(tmp_path: Path) -> None:
    assert over_tls(tmp_path, "--ca", "CA").code == 0


def test_a_client_certificate_opens_mutual_tls(tmp_path: Path) -> None:
    result = over_tls(tmp_path, "--ca", "CA", "--cert", "CERT", "--key", "KEY", client_ca=b"")

    assert result.code == 0


def test_without_the_client_certificate_mutual_tls_stays_shut(tmp_path: Path) -> None:
    assert over_tls(tmp_path, "--ca", "CA", client_ca=b"").code == 4


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("--cert", "c.pem"), "--cert and --key come together"),
        (("--plaintext", "--ca", "ca.pem"), "exclude each other"),
        (("--ca", "/nonexistent/ca.pem"), "cannot read /nonexistent/ca.pem"),
        (
            ("--registry", "no-port"),
            (
                "'no-port' is no address of the registry service: --registry (or"
                " REGISTRY_ADDRESS, or the context) takes HOST:PORT, such as 127.0.0.1:7101, and dns:///HOST:PORT"
            ),
        ),
        (("--registry", "127.0.0.1:99999"), "'127.0.0.1:99999' is no address of the registry"),
        (("--registry", "127.0.0.1:0"), "'127.0.0.1:0' is no address of the registry"),
        (("--registry", ":7101"), "':7101' is no address of the registry"),
        (("--registry", "unix:/run/x"), "'unix:/run/x' is no address of the registry"),
        (("--provision", "http://h:7102"), "'http://h:7102' is no address of the provision"),
    ],
)
def test_options_that_clash_are_exit_code_2(words: tuple[str, ...], complaint: str) -> None:
    result = run(*LIST, *words)

    assert result.code == 2
    assert complaint in result.err


def test_health_shows_every_part_of_both_services(pair: Pair) -> None:
    for script, modules in ((pair.registry, REGISTRY), (pair.provision, PROVISION)):
        set_serving(script, "", *(part_of(module.__name__) for module in modules))

    result = pair.run("health")

    assert result.code == 0
    assert f"registry {pair.registry.address} (all) SERVING" in result.lines
    assert len(result.lines) == 14
    assert all(line.endswith(" SERVING") for line in result.lines[1:])


def part_of(module: str) -> str:
    """`a.b.v1.token_service_pb2_grpc` -> `a.b.v1.TokenService`."""
    package, _, name = module.removesuffix("_pb2_grpc").rpartition(".")
    return f"{package}.{name.title().replace('_', '')}"


def test_a_service_that_is_stopping_is_exit_code_1(pair: Pair) -> None:
    set_serving(pair.registry, "", serving=False)

    result = pair.run("health", "registry")

    assert result.code == 1
    assert "NOT_SERVING" in result.lines[1]
    assert "SERVICE_UNKNOWN" in result.lines[2]


def test_a_service_that_is_not_there_is_exit_code_4_and_the_other_is_still_shown(
    pair: Pair,
) -> None:
    set_serving(pair.registry, "")

    result = run("--registry", pair.registry.address, "--provision", "127.0.0.1:1", "health")

    assert result.code == 4
    assert f"registry {pair.registry.address} (all) SERVING" in result.lines
    assert "provision 127.0.0.1:1 (all) UNREACHABLE" in result.lines
