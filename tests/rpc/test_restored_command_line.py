"""`restored` of both services: nothing is changed before somebody said so."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentworkspace.service import confirmation
from provision_service.__main__ import main as provision
from registry_service.__main__ import main as registry
from tests.rpc import registry_server
from tests.rpc.provision_server import environment_of
from tests.storage.registry_world import World, world_at

KEEP = ["restored", "--api-tokens", "keep"]


@pytest.fixture
def world(registry_database: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setenv("REGISTRY_DATABASE_URL", registry_database)
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    with world_at(registry_database) as world:
        yield world


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def began(world: World) -> bool:
    query = "SELECT count(*) FROM registry.audit_events WHERE action = 'registry.restore_begun'"
    return bool(world.sql(query)[0][0])


def test_a_dry_run_says_what_would_be_done(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    workspace_id = world.workspace()
    minted = world.mint(workspace_id, label="tab\there").token
    world.launched(workspace_id)
    assert registry([*KEEP, "--dry-run"]) == 0
    told = capsys.readouterr().out
    assert "end 1 instance tokens and 1 tickets as COMPROMISED" in told
    assert "- keep 1 api tokens. No record here says which of them were revoked" in told
    assert f"{minted.token_id}\t{workspace_id}\tacme\t'tab\\there'\t" in told
    assert told.endswith("nothing was changed: this was a dry run\n")
    assert not began(world)


def test_without_a_terminal_it_wants_to_be_told(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    assert registry(KEEP) == 2
    assert "run it again with --yes" in capsys.readouterr().err
    assert not began(world)


@pytest.mark.parametrize(("typed", "status"), [("yes\n", 0), ("y\n", 1), ("", 1)])
def test_at_a_terminal_it_asks(
    world: World, monkeypatch: pytest.MonkeyPatch, typed: str, status: int
) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal(typed))
    assert registry(KEEP) == status
    assert began(world) is (status == 0)


def test_what_becomes_of_api_tokens_must_be_chosen(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        registry(["restored", "--yes"])
    assert ended.value.code == 2
    assert "--api-tokens" in capsys.readouterr().err
    assert not began(world)


def test_how_far_it_is_goes_to_standard_error_and_a_second_run_is_harmless(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    world.launched(world.workspace())
    for ended in (3, 0):
        assert registry(["restored", "--api-tokens", "revoke", "--yes"]) == 0
        told = capsys.readouterr()
        assert told.err == f"1 workspaces done, {ended} tokens ended\n"
        assert f"done: {ended} tokens ended. Now serve again" in told.out


def test_it_says_that_a_registry_serves_from_this_database(
    world: World,
    registry_database: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with registry_server.serving(registry_database, tmp_path):
        while not world.sql("SELECT 1 FROM registry.pulse"):
            pass
        registry([*KEEP, "--dry-run"])
    assert "Careful: a registry serves from this database right now" in capsys.readouterr().out


class TestProvisioning:
    @pytest.fixture(autouse=True)
    def settings(
        self, provision_database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sys, "stdin", io.StringIO())
        monkeypatch.setenv("PROVISION_DATABASE_URL", provision_database)
        for name, text in environment_of(tmp_path, "127.0.0.1:1", {}).items():
            monkeypatch.setenv(name, text)

    def test_a_registry_that_does_not_answer_is_named(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert provision(["restored", "--yes"]) == 1
        told = capsys.readouterr().err
        assert "See that the registry serves at 127.0.0.1:1, and run this again" in told

    def test_without_a_terminal_it_wants_to_be_told(
        self,
        registry_database: str,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        with registry_server.serving(registry_database, tmp_path) as running:
            monkeypatch.setenv("PROVISION_REGISTRY_ADDRESS", running.address)
            assert provision(["restored"]) == 2
        told = capsys.readouterr()
        assert "compared 0 workspaces with the registry" in told.out
        assert "run it again with --yes" in told.err


def test_an_account_without_a_name_is_known_by_its_number(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def nobody() -> str:
        raise KeyError("no such uid")

    monkeypatch.setattr("getpass.getuser", nobody)
    assert confirmation.operator().startswith("uid ")
