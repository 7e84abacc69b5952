"""What both services say of themselves, and whom they take a caller for."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from sqlalchemy import Column, MetaData, String, Table

from agentworkspace.core.installation import package_version
from agentworkspace.provision.v1 import system_service_pb2 as provision
from agentworkspace.provision.v1 import system_service_pb2_grpc as provision_stubs
from agentworkspace.registry.v1 import system_service_pb2 as registry
from agentworkspace.registry.v1 import system_service_pb2_grpc as registry_stubs
from agentworkspace.rpc.errors import failure_from
from agentworkspace.service.store import Store
from tests.rpc.provision_server import GLOBEX_ADMIN, serving
from tests.rpc.registry_server import ADMIN, VERIFIER, bearer
from tests.services import Pair


def asked(pair: Pair, service: str, credential: Any = ADMIN) -> Any:
    if service == "registry":
        stub = registry_stubs.SystemServiceStub(pair.registry.channel)
        return stub.GetSystemInfo(registry.GetSystemInfoRequest(), metadata=credential, timeout=10)
    provisioning = provision_stubs.SystemServiceStub(pair.provision.channel)
    return provisioning.GetSystemInfo(
        provision.GetSystemInfoRequest(), metadata=credential, timeout=10
    )


EITHER = pytest.mark.parametrize("service", ["registry", "provision"])


@EITHER
def test_version_clocks_and_migrations_are_told(pair: Pair, service: str) -> None:
    found = asked(pair, service)

    assert found.version == package_version() != ""
    assert found.schema_revision == found.wanted_schema_revision != ""
    for clock in (found.process_time, found.database_time):
        assert abs(clock.ToDatetime(UTC) - datetime.now(UTC)) < timedelta(minutes=1)


@EITHER
def test_a_caller_hears_whom_it_is_taken_for(pair: Pair, service: str) -> None:
    assert asked(pair, service).caller == _caller(
        service, name="operator", roles=["admin", "launcher", "verifier"], all_tenants=True
    )


def test_a_caller_of_some_tenants_hears_which(pair: Pair) -> None:
    found = asked(pair, "provision", GLOBEX_ADMIN).caller

    assert (list(found.tenants), found.all_tenants) == (["globex"], False)


@EITHER
def test_the_least_of_callers_is_answered_and_a_stranger_is_not(pair: Pair, service: str) -> None:
    assert list(asked(pair, service, VERIFIER).caller.roles) == ["verifier"]
    with pytest.raises(grpc.RpcError) as refused:
        asked(pair, service, bearer("nobody's"))
    assert failure_from(refused.value).reason == "ERROR_REASON_CREDENTIAL_REJECTED"


def test_provisioning_names_its_keys_and_what_a_box_hears_of_the_registry(pair: Pair) -> None:
    found = asked(pair, "provision")

    assert (found.secrets_key_id, list(found.secrets_key_ids)) == ("k1", ["k1"])
    assert found.box_registry_address == pair.registry.address
    assert found.box_registry_ca == ""
    assert found.registry_fault == ""


def test_provisioning_tells_that_it_cannot_use_its_registry(
    provision_database: str, tmp_path: Path
) -> None:
    with serving(provision_database, tmp_path) as running:
        stub = provision_stubs.SystemServiceStub(running.channel)
        found = stub.GetSystemInfo(provision.GetSystemInfoRequest(), metadata=ADMIN, timeout=10)

    assert found.registry_fault == "the registry did not answer (UNAVAILABLE)"


@EITHER
def test_a_database_behind_this_version_is_told(pair: Pair, service: str) -> None:
    store: Store[Any] = (
        pair.registry.service._store if service == "registry" else pair.provision.service._store()
    )
    table = Table("alembic_version", MetaData(service), Column("version_num", String))
    wanted = asked(pair, service).wanted_schema_revision
    with store.transaction() as tx:
        tx.execute(table.update().values(version_num="older"))
    try:
        found = asked(pair, service)
        assert (found.schema_revision, found.wanted_schema_revision) == ("older", wanted)
    finally:
        with store.transaction() as tx:
            tx.execute(table.update().values(version_num=wanted))


def _caller(service: str, **fields: Any) -> Any:
    return (registry if service == "registry" else provision).CallerInfo(**fields)
