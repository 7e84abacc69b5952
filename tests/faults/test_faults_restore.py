"""The restore drill: one database, or both, are of before everything that happened since."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from agentworkspace.client.channel import aio_channel
from agentworkspace.client.verifier import BlockingVerifier, Principal, Rejected
from agentworkspace.core.secret import Secret
from agentworkspace.provision.v1 import secret_service_pb2, workspace_pb2
from agentworkspace.provision.v1 import workspace_service_pb2 as pb
from agentworkspace.registry.v1 import (
    token_pb2,
    token_service_pb2,
    workspace_registry_service_pb2,
)
from agentworkspace.rpc.errors import RpcFailure
from tests.faults.drills import ControlPlane, Reconciler, reconciler_of, restored
from tests.faults.pairs import DATABASES, make_databases
from tests.faults.servers import Server, reachable_directory, started
from tests.lifecycle.launches import create, workspace_of
from tests.lifecycle.processes import PASSING, Pair, pair
from tests.rpc.registry_requests import failed
from tests.rpc.registry_server import LAUNCHER, VERIFIER, bearer, secret_of
from tests.rpc.registry_story import SECONDS

pytestmark = pytest.mark.timeout(480)

NAMES: Final = ("steady", "robbed", "busy", "removed", "suspended", "starting")
SUSPENDED: Final = workspace_pb2.WORKSPACE_STATUS_SUSPENDED
FAILED: Final = workspace_pb2.WORKSPACE_STATUS_FAILED
OFFLINE: Final = workspace_pb2.WORKSPACE_STATUS_OFFLINE
RUNNING: Final = workspace_pb2.WORKSPACE_STATUS_RUNNING
RESTORED: Final = workspace_registry_service_pb2.RELAUNCH_REASON_RESTORED
REMOVED: Final = workspace_pb2.WORKSPACE_STATUS_REMOVED


@pytest.fixture
def server() -> Iterator[Server]:
    with reachable_directory() as directory, started(Server(directory / "postgres")) as server:
        make_databases(server)
        yield server


class Drill:
    """Six workspaces of before the backup, and a seventh that came after it."""

    def __init__(self, server: Server, pair: Pair) -> None:
        self.server = server
        self.pair = pair
        self.plane = ControlPlane(pair)
        self.ids = {name: create(pair.provision).workspace.id for name in NAMES}
        for name in NAMES[:-1]:
            self.plane.launch(self.ids[name])
        # Handed out, and no box has come yet.
        self.starting = self.plane.provision(self.ids["starting"])
        self.stolen = self.plane.mint(self.ids["robbed"], "stolen")
        self.dumps = {name: server.backed_up(name) for name in DATABASES}
        self._go_on()

    def _go_on(self) -> None:
        plane, ids = self.plane, self.ids
        robbed = plane.at_registry(ids["robbed"])
        robbed.revoke(self.stolen.token.token_id)
        robbed.revoke_all(reason=token_pb2.REVOKE_REASON_COMPROMISED)
        plane.launch(ids["robbed"])
        plane.mint(ids["steady"], "new")
        for _ in range(3):
            plane.launch(ids["busy"])
        request = pb.RemoveWorkspaceRequest(workspace_id=ids["removed"])
        self.pair.provision.workspaces.RemoveWorkspace(request, metadata=LAUNCHER, timeout=SECONDS)
        plane.at_registry(ids["suspended"]).revoke_all(reason=token_pb2.REVOKE_REASON_SUSPENDED)
        self.until("suspended", SUSPENDED)
        plane.start(ids["starting"], self.starting)
        self.ids["young"] = create(self.pair.provision).workspace.id
        plane.launch(self.ids["young"])

    def until(self, name: str, status: int) -> None:
        """The status is observed, not written."""
        while self.status(name) != status:
            pass

    def status(self, name: str) -> int:
        return int(workspace_of(self.pair.provision, self.ids[name]).status)

    def restore(self, *databases: str, api_tokens: str = "revoke") -> dict[str, str]:
        """As deploy/restore.md says; what the commands answered."""
        pair, told = self.pair, {}
        pair.provision.stop()
        pair.registry.stop()
        for name in databases:
            self.server.restore(name, self.dumps[name])
        if "registry" in databases:
            told["registry"] = restored(pair.registry, "--api-tokens", api_tokens, "--yes")
        pair.registry.start()
        pair.registry.until_serving()
        told["provision"] = restored(pair.provision, "--yes")
        pair.provision.start()
        pair.provision.until_serving()
        return told

    def launched_again(self, reconciler: Reconciler) -> Counter[str]:
        by_id = {self.ids[name]: name for name in self.ids}
        counted = self.plane.follow(reconciler)
        return Counter({by_id[each]: counted[each] for each in counted})


@pytest.fixture
def drill(server: Server, tmp_path: Path) -> Iterator[Drill]:
    registry, provision = (server.url(name) for name in DATABASES)
    # It is called by hand here, without its minutes.
    settings = {"PROVISION_RECONCILER": "off"}
    with pair(registry, provision, tmp_path / "services", settings=settings) as both:
        yield Drill(server, both)


@contextmanager
def verifier_of(pair: Pair) -> Iterator[BlockingVerifier]:
    def channel() -> object:
        return aio_channel(pair.registry.address, bearer=Secret(secret_of("gateway")))

    with BlockingVerifier(channel) as verifier:  # type: ignore[arg-type]
        yield verifier


def test_after_the_registry_was_restored_nothing_old_opens_and_one_launch_brings_all_back(
    drill: Drill,
) -> None:
    plane, ids = drill.plane, drill.ids
    old = list(plane.tokens)
    with verifier_of(drill.pair) as verifier:
        known = plane.accepted()
        for workspace_id, token in known:
            assert checked(verifier, token).workspace_id == workspace_id
        seen = plane.at_registry(ids["steady"]).validate(known[0][1]).revision
        drill.restore("registry")
        assert plane.accepted() == []
        for _, token in old:
            with pytest.raises(Rejected):
                checked(verifier, token)
    assert is_told_to_forget(drill.pair, seen)
    # No status says RUNNING while its box is told RELAUNCH; FAILED where it was not observed yet.
    for name in ("steady", "robbed", "busy"):
        while drill.status(name) not in (OFFLINE, FAILED):
            pass
    with reconciler_of(drill.pair) as reconciler:
        back = ("steady", "robbed", "busy", "starting", "young")
        assert drill.launched_again(reconciler) == Counter(back)
    for name in back:
        assert plane.is_in(ids[name])
        drill.until(name, RUNNING)
    assert len(set(plane.numbers)) == len(plane.numbers)
    assert drill.status("suspended") == SUSPENDED
    assert drill.status("removed") == REMOVED
    told = {name: refusal(drill, name) for name in ("suspended", "removed")}
    assert told == {"suspended": "WORKSPACE_SUSPENDED", "removed": "WORKSPACE_REMOVED"}


def test_after_provisioning_was_restored_every_box_stays_in_and_nothing_removed_comes_back(
    drill: Drill,
) -> None:
    plane, ids = drill.plane, drill.ids
    live = plane.accepted()
    told = drill.restore("provision")
    assert plane.accepted() == live
    assert f"{ids['young']}\tacme\tONLINE" in told["provision"]
    assert drill.status("removed") == REMOVED
    listed = drill.pair.provision.secrets.ListSecrets(
        secret_service_pb2.ListSecretsRequest(workspace_id=ids["steady"], tenant_id="acme"),
        metadata=LAUNCHER,
        timeout=SECONDS,
    )
    assert [each.key for each in listed.secrets] == ["CLAUDE_CODE_OAUTH_TOKEN"]
    drill.until("suspended", SUSPENDED)
    for name in ("steady", "robbed", "busy", "starting"):
        assert plane.is_in(ids[name])
        drill.until(name, RUNNING)
    # The box of a launch that is not stored any more reads its secrets all the same.
    read = drill.pair.provision.secrets.GetSecretValues(
        secret_service_pb2.GetSecretValuesRequest(workspace_id=ids["busy"]),
        metadata=bearer(plane.boxes[ids["busy"]].token),
        timeout=SECONDS,
    )
    assert list(read.values) == ["CLAUDE_CODE_OAUTH_TOKEN"]
    with reconciler_of(drill.pair) as reconciler:
        assert drill.launched_again(reconciler) == Counter()
    for name in ("busy", "starting"):
        plane.launch(ids[name])
    assert len(set(plane.numbers)) == len(plane.numbers)


def test_after_both_were_restored_no_number_is_given_out_twice(drill: Drill) -> None:
    plane, ids = drill.plane, drill.ids
    drill.restore("registry", "provision")
    assert plane.accepted() == []
    with reconciler_of(drill.pair) as reconciler:
        # Nobody remembers the removal, nor the suspension.
        assert drill.launched_again(reconciler) == Counter(NAMES)
    for name in NAMES:
        assert plane.is_in(ids[name])
        drill.until(name, RUNNING)
    assert len(set(plane.numbers)) == len(plane.numbers)


def test_api_tokens_that_are_kept_are_listed_for_they_may_have_been_revoked(drill: Drill) -> None:
    plane = drill.plane
    told = drill.restore("registry", api_tokens="keep")["registry"]
    accepted = {token for _, token in plane.accepted()}
    # It was revoked after the backup, and nobody can know.
    assert accepted == {drill.stolen.plaintext}
    assert drill.stolen.token.token_id in told
    assert "\tacme\t'stolen'\t" in told


def test_provisioning_notices_a_restored_registry_without_any_command(drill: Drill) -> None:
    plane, ids = drill.plane, drill.ids
    drill.pair.registry.stop()
    drill.server.restore("registry", drill.dumps["registry"])
    drill.pair.registry.start()
    drill.pair.registry.until_serving()
    drill.pair.provision.until_serving()
    for name in ("robbed", "busy"):
        while plane.at_registry(ids[name]).registration().relaunch_reason != RESTORED:
            pass
    with reconciler_of(drill.pair) as reconciler:
        assert drill.launched_again(reconciler) == Counter(("robbed", "busy"))
    assert plane.is_in(ids["busy"])
    drill.until("busy", RUNNING)
    assert len(set(plane.numbers)) == len(plane.numbers)
    # What only the registry's restore lost is not forgotten here.
    assert drill.status("suspended") == SUSPENDED


def checked(verifier: BlockingVerifier, token: str) -> Principal:
    """Again and again while the registry is on its way back."""
    while True:
        try:
            return verifier.check(Secret(token))
        except RpcFailure as failure:
            if failure.code not in PASSING:
                raise


def is_told_to_forget(pair: Pair, seen: int) -> bool:
    """Whether a verifier that saw this revision before the restore, and comes back, is."""
    stream = pair.registry.tokens.WatchRevocations(
        token_service_pb2.WatchRevocationsRequest(after_revision=seen), metadata=VERIFIER
    )
    try:
        first = next(stream)
    finally:
        stream.cancel()
    return bool(first.reset and first.revision > seen)


def refusal(drill: Drill, name: str) -> str:
    """What its box is told when it registers."""
    workspace_id = drill.ids[name]
    box = drill.plane.boxes[workspace_id]
    at = drill.plane.at_registry(workspace_id)
    return failed(lambda: at.register(box.token, ticket=box.ticket)).reason
