"""Why a service cannot be spoken to, in the words of whoever has to mend it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from agentworkspace.registry.v1 import system_service_pb2 as system
from tests.rpc.test_rpc_tls import Authority
from tests.rpc.test_workspacectl_connection import part_of
from tests.rpc.workspacectl_pair import (
    PROVISION,
    REGISTRY,
    WORKSPACE,
    Pair,
    run,
    running_pair,
    serving,
    set_serving,
)


@pytest.fixture
def pair() -> Iterator[Pair]:
    with running_pair() as found:
        for script, modules in ((found.registry, REGISTRY), (found.provision, PROVISION)):
            set_serving(script, "", *(part_of(module.__name__) for module in modules))
        yield found


def told_of(pair: Pair, *words: str) -> str:
    result = pair.run(*words)
    assert result.code in (1, 4), result
    return " ".join(result.err.split())


def test_an_address_of_the_other_service_is_named(pair: Pair) -> None:
    told = told_of(pair, "--provision", pair.registry.address, "workspaces", "list")

    assert f"the registry service is at {pair.registry.address}, and not the provision" in told
    assert "next step name the address of the provision service with --provision" in told
    assert "Method not found" not in told


def test_a_name_that_does_not_resolve_is_said(pair: Pair) -> None:
    told = told_of(pair, "--provision", "nobody.invalid:7102", "workspaces", "list")

    assert "the name nobody.invalid cannot be resolved" in told


def test_a_name_that_can_be_none_does_not_resolve(pair: Pair) -> None:
    told = told_of(pair, "--provision", f"{'a' * 64}.invalid:7102", "workspaces", "list")

    assert f"the name {'a' * 64}.invalid cannot be resolved" in told


def test_a_name_of_all_replicas_that_does_not_resolve_is_said(pair: Pair) -> None:
    told = told_of(pair, "--provision", "dns:///nobody.invalid:7102", "workspaces", "list")

    assert "the name nobody.invalid cannot be resolved" in told


def test_replicas_none_of_which_serves_are_not_called_unreachable(pair: Pair) -> None:
    set_serving(pair.provision, "", serving=False)
    name = ("--plaintext", "--provision", f"dns:///{pair.provision.address}")

    told = told_of(pair, *name, "workspaces", "list")

    assert "every server behind this name is up, and says NOT_SERVING" in told
    assert "next step `workspacectl doctor --provision HOST:PORT` of one of them" in told

    health = pair.run(*name, "health", "provision")
    assert health.lines[1].endswith("(all) NOT_SERVING")
    assert health.code == 1


def over_tls(tmp_path: Path, *words: str, client_ca: bool = False) -> str:
    """What is told of a call to a registry with TLS; CA and OTHER are files of authorities."""
    authority = Authority(tmp_path, "ca")
    files = {"CA": authority.file, "OTHER": Authority(tmp_path, "other").file}
    certificate, key = authority.issue("server")
    credentials = grpc.ssl_server_credentials(
        [(key.read_bytes(), certificate.read_bytes())],
        root_certificates=authority.file.read_bytes() if client_ca else None,
        require_client_auth=client_ca,
    )
    with serving(REGISTRY, credentials) as script:
        given = [str(files.get(word, word)) for word in words]
        result = run(
            *("--registry", script.address, "--timeout", "3", "tokens", "list", WORKSPACE), *given
        )
    assert result.code == 4, result
    return " ".join(result.err.split())


def test_plaintext_to_a_service_with_tls_is_said(tmp_path: Path) -> None:
    assert "the service speaks TLS, and this call did not next step name the CA" in over_tls(
        tmp_path
    )


def test_a_certificate_of_another_authority_is_said(tmp_path: Path) -> None:
    told = over_tls(tmp_path, "--ca", "OTHER")

    assert "the service's certificate is not accepted: " in told
    assert "next step name the CA that signed it with --ca FILE" in told


def test_a_certificate_for_another_name_is_said(tmp_path: Path) -> None:
    told = over_tls(tmp_path, "--ca", "CA", "--tls-server-name", "elsewhere.example")

    assert "next step call it by a name of the certificate, or say --tls-server-name" in told


def test_a_service_that_wants_a_certificate_is_said(tmp_path: Path) -> None:
    told = over_tls(tmp_path, "--ca", "CA", client_ca=True)

    assert "the service wants a certificate of its callers, and none was shown" in told
    assert "next step name yours with --cert FILE and --key FILE" in told


def test_tls_to_a_service_without_is_said(pair: Pair, tmp_path: Path) -> None:
    ca = Authority(tmp_path, "ca").file

    told = told_of(pair, "--ca", str(ca), "tokens", "list", WORKSPACE)

    assert "the service speaks no TLS, and this call did next step leave out --ca" in told


def test_the_doctor_tells_the_last_day_of_a_certificate(tmp_path: Path) -> None:
    authority = Authority(tmp_path, "ca")
    certificate, key = authority.issue("server")
    pair = [(key.read_bytes(), certificate.read_bytes())]
    with serving(REGISTRY, grpc.ssl_server_credentials(pair)) as script:
        script.on("GetSystemInfo", system.GetSystemInfoResponse())
        result = run(
            *("--registry", script.address, "--provision", "127.0.0.1:1"),
            *("--ca", str(authority.file), "doctor"),
        )

    (line,) = (line for line in result.lines if line.startswith("registry certificate"))
    assert line.startswith("registry certificate look accepted, until 20")
    assert "renew it; it is read again when its file changes" in result.out
