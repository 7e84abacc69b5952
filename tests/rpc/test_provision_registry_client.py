"""The registry's client against a real registry, and against none."""

from __future__ import annotations

import contextlib
import contextvars
import socket
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import grpc
import pytest

from agentworkspace.client.channel import blocking_channel
from agentworkspace.core.secret import Secret
from agentworkspace.core.secret import Secret as WireSecret
from agentworkspace.registry.v1 import workspace_registry_service_pb2 as pb
from agentworkspace.rpc import calls
from agentworkspace.service.declared_settings import BadSettings
from provision_service.clients.registry import RegistryClient
from provision_service.domain.registry_port import (
    Admission,
    Delivery,
    FirstAdmission,
    FirstToken,
    Launch,
    RegistrationState,
    RegistryOlder,
    RegistryRefused,
    RegistryUnavailable,
)
from provision_service.metrics import REGISTRY_CALLS
from provision_service.wiring import registry_token
from tests.rpc.registry_server import Running, secret_of, serving

SOON = timedelta(seconds=5)
NOWHERE = "127.0.0.1:1"


@pytest.fixture(scope="module")
def registry(
    registry_database_of_module: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Running]:
    with serving(registry_database_of_module, tmp_path_factory.mktemp("registry")) as running:
        yield running


def client_of(address: str, caller: str = "operator") -> RegistryClient:
    bearer = WireSecret(secret_of(caller))
    return RegistryClient(blocking_channel(address, bearer=bearer, retries=False))


def admitted(client: RegistryClient, workspace_id: str, tenant_id: str = "acme") -> Secret:
    answer = client.admit(
        Admission(
            workspace_id=workspace_id,
            tenant_id=tenant_id,
            ticket_required=False,
            evidence_required=False,
        ),
        request_id=str(uuid.uuid4()),
        first_token=FirstToken(label="first"),
        timeout=SOON,
    )
    assert answer.delivery is Delivery.ENCLOSED
    assert answer.plaintext is not None
    return answer.plaintext


def test_a_workspace_is_admitted_launched_and_retired(registry: Running) -> None:
    client = client_of(registry.address)
    workspace_id = str(uuid.uuid4())
    token = admitted(client, workspace_id)
    assert client.is_workspace_token(token=token, timeout=SOON)

    begun = client.begin_incarnation(
        Launch(
            workspace_id=workspace_id,
            request_id=str(uuid.uuid4()),
            ticket_ttl=timedelta(minutes=45),
        ),
        timeout=SOON,
    )
    assert begun.number == 1
    assert begun.ticket is not None
    assert begun.ticket.reveal().startswith("awt_")

    stands = client.get_registration(workspace_id=workspace_id, timeout=SOON)
    assert stands.state is RegistrationState.PENDING
    assert (stands.incarnation, stands.registered_incarnation) == (1, 0)

    asked = [str(uuid.uuid4()), workspace_id]
    assert client.list_registrations_of(workspace_ids=asked, timeout=SOON) == (stands,)

    client.retire(workspace_id=workspace_id, tenant_id="acme", timeout=SOON)
    assert not client.is_workspace_token(token=token, timeout=SOON)


def new_admission(workspace_id: str) -> FirstAdmission:
    return FirstAdmission(
        admission=Admission(
            workspace_id=workspace_id,
            tenant_id="acme",
            ticket_required=True,
            evidence_required=False,
        ),
        request_id=str(uuid.uuid4()),
        first_token=FirstToken(label="first"),
        correlation_id=f"for-{workspace_id}",
    )


def new_launch(workspace_id: str) -> Launch:
    return Launch(
        workspace_id=workspace_id,
        request_id=str(uuid.uuid4()),
        ticket_ttl=timedelta(minutes=45),
        minimum_incarnation=6,
    )


def test_many_are_admitted_and_launched_in_order_and_what_is_no_news_is_not_answered(
    registry: Running,
) -> None:
    client = client_of(registry.address)
    first, second, known, unknown = (str(uuid.uuid4()) for _ in range(4))
    admitted(client, known)
    answers = client.admit_many(
        [new_admission(each) for each in (first, known, second)], timeout=SOON
    )
    tokens = [None if each is None else each.plaintext for each in answers]
    assert [token is None for token in tokens] == [False, True, False]
    for answer, workspace_id in ((answers[0], first), (answers[2], second)):
        assert answer is not None
        assert answer.delivery is Delivery.ENCLOSED
        assert answer.plaintext is not None
        assert client.is_workspace_token(token=answer.plaintext, timeout=SOON)
        stands = client.get_registration(workspace_id=workspace_id, timeout=SOON)
        assert stands.tenant_id == "acme"
    launches = [new_launch(each) for each in (second, unknown, first)]
    ids = ["one", "two", "three"]
    begun = client.begin_many(launches, correlation_ids=ids, timeout=SOON)
    assert [None if each is None else each.number for each in begun] == [7, None, 7]
    tickets = {each.ticket.reveal() for each in begun if each is not None and each.ticket}
    assert len(tickets) == 2
    assert all(ticket.startswith("awt_") for ticket in tickets)
    # What was begun before is answered by itself, with the same launch.
    assert client.begin_many(launches, correlation_ids=ids, timeout=SOON) == [None] * 3
    assert client.begin_incarnation(launches[0], timeout=SOON).number == 7


def test_a_registry_refuses_a_batch_that_is_too_large_as_a_whole(registry: Running) -> None:
    client = client_of(registry.address)
    launches = [new_launch(str(uuid.uuid4())) for _ in range(101)]
    with pytest.raises(RegistryRefused) as refused:
        client.begin_many(launches, correlation_ids=(), timeout=SOON)
    assert refused.value.reason == "INVALID_REQUEST"


def test_what_the_registry_refuses_is_a_reason(registry: Running) -> None:
    client = client_of(registry.address)
    with pytest.raises(RegistryRefused) as refused:
        client.get_registration(workspace_id=str(uuid.uuid4()), timeout=SOON)
    assert refused.value.reason == "WORKSPACE_UNKNOWN"

    workspace_id = str(uuid.uuid4())
    admitted(client, workspace_id)
    with pytest.raises(RegistryRefused) as refused:
        admitted(client, workspace_id, tenant_id="globex")
    assert refused.value.reason == "TENANT_MISMATCH"


def test_an_api_token_is_no_bearer_of_a_box(registry: Running) -> None:
    client = client_of(registry.address)
    workspace_id = str(uuid.uuid4())
    token = admitted(client, workspace_id)
    assert client.validate_token(token=token, workspace_id=workspace_id, timeout=SOON) is None


def test_a_refused_credential_of_our_own_is_no_verdict_on_the_workspace(registry: Running) -> None:
    client = client_of(registry.address, caller="nobody")
    with pytest.raises(RegistryUnavailable):
        client.get_registration(workspace_id=str(uuid.uuid4()), timeout=SOON)


def test_a_registry_that_is_not_there_is_unavailable() -> None:
    client = RegistryClient(blocking_channel(NOWHERE))
    with pytest.raises(RegistryUnavailable):
        client.retire(
            workspace_id=str(uuid.uuid4()), tenant_id="acme", timeout=timedelta(seconds=2)
        )


def test_a_call_never_outlasts_the_call_it_is_made_for() -> None:
    client = RegistryClient(blocking_channel(NOWHERE))

    def serve() -> None:
        calls.enter(calls.Call("/test", "id", time.monotonic() - 1))
        with pytest.raises(RegistryUnavailable, match="no time was left"):
            client.retire(workspace_id="x", tenant_id="acme", timeout=SOON)

    contextvars.copy_context().run(serve)


def test_every_call_is_observed_by_name_and_outcome(registry: Running) -> None:
    seen: list[tuple[str, str]] = []

    def observe(method: str, outcome: str, seconds: float) -> None:
        assert seconds >= 0
        seen.append((method, outcome))

    bearer = WireSecret(secret_of("operator"))
    client = RegistryClient(blocking_channel(registry.address, bearer=bearer), observe=observe)
    client.list_changed_registrations(after=0, page_token="", timeout=SOON)
    with pytest.raises(RegistryRefused):
        client.get_registration(workspace_id=str(uuid.uuid4()), timeout=SOON)
    client.admit_many([new_admission(str(uuid.uuid4()))], timeout=SOON)
    client.begin_many([new_launch(str(uuid.uuid4()))], correlation_ids=(), timeout=SOON)
    assert seen == [
        ("ListRegistrations", "ok"),
        ("GetRegistration", "refused"),
        ("BatchAdmitWorkspaces", "ok"),
        ("BatchBeginIncarnations", "ok"),
    ]
    assert {method for method, _ in seen} <= set(REGISTRY_CALLS)


@pytest.fixture
def silent() -> Iterator[str]:
    """An address where connections are taken and nothing is ever said."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"127.0.0.1:{listener.getsockname()[1]}"


def within(seconds: float, work: Callable[[], object]) -> object:
    """Run as part of a call of whose time so much is left."""

    def entered() -> object:
        deadline = time.monotonic() + seconds
        calls.enter(calls.Call(method="/test", correlation_id="test", deadline=deadline))
        return work()

    return contextvars.copy_context().run(entered)


def knows_a_stranger(client: RegistryClient, timeout: timedelta = SOON) -> bool:
    return client.is_workspace_token(token=Secret("stranger"), timeout=timeout)


def fails_five_times(work: Callable[[], object]) -> None:
    for _ in range(5):
        with pytest.raises(RegistryUnavailable, match="did not answer"):
            work()


def test_a_deadline_that_a_caller_cut_short_does_not_count_against_the_registry(
    silent: str,
) -> None:
    client = client_of(silent)
    for _ in range(20):
        with pytest.raises(RegistryUnavailable, match="before the registry answered"):
            within(0.01, lambda: knows_a_stranger(client))
    with pytest.raises(RegistryUnavailable, match="did not answer"):
        knows_a_stranger(client, timedelta(milliseconds=50))


def test_after_five_failures_nobody_asks_any_more_for_that_purpose_alone() -> None:
    client = client_of(NOWHERE)
    fails_five_times(lambda: knows_a_stranger(client))
    with pytest.raises(RegistryUnavailable, match="has not been answering"):
        knows_a_stranger(client)
    fails_five_times(
        lambda: client.list_changed_registrations(after=0, page_token="", timeout=SOON)
    )
    with pytest.raises(RegistryUnavailable, match="did not answer"):
        client.retire(workspace_id=str(uuid.uuid4()), tenant_id="acme", timeout=SOON)


@pytest.fixture
def earlier() -> Iterator[str]:
    """The address of a registry that knows RetireWorkspace and nothing else."""
    server = grpc.server(ThreadPoolExecutor(1))
    retire = grpc.unary_unary_rpc_method_handler(
        lambda _request, _context: pb.RetireWorkspaceResponse(),
        request_deserializer=pb.RetireWorkspaceRequest.FromString,
        response_serializer=pb.RetireWorkspaceResponse.SerializeToString,
    )
    name = pb.DESCRIPTOR.services_by_name["WorkspaceRegistryService"].full_name
    server.add_generic_rpc_handlers(
        [grpc.method_handlers_generic_handler(name, {"RetireWorkspace": retire})]
    )
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None).wait()


def asked_for_many(client: RegistryClient) -> None:
    """Both of the methods that an earlier registry lacks."""
    with pytest.raises(RegistryOlder, match="does not know BatchAdmitWorkspaces"):
        client.admit_many([new_admission(str(uuid.uuid4()))], timeout=SOON)
    with pytest.raises(RegistryOlder, match="does not know BatchBeginIncarnations"):
        client.begin_many([new_launch(str(uuid.uuid4()))], correlation_ids=(), timeout=SOON)


def test_a_registry_of_an_earlier_version_is_one_that_answers(earlier: str) -> None:
    client = client_of(earlier)
    for _ in range(10):
        asked_for_many(client)
    assert not client._launches.wants_trial
    client.retire(workspace_id=str(uuid.uuid4()), tenant_id="acme", timeout=SOON)


def test_a_server_that_is_no_registry_does_not_pass_for_an_earlier_one(earlier: str) -> None:
    """It lacks what every registry has; what only an earlier one may lack proves nothing."""
    client = client_of(earlier)

    def stands() -> object:
        with contextlib.suppress(RegistryOlder):
            client.begin_many([new_launch(str(uuid.uuid4()))], correlation_ids=(), timeout=SOON)
        return client.get_registration(workspace_id=str(uuid.uuid4()), timeout=SOON)

    fails_five_times(stands)
    with pytest.raises(RegistryUnavailable, match="has not been answering"):
        client.admit_many([new_admission(str(uuid.uuid4()))], timeout=SOON)


def test_a_trial_of_our_own_ends_it_and_no_call_does(registry: Running) -> None:
    client = client_of(registry.address)
    for _ in range(5):
        client._bearers.failed()
    for _ in range(3):
        with pytest.raises(RegistryUnavailable, match="has not been answering"):
            knows_a_stranger(client)
    client.trial()
    assert knows_a_stranger(client) is False


def test_trials_find_out_what_calls_that_were_cut_short_could_not_know(silent: str) -> None:
    client = client_of(silent)
    with pytest.raises(RegistryUnavailable):
        within(0.01, lambda: knows_a_stranger(client))
    dead = client_of(NOWHERE)
    dead._bearers.doubted()
    assert client._bearers.wants_trial
    for _ in range(5):
        dead.trial()
    with pytest.raises(RegistryUnavailable, match="has not been answering"):
        knows_a_stranger(dead)


def test_the_token_file_is_read_again_when_it_changes(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("first\n")
    token = registry_token(path)
    assert token.reveal() == "first"
    path.write_text("second\n")
    assert token.reveal() == "second"
    path.write_text("two\nlines")
    assert token.reveal() == "second"


@pytest.mark.parametrize("text", ["two\nlines", "", "ä", "x" * 4097])
def test_a_token_file_without_a_token_refuses_to_start(tmp_path: Path, text: str) -> None:
    path = tmp_path / "token"
    path.write_text(text)
    told = f"PROVISION_REGISTRY_TOKEN_FILE: {path}: must hold one line with the credential"
    with pytest.raises(BadSettings, match=told):
        registry_token(path)


def test_an_unanswered_channel_raises_no_grpc_error(registry: Running) -> None:
    del registry
    client = RegistryClient(grpc.insecure_channel(NOWHERE))
    with pytest.raises(RegistryUnavailable):
        client.is_workspace_token(token=Secret("junk"), timeout=timedelta(seconds=1))
