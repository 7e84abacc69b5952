"""Names and beginnings of ids in place of ids; and a question before anything ends."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from unittest import mock

import grpc
import pytest

from agentworkspace.ctl.main import main
from agentworkspace.provision.v1 import provision_pb2, workspace_pb2
from agentworkspace.provision.v1 import secret_service_pb2 as secrets
from agentworkspace.provision.v1 import workspace_service_pb2 as provision
from agentworkspace.registry.v1 import token_pb2
from agentworkspace.registry.v1 import token_service_pb2 as registry
from agentworkspace.registry.v1 import workspace_registry_service_pb2 as registrations
from agentworkspace.rpc.errors import RpcFailure
from tests.rpc.workspacectl_pair import (
    LAUNCH,
    TOKEN,
    WORKSPACE,
    Pair,
    Terminal,
    at,
    running_pair,
)

OTHER = "6b2f0000-0000-4000-8000-000000000000"
SCRIBE = workspace_pb2.Workspace(
    id=WORKSPACE,
    tenant_id="acme",
    name="scribe",
    status=workspace_pb2.WORKSPACE_STATUS_RUNNING,
    incarnation=3,
)
NAMESAKE = workspace_pb2.Workspace(
    id=OTHER, tenant_id="acme", name="scribe", status=workspace_pb2.WORKSPACE_STATUS_PENDING
)
REMOVED = workspace_pb2.Workspace(
    id=OTHER, tenant_id="acme", name="scribe", status=workspace_pb2.WORKSPACE_STATUS_REMOVED
)


@pytest.fixture
def pair() -> Iterator[Pair]:
    with running_pair() as found:
        named(found, SCRIBE)
        found.provision.on("GetWorkspace", provision.GetWorkspaceResponse(workspace=SCRIBE))
        found.provision.on("RemoveWorkspace", provision.RemoveWorkspaceResponse())
        found.registry.on("ListTokens", registry.ListTokensResponse())
        yield found


def named(pair: Pair, *workspaces: workspace_pb2.Workspace) -> None:
    pair.provision.on("ListWorkspaces", provision.ListWorkspacesResponse(workspaces=workspaces))


def methods(pair: Pair) -> list[str]:
    return [asked.method for asked in (*pair.provision.asked, *pair.registry.asked)]


def test_a_workspace_is_known_by_its_name(pair: Pair) -> None:
    assert pair.run("tokens", "list", "scribe").code == 0

    (asked,) = pair.provision.asked
    assert (asked.request.named, asked.request.show_removed) == ("scribe", True)
    assert pair.registry.only(registry.ListTokensRequest).workspace_id == WORKSPACE


def test_an_option_takes_a_name_too(pair: Pair) -> None:
    pair.provision.on("ListProvisions", provision.ListProvisionsResponse())

    pair.run("provisions", "list", "--workspace", "scribe")

    assert pair.provision.asked[-1].request.workspace_id == WORKSPACE


def test_what_may_be_several_is_refused_with_all_of_them(pair: Pair) -> None:
    named(pair, SCRIBE, NAMESAKE)

    result = pair.run("tokens", "list", "scribe")

    assert (result.code, pair.registry.asked) == (2, [])
    assert result.err == (
        "workspacectl: 'scribe' may be more than one workspace; give the id, or more of it:\n"
        f"  {WORKSPACE}  scribe of acme, RUNNING\n"
        f"  {OTHER}  scribe of acme, PENDING\n"
    )


def test_a_removed_namesake_is_not_in_the_way(pair: Pair) -> None:
    named(pair, REMOVED, SCRIBE)

    assert pair.run("tokens", "list", "scribe").code == 0


def test_a_beginning_is_long_enough_not_to_hit_a_stranger(pair: Pair) -> None:
    result = pair.run("workspaces", "remove", "6b2", "--yes")

    assert result.code == 2
    assert "give at least 4 characters of an id" in result.err
    assert "RemoveWorkspace" not in methods(pair)


def test_an_unknown_name_is_answered_with_the_one_that_was_meant(pair: Pair) -> None:
    pair.provision.on(
        "ListWorkspaces",
        provision.ListWorkspacesResponse(),
        provision.ListWorkspacesResponse(workspaces=[SCRIBE]),
    )

    result = pair.run("tokens", "list", "scrieb")

    assert result.code == 2
    assert "did you mean scribe?" in result.err


@pytest.mark.parametrize("provisioning", ["knows none", "is down"])
def test_whom_the_registry_alone_knows_is_found_by_the_beginning_of_the_id(
    pair: Pair, provisioning: str
) -> None:
    down = RpcFailure(grpc.StatusCode.UNAVAILABLE, "agentworkspace.provision", "", "down")
    none = provision.ListWorkspacesResponse()
    pair.provision.on("ListWorkspaces", none if provisioning == "knows none" else down)
    found = registrations.Registration(workspace_id=WORKSPACE, tenant_id="acme")
    pair.registry.on(
        "ListRegistrations", registrations.ListRegistrationsResponse(registrations=[found])
    )

    assert pair.run("--timeout", "2", "tokens", "list", WORKSPACE[:8]).code == 0

    assert pair.registry.asked[0].request.id_prefix == WORKSPACE[:8]
    assert pair.registry.asked[1].request.workspace_id == WORKSPACE


def test_a_token_is_known_by_its_label_or_the_beginning_of_its_id(pair: Pair) -> None:
    token = token_pb2.Token(token_id=TOKEN, label="gateway")
    pair.registry.on("ListTokens", registry.ListTokensResponse(tokens=[token]))
    pair.registry.on("RevokeToken", registry.RevokeTokenResponse())

    for word in ("gateway", TOKEN[:8]):
        revoke = ("tokens", "revoke", WORKSPACE, word, "--reason", "operator", "--yes")
        assert pair.run(*revoke).code == 0
        assert pair.registry.asked[-1].request.token_id == TOKEN


def test_a_launch_is_known_by_the_beginning_of_its_id(pair: Pair) -> None:
    launch = provision_pb2.Provision(id=LAUNCH, workspace_id=WORKSPACE)
    pair.provision.on("ListProvisions", provision.ListProvisionsResponse(provisions=[launch]))
    pair.provision.on("GetProvision", provision.GetProvisionResponse(provision=launch))

    assert pair.run("provisions", "get", LAUNCH[:6]).code == 0

    listed, got = pair.provision.asked
    assert (listed.request.id_prefix, got.request.provision_id) == (LAUNCH[:6], LAUNCH)


ENDING = [
    (
        ("workspaces", "remove", WORKSPACE),
        f"This removes workspace scribe ({WORKSPACE}) of tenant acme, RUNNING as incarnation 3,",
    ),
    (
        ("launch", WORKSPACE, "--reason", "restart", "--env-file", "box.env"),
        f"This ends the box of workspace scribe ({WORKSPACE}) of tenant acme, RUNNING",
    ),
    (
        ("tokens", "revoke", WORKSPACE, TOKEN, "--reason", "operator"),
        f"This revokes token {TOKEN} of workspace scribe",
    ),
    (("tokens", "rotate", WORKSPACE, TOKEN), f"This ends token {TOKEN} of workspace scribe"),
    (
        ("tokens", "revoke-all", WORKSPACE, "--reason", "suspended"),
        "This revokes every token of kind INSTANCE and API of workspace scribe",
    ),
    (("registrations", "retire", WORKSPACE), "This retires workspace scribe"),
    (("secrets", "delete", "K", "--tenant", "acme"), "This deletes secret K of tenant acme"),
    (("platform-credentials", "unregister", "prod"), "This forgets the platform credential prod"),
    (("billing", "tenant", "acme", "--remove-usage-token"), "This forgets the usage token of"),
]  # fmt: skip


@pytest.mark.parametrize(("words", "named_first"), ENDING)
def test_what_ends_something_names_it_and_does_nothing_without_a_yes(
    pair: Pair, words: tuple[str, ...], named_first: str
) -> None:
    result = pair.run(*words)

    assert result.code == 2
    assert named_first in result.err
    assert "nothing was done, and nobody is there to ask: say --yes" in result.err
    assert set(methods(pair)) <= {"GetWorkspace"}


@pytest.mark.parametrize(("answer", "removed"), [("y\n", True), ("n\n", False), ("\n", False)])
def test_somebody_at_a_terminal_is_asked(pair: Pair, answer: str, removed: bool) -> None:
    typed = Terminal(io.BytesIO(answer.encode()), encoding="utf-8")
    err = io.StringIO()
    words = ["--provision", pair.provision.address, "workspaces", "remove", WORKSPACE]
    with mock.patch.object(sys, "stdin", typed), redirect_stderr(err), redirect_stdout(err):
        code = main(words)

    assert "Go on? [y/N]" in err.getvalue()
    assert ("RemoveWorkspace" in methods(pair)) is removed
    assert code == (0 if removed else 2)


def test_a_launch_that_evicts_nobody_asks_nothing(pair: Pair, tmp_path: Path) -> None:
    pair.provision.on("GetWorkspace", provision.GetWorkspaceResponse(workspace=NAMESAKE))
    pair.provision.on("ProvisionWorkspace", provision.ProvisionWorkspaceResponse(env={"A": "1"}))

    launch = ("launch", OTHER, "--reason", "create", "--env-file", str(tmp_path / "box.env"))

    assert pair.run(*launch).code == 0


@pytest.mark.parametrize(
    ("state", "lease", "reason", "asks"),
    [
        ("CLAIMED", "2999-01-01T00:00:00Z", "restart", False),
        ("ENV_DELIVERED", "2999-01-01T00:00:00Z", "restart", False),
        ("ENV_DELIVERED", "2020-01-01T00:00:00Z", "restart", True),
        ("LAUNCHED", "2999-01-01T00:00:00Z", "restart", True),
        ("CLAIMED", "2999-01-01T00:00:00Z", "resume", True),
    ],
)
def test_a_launch_asks_unless_it_would_only_join_one_that_is_on_its_way(
    pair: Pair, tmp_path: Path, state: str, lease: str, reason: str, *, asks: bool
) -> None:
    scribe = workspace_pb2.Workspace(
        id=WORKSPACE,
        tenant_id="acme",
        name="scribe",
        status=workspace_pb2.WORKSPACE_STATUS_PROVISIONING,
    )
    held = provision_pb2.Provision(
        id=LAUNCH,
        workspace_id=WORKSPACE,
        state=provision_pb2.ProvisionState.Value(f"PROVISION_STATE_{state}"),
        lease_expire_time=at(lease),
        caller="launch-2",
    )
    pair.provision.on("GetWorkspace", provision.GetWorkspaceResponse(workspace=scribe))
    pair.provision.on("ListProvisions", provision.ListProvisionsResponse(provisions=[held]))
    pair.provision.on(
        "ProvisionWorkspace", provision.ProvisionWorkspaceResponse(provision=held, joined=True)
    )

    result = pair.run(
        *("launch", WORKSPACE, "--reason", reason, "--env-file", str(tmp_path / "box.env"))
    )

    assert ("This ends the box of workspace scribe" in result.err) is asks
    assert ("ProvisionWorkspace" in methods(pair)) is not asks
    if not asks:
        assert result.code == 1
        assert "joined: another caller holds this launch (launch-2, until 2999-01-01" in result.err
        assert f"`workspacectl provisions get {LAUNCH}`" in result.err


def test_with_yes_nothing_is_asked_and_nobody_is_looked_up(pair: Pair, tmp_path: Path) -> None:
    pair.provision.on("ProvisionWorkspace", provision.ProvisionWorkspaceResponse(env={"A": "1"}))
    launch = ("launch", WORKSPACE, "--reason", "restart", "--env-file", str(tmp_path / "box.env"))

    assert pair.run(*launch, "--yes").code == 0
    assert methods(pair) == ["ProvisionWorkspace"]


def test_deleting_what_is_not_there_is_a_no_with_the_name_that_was_meant(pair: Pair) -> None:
    pair.provision.on("DeleteGlobalSecret", secrets.DeleteGlobalSecretResponse(deleted=False))
    kept = secrets.Secret(key="GITHUB_TOKEN", scope="global")
    pair.provision.on("ListSecrets", secrets.ListSecretsResponse(secrets=[kept]))

    result = pair.run("secrets", "delete", "GITHUB_TOKN", "--tenant", "acme", "--yes")

    assert (result.code, result.out) == (1, "")
    assert result.err == (
        "note: nothing was deleted: there is no secret GITHUB_TOKN at this scope; did you mean"
        " GITHUB_TOKEN?\n"
    )
