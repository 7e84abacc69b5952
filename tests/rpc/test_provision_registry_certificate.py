"""The certificate that provisioning shows the registry, renewed while it serves."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from agentworkspace.provision.v1 import system_service_pb2 as pb
from agentworkspace.provision.v1.system_service_pb2_grpc import SystemServiceStub
from tests.rpc import provision_server, registry_server
from tests.rpc.registry_server import ADMIN
from tests.rpc.test_rpc_tls import Authority
from tests.rpc.vendor_server import until


def asked(running: provision_server.Running) -> Any:
    stub: Any = SystemServiceStub(running.channel)
    return stub.GetSystemInfo(pb.GetSystemInfoRequest(), metadata=ADMIN, timeout=20)


def test_a_renewed_certificate_is_shown_once_the_registry_takes_the_old_one_no_more(
    registry_database: str,
    provision_database: str,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    first, second = Authority(tmp_path, "first"), Authority(tmp_path, "second")
    accepted = tmp_path / "accepted.pem"
    accepted.write_bytes(first.file.read_bytes())
    served, served_key = first.issue("localhost")
    shown, shown_key = first.issue("provision")
    control = {
        "REGISTRY_CONTROL_LISTEN": "127.0.0.1:0",
        "REGISTRY_CONTROL_TLS_CERTIFICATE_FILE": str(served),
        "REGISTRY_CONTROL_TLS_KEY_FILE": str(served_key),
        "REGISTRY_CONTROL_TLS_CLIENT_CA_FILE": str(accepted),
    }
    with ExitStack() as provisioning:
        with registry_server.serving(registry_database, tmp_path, environment=control) as registry:
            port = registry.service.control_port
            running = provisioning.enter_context(
                provision_server.serving(
                    provision_database,
                    tmp_path,
                    f"localhost:{port}",
                    environment={
                        "PROVISION_REGISTRY_TLS": "1",
                        "PROVISION_REGISTRY_CA_FILE": str(first.file),
                        "PROVISION_REGISTRY_CERTIFICATE_FILE": str(shown),
                        "PROVISION_REGISTRY_KEY_FILE": str(shown_key),
                    },
                )
            )
            assert asked(running).registry_fault == ""
            # From now on only the second authority's clients get in, with a connection made anew.
            accepted.write_bytes(second.file.read_bytes())
        control["REGISTRY_CONTROL_LISTEN"] = f"127.0.0.1:{port}"
        with registry_server.serving(registry_database, tmp_path, environment=control):
            until(lambda: "did not answer" in asked(running).registry_fault)
            newer, newer_key = second.issue("provision")
            newer.rename(shown)
            until(lambda: running.metric("provision_file_refused", file="registry-tls") == 1)
            newer_key.rename(shown_key)
            until(lambda: asked(running).registry_fault == "")
            assert running.metric("provision_file_refused", file="registry-tls") == 0

            # What boxes are given follows the file of authorities, too.
            both = tmp_path / "both.pem"
            both.write_bytes(first.file.read_bytes() + second.file.read_bytes())
            both.rename(first.file)
            assert asked(running).box_registry_ca.count("BEGIN CERTIFICATE") == 2
            assert asked(running).registry_fault == ""
    said = capfd.readouterr()
    assert "PRIVATE KEY" not in said.out + said.err
