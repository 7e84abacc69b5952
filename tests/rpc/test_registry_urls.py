"""A box may announce where it is reached; a name server is asked only for boxes, and never
keeps one out."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from registry_service.commands import update_card
from registry_service.commands.update_card import UpdateCard
from registry_service.storage.store import Store
from tests.rpc.name_servers import name_server
from tests.rpc.registry_requests import failed
from tests.rpc.registry_server import Running, serving
from tests.rpc.registry_story import Workspace


@pytest.fixture(scope="module")
def running(
    registry_database_of_module: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Running]:
    with serving(registry_database_of_module, tmp_path_factory.mktemp("urls")) as started:
        yield started


@pytest.fixture
def workspace(running: Running) -> Workspace:
    made = Workspace(running)
    made.admit(ticket_required=True)
    return made


def test_a_name_that_leads_to_a_public_address_is_stored(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticket = workspace.launch().bootstrap_ticket
    with name_server(monkeypatch, agent_test=["1.1.1.1"]) as names:
        answer = workspace.register(ticket=ticket, url="https://agent.test/a2a")
    assert list(answer.warnings) == []
    assert workspace.registration().url == "https://agent.test/a2a"
    assert names.asked == ["agent.test"]


def test_a_box_whose_name_does_not_resolve_is_in_without_its_url(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticket = workspace.launch().bootstrap_ticket
    with name_server(monkeypatch):
        answer = workspace.register(ticket=ticket, url="https://nobody.test/")
    assert answer.auth_token
    (warning,) = answer.warnings
    assert warning.code == "URL_UNRESOLVED"
    assert warning.metadata == {"url": "https://nobody.test/"}
    assert workspace.registration().url == ""


def test_a_name_server_that_never_answers_keeps_no_box_out(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticket = workspace.launch().bootstrap_ticket
    with name_server(monkeypatch):
        answer = workspace.register(ticket=ticket, url="https://a.never.test/")
        again = workspace.register(answer.auth_token, url="https://b.never.test/")
    assert [each.code for each in answer.warnings] == ["URL_UNRESOLVED"]
    assert [each.code for each in again.warnings] == ["URL_UNRESOLVED"]


@pytest.mark.parametrize("fields", [{}, {"token": "awi_nobodys"}, {"ticket": "awt_nobodys"}])
def test_a_stranger_makes_nobody_ask_a_name_server(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, fields: dict[str, str]
) -> None:
    workspace.launch()
    with name_server(monkeypatch, agent_test=["1.1.1.1"]) as names:
        failed(lambda: workspace.register(**fields, url="https://agent.test/"))
        failed(lambda: workspace.update_card("awi_nobodys", url="https://agent.test/"))
    assert names.asked == []


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254/",
        "http://192.88.99.1/",
        "http://192.0.0.9/",
        "http://[fd00:ec2::253]/",
        "http://2130706433/",
        "http://inside.test/",
    ],
)
def test_what_leads_inside_is_forbidden_and_changes_nothing(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    ticket = workspace.launch().bootstrap_ticket
    with name_server(monkeypatch, inside_test=["1.1.1.1", "127.0.0.1"]):
        refused = failed(lambda: workspace.register(ticket=ticket, url=url))
        assert (refused.reason, refused.recovery) == ("URL_FORBIDDEN", "FIX_REQUEST")
        token = workspace.register(ticket=ticket).auth_token
        card = {"name": "changed"}
        refused = failed(lambda: workspace.update_card(token, url=url, agent_card=card))
        assert (refused.reason, refused.recovery) == ("URL_FORBIDDEN", "FIX_REQUEST")
    found = workspace.registration()
    assert found.url == ""
    assert not found.HasField("agent_card")


def test_a_card_is_stored_without_a_url_that_does_not_resolve(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = workspace.register(
        ticket=workspace.launch().bootstrap_ticket, url="https://1.1.1.1/"
    ).auth_token
    with name_server(monkeypatch, agent_test=["1.1.1.1"]):
        answer = workspace.update_card(
            token, url="https://nobody.test/", agent_card={"name": "one"}
        )
        assert [each.code for each in answer.warnings] == ["URL_UNRESOLVED"]
        found = workspace.registration()
        assert (found.url, found.agent_card["name"]) == ("https://1.1.1.1/", "one")
        assert not workspace.update_card(token, url="https://agent.test/").warnings
    assert workspace.registration().url == "https://agent.test/"


def test_a_card_of_a_box_in_daily_use_takes_one_transaction(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = []

    def run(store: Store, command: UpdateCard) -> None:
        ran.append(command.url)
        update(store, command)

    update = update_card.run
    monkeypatch.setattr(update_card, "run", run)
    token = workspace.register(ticket=workspace.launch().bootstrap_ticket).auth_token
    workspace.heartbeat(token)
    with name_server(monkeypatch, agent_test=["1.1.1.1"]):
        assert not workspace.update_card(token, url="https://agent.test/").warnings
    assert ran == ["https://agent.test/"]
