"""The credentials file: what it may say, and how a change of it takes effect."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from agentworkspace.server.credentials import CredentialsFile, CredentialsInvalid, parse
from tests.rpc.echo_server import Lines, sha256

NOON = 1_900_000_000.0


class Clock:
    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


def entry(**changes: Any) -> dict[str, Any]:
    return {
        "name": "operator",
        "roles": ["admin"],
        "tenants": ["*"],
        "sha256": [sha256("first")],
        **changes,
    }


def text(*callers: dict[str, Any]) -> str:
    return json.dumps({"callers": list(callers)})


def opened(path: Path, clock: Clock, log: Lines | None = None) -> CredentialsFile:
    return CredentialsFile(path, monotonic=clock, now=lambda: NOON, logger=log or Lines())


def test_a_secret_names_its_caller_with_all_included_roles(tmp_path: Path) -> None:
    path = tmp_path / "credentials.json"
    path.write_text(
        text(
            entry(),
            entry(name="acme", roles=["launcher"], tenants=["acme"], sha256=[sha256("second")]),
        )
    )
    file = opened(path, Clock())
    operator, acme = file.identify("first"), file.identify("second")
    assert operator is not None
    assert operator.name == "operator"
    assert operator.roles == {"admin", "launcher", "verifier"}
    assert operator.tenants is None
    assert acme is not None
    assert acme.roles == {"launcher"}
    assert acme.tenants == frozenset({"acme"})


def test_an_unknown_secret_names_nobody(tmp_path: Path) -> None:
    path = tmp_path / "credentials.json"
    path.write_text(text(entry()))
    file = opened(path, Clock())
    for secret in ("", "First", "first ", sha256("first"), "\udcff"):
        assert file.identify(secret) is None


def test_two_secrets_of_one_caller_overlap(tmp_path: Path) -> None:
    path = tmp_path / "credentials.json"
    path.write_text(text(entry(sha256=[sha256("old"), sha256("new")])))
    file = opened(path, Clock())
    assert file.identify("old") == file.identify("new") is not None


def test_an_expired_credential_names_nobody(tmp_path: Path) -> None:
    path = tmp_path / "credentials.json"
    path.write_text(
        text(
            entry(expires="2020-01-01T00:00:00Z"),
            entry(name="later", sha256=[sha256("later")], expires="2040-01-01T00:00:00+02:00"),
        )
    )
    file = opened(path, Clock())
    assert file.identify("first") is None
    assert file.identify("later") is not None


def test_a_clock_that_is_set_back_brings_no_expired_caller_back(tmp_path: Path) -> None:
    path, clock = tmp_path / "credentials.json", Clock()
    path.write_text(text(entry(expires="2030-01-01T00:00:00Z")))
    wall = [datetime(2029, 12, 31, tzinfo=UTC).timestamp()]
    file = CredentialsFile(path, monotonic=clock, now=lambda: wall[0])
    assert file.identify("first") is not None
    wall[0] += 86400
    assert file.identify("first") is None
    wall[0] -= 86400
    assert file.identify("first") is None


def test_time_goes_on_for_a_caller_while_the_clock_stands(tmp_path: Path) -> None:
    path, clock = tmp_path / "credentials.json", Clock()
    path.write_text(text(entry(expires="2030-01-01T00:00:00Z")))
    wall = datetime(2029, 12, 31, tzinfo=UTC).timestamp()
    file = CredentialsFile(path, monotonic=clock, now=lambda: wall)
    clock.seconds += 86399
    assert file.identify("first") is not None
    clock.seconds += 1
    assert file.identify("first") is None


def test_a_changed_file_is_in_force_within_a_second(tmp_path: Path) -> None:
    path, clock = tmp_path / "credentials.json", Clock()
    path.write_text(text(entry()))
    file = opened(path, clock)
    path.write_text(text(entry(sha256=[sha256("rotated")])))
    clock.seconds += 0.5
    assert file.identify("first") is not None
    clock.seconds += 0.5
    assert file.identify("first") is None
    assert file.identify("rotated") is not None


@pytest.mark.parametrize("bad", ["{", '{"callers": 1}', '{"callers": [{"name": "x"}]}', None])
def test_a_bad_new_file_keeps_the_old_one_and_is_logged_once(
    tmp_path: Path, bad: str | None
) -> None:
    path, clock, log = tmp_path / "credentials.json", Clock(), Lines()
    path.write_text(text(entry()))
    file = opened(path, clock, log)
    if bad is None:
        path.unlink()
    else:
        path.write_text(bad)
    for _ in range(3):
        clock.seconds += 1
        assert file.identify("first") is not None
    assert [line["level"] for line in log.events] == ["error"]
    path.write_text(text(entry(sha256=[sha256("repaired")])))
    clock.seconds += 1
    assert file.identify("repaired") is not None


def test_without_a_usable_file_nothing_starts(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        opened(tmp_path / "missing.json", Clock())
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(CredentialsInvalid, match="not JSON"):
        opened(tmp_path / "bad.json", Clock())


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"role": ["admin"]}, "callers[0]: unknown key 'role'"),
        ({"name": "two words"}, "callers[0].name"),
        ({"name": "awi_" + "x" * 20}, "callers[0].name"),
        ({"name": None}, "callers[0].name"),
        ({"roles": []}, "callers[0].roles"),
        ({"roles": "admin"}, "callers[0].roles"),
        ({"roles": ["root"]}, "callers[0].roles"),
        ({"tenants": []}, "callers[0].tenants"),
        ({"tenants": ["*", "acme"]}, "callers[0].tenants"),
        ({"tenants": [1]}, "callers[0].tenants"),
        ({"sha256": []}, "callers[0].sha256"),
        ({"sha256": ["ab"]}, "callers[0].sha256"),
        ({"sha256": [sha256("a").upper()]}, "callers[0].sha256"),
        ({"sha256": [sha256(each) for each in "abc"]}, "callers[0].sha256"),
        ({"expires": "tomorrow"}, "callers[0].expires"),
        ({"expires": "2030-01-01T00:00:00"}, "callers[0].expires"),
        ({"expires": 5}, "callers[0].expires"),
    ],
)
def test_a_fault_is_named_with_its_place(change: dict[str, Any], place: str) -> None:
    with pytest.raises(CredentialsInvalid) as caught:
        parse(text(entry(**change)))
    assert str(caught.value).startswith(place)


def test_names_and_hashes_are_unique() -> None:
    with pytest.raises(CredentialsInvalid, match=r"callers\[1\].name"):
        parse(text(entry(), entry(sha256=[sha256("other")])))
    with pytest.raises(CredentialsInvalid, match=r"callers\[1\].sha256"):
        parse(text(entry(), entry(name="other")))
    with pytest.raises(CredentialsInvalid, match="the single key"):
        parse('{"callers": [], "caller": []}')
