"""Contexts: where an installation is and who calls it, kept in a file that nobody else reads."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentworkspace.registry.v1 import token_service_pb2 as registry
from tests.rpc.workspacectl_pair import CONFIG, WORKSPACE, Pair, run, running_pair

LIST = ("tokens", "list", WORKSPACE)


@pytest.fixture
def pair() -> Iterator[Pair]:
    with running_pair() as found:
        found.registry.on("ListTokens", registry.ListTokensResponse())
        yield found


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "kept" / "contexts.yaml"
    monkeypatch.setenv(CONFIG, str(path))
    return path


def kept(pair: Pair, name: str, *words: str, stdin: bytes = b"") -> None:
    where = ("--registry", pair.registry.address, "--provision", pair.provision.address)
    assert run("context", "set", name, *where, *words, stdin=stdin).code == 0


def bearers(pair: Pair) -> list[str | None]:
    return [asked.metadata.get("authorization") for asked in pair.registry.asked]


def test_the_first_context_is_the_current_one_and_brings_its_token(pair: Pair, file: Path) -> None:
    kept(pair, "prod", "--token-stdin", stdin=b"prod-secret\n")

    result = run(*LIST)

    assert result.code == 0
    assert bearers(pair) == ["Bearer prod-secret"]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert "prod-secret" not in run("context", "list").out + run("context", "list", "--json").out


def test_a_token_may_come_from_a_file_or_from_a_command(
    pair: Pair, file: Path, tmp_path: Path
) -> None:
    token = tmp_path / "token"
    token.write_text("of-the-file\n")
    kept(pair, "filed", "--token-file", str(token))
    kept(pair, "printed", "--token-command", "printf of-the-command")

    run("--context", "filed", *LIST)
    run("--context", "printed", *LIST)

    assert bearers(pair) == ["Bearer of-the-file", "Bearer of-the-command"]


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("false", "ended with 1"),
        ("printf two-words and-more", "did not print a token"),
        ("/nonexistent/printer", "cannot be started"),
        ("true", "did not print a token"),
    ],
)
def test_a_command_that_prints_no_token_is_said_and_nobody_is_called(
    pair: Pair, file: Path, command: str, said: str
) -> None:
    if command.startswith("printf"):
        command = "printf 'two words'"
    kept(pair, "printed", "--token-command", command)

    result = run(*LIST)

    assert (result.code, pair.registry.asked) == (2, [])
    assert said in result.err


def test_a_context_is_chosen_for_one_call_or_for_all(pair: Pair, file: Path) -> None:
    kept(pair, "one", "--token-stdin", stdin=b"one-secret")
    kept(pair, "two", "--token-stdin", stdin=b"two-secret")

    run("--context", "two", *LIST)
    run("context", "use", "two")
    run(*LIST)

    assert bearers(pair) == ["Bearer two-secret", "Bearer two-secret"]
    assert run("context", "list").lines[1:] == [
        f"one {pair.registry.address} {pair.provision.address} this file",
        f"* two {pair.registry.address} {pair.provision.address} this file",
    ]


def test_the_environment_never_mixes_with_the_token_of_a_context(
    pair: Pair, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept(pair, "prod", "--token-stdin", stdin=b"prod-secret")
    monkeypatch.setenv("REGISTRY_ADDRESS", pair.registry.address)

    run(*LIST)

    assert bearers(pair) == [None]


def test_a_file_that_others_can_read_is_refused(pair: Pair, file: Path) -> None:
    kept(pair, "prod", "--token-stdin", stdin=b"prod-secret")
    file.chmod(0o640)

    result = run(*LIST)

    assert (result.code, pair.registry.asked) == (2, [])
    assert f"chmod 600 {file}" in result.err


@pytest.mark.parametrize(
    "text", ["[", "contexts: [a]", "contexts: {a: {tokn: s3cret}}", "contexts: {a: {token: 7}}"]
)
def test_a_file_that_is_none_is_said_without_quoting_it(file: Path, text: str) -> None:
    file.parent.mkdir()
    file.write_text(text)
    file.chmod(0o600)

    result = run("context", "list")

    assert result.code == 2
    assert "is not a contexts file" in result.err
    assert "s3cret" not in result.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("context", "use", "nobody"), "no context is called 'nobody'"),
        (("--context", "nobody", "health"), "no context is called 'nobody'"),
        (("context", "set", "x", "--token-file", "f", "--token-command", "c"), "one place"),
        (("context", "set", "x", "--registry", "nowhere"), "'nowhere' is no address of the reg"),
    ],
)
def test_a_wrong_context_is_exit_code_2(file: Path, words: tuple[str, ...], said: str) -> None:
    result = run(*words)

    assert result.code == 2
    assert said in result.err


def test_a_forgotten_context_is_gone_and_no_longer_current(pair: Pair, file: Path) -> None:
    kept(pair, "prod", "--token-stdin", stdin=b"prod-secret")

    assert run("context", "delete", "prod").code == 0

    assert "prod" not in file.read_text()
    assert run("--registry", pair.registry.address, *LIST).code == 0
    assert bearers(pair) == [None]


@pytest.mark.parametrize("words", [("list",), ("set", "x", "--registry", "127.0.0.1:1")])
def test_a_place_where_no_file_can_be_is_named_with_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv(CONFIG, str(tmp_path / "file" / "contexts.yaml"))

    result = run("context", *words)

    assert (result.code, result.err) == (
        2,
        (
            f"workspacectl: cannot read {tmp_path}/file/contexts.yaml: Not a directory;"
            " WORKSPACECTL_CONFIG names another file\n"
        ),
    )


def test_a_directory_that_cannot_be_made_is_named_with_the_way_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(CONFIG, "/proc/none/contexts.yaml")

    result = run("context", "set", "x", "--registry", "127.0.0.1:1")

    assert (result.code, result.err) == (
        2,
        (
            "workspacectl: cannot make /proc/none: No such file or directory; WORKSPACECTL_CONFIG"
            " names another file for contexts\n"
        ),
    )
