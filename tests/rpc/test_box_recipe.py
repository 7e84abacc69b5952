"""WORKSPACE_LAUNCH as the runner reads it: what it takes, and what it refuses."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from agentworkspace.client.box.files import (
    PREFIX,
    arguments_of,
    directory_of_the_run,
    environment_of,
    write,
)
from agentworkspace.client.box.recipe import BadRecipe, Directory, File, Recipe, filled_in, parse

WHOLE = {
    "version": 1,
    "arguments": ["--model", "MiniMax-M2.7"],
    "directories": [{"env": "CODEX_HOME", "path": ".codex"}, {"env": "HOME", "path": "."}],
    "files": [
        {"path": ".codex/config.toml", "mode": "0600", "content": "x", "secret": False},
        {"path": "a", "mode": "0400", "content": "${KEY}", "secret": True, "env": "A_FILE"},
    ],
    "unset": ["OPENAI_API_KEY"],
    "a_later_addition": {"is": "passed over"},
}


def test_a_whole_launch_is_read() -> None:
    assert parse(json.dumps(WHOLE)) == Recipe(
        arguments=("--model", "MiniMax-M2.7"),
        directories=(Directory("CODEX_HOME", ".codex"), Directory("HOME", ".")),
        files=(
            File(".codex/config.toml", 0o600, "x", secret=False),
            File("a", 0o400, "${KEY}", secret=True, env="A_FILE"),
        ),
        unset=frozenset({"OPENAI_API_KEY"}),
    )


FILE = {"path": "a", "mode": "0600", "content": "hidden", "secret": True}


@pytest.mark.parametrize(
    ("parts", "complaint"),
    [
        ({"version": 2}, "this is a launch of version 2, and this runner knows version 1: install"),
        ({"version": None}, "this is a launch of version None"),
        ({"files": [FILE | {"path": "../a"}]}, "'../a' does not stay in the directory of the run"),
        ({"files": [FILE | {"path": "/a"}]}, "'/a' does not stay"),
        ({"files": [FILE | {"path": "a//b"}]}, "'a//b' does not stay"),
        ({"files": [FILE | {"path": "./a"}]}, "'./a' does not stay"),
        ({"files": [FILE | {"path": "a/"}]}, "'a/' does not stay"),
        ({"files": [FILE | {"path": ""}]}, "'' does not stay"),
        ({"files": [FILE | {"path": "."}]}, "a file needs a name"),
        ({"files": [FILE | {"mode": "0644"}]}, "mode '0644' must be octal, and give access to"),
        ({"files": [FILE | {"mode": "rw"}]}, "mode 'rw' must be octal, and give access to"),
        ({"files": [FILE | {"content": 5}]}, "something that must be text is not"),
        ({"files": [FILE | {"secret": "no"}]}, "secret is neither true nor false"),
        ({"files": [{"path": "a"}]}, "WORKSPACE_LAUNCH is malformed: 'mode'"),
        ({"directories": [{"env": "A B", "path": "."}]}, "'A B' is no name of a variable"),
        ({"directories": [{"env": "A", "path": "/etc"}]}, "'/etc' does not stay"),
        ({"arguments": ["a\0b"]}, "something that must be text is not"),
        ({"unset": "PATH"}, "unset is not a list"),
    ],
)
def test_a_launch_that_cannot_be_followed_is_refused(
    parts: dict[str, object], complaint: str
) -> None:
    with pytest.raises(BadRecipe) as caught:
        parse(json.dumps(WHOLE | parts))
    assert complaint in str(caught.value)
    assert "hidden" not in str(caught.value)


def test_what_was_filled_in_is_not_looked_at_again() -> None:
    values = {"A": "${B} $$", "B": "never"}
    assert filled_in("${A}|$$|$A|${A|$", values, where="x") == "${B} $$|$|$A|${A|$"


def test_an_argument_never_holds_what_a_variable_may_keep_secret(tmp_path: Path) -> None:
    recipe = Recipe(arguments=("${KEY}",))
    environment = environment_of(recipe, {"KEY": "a-secret"}, frozenset(), tmp_path)
    with pytest.raises(BadRecipe, match=r"an argument of this launch needs \$\{KEY\}") as caught:
        arguments_of(recipe, environment)
    assert "a-secret" not in str(caught.value)


def test_a_file_that_is_there_already_is_neither_overwritten_nor_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("the user's")
    root = tmp_path / "root"
    root.mkdir()
    (root / "a").symlink_to(outside)
    with pytest.raises(FileExistsError):
        write(Recipe(files=(File("a", 0o600, "x", secret=False),)), {}, root)
    assert outside.read_text() == "the user's"


def test_what_a_killed_run_left_behind_is_taken_away_by_the_next(tmp_path: Path) -> None:
    left, fresh = tmp_path / f"{PREFIX}left", tmp_path / f"{PREFIX}fresh"
    for each in (left, fresh):
        each.mkdir()
        (each / "auth.json").touch(mode=0o600)
    (tmp_path / f"{PREFIX}link").symlink_to("/etc")
    with directory_of_the_run(tmp_path) as running:
        for each in (left, running):
            os.utime(each, (0, 0))
        with directory_of_the_run(tmp_path) as second:
            assert second != running
            assert not left.exists()
            assert fresh.exists(), "it was made a moment ago, and may not have its lock yet"
            assert running.exists(), "it is in use"
        assert not second.exists()
    assert {each.name for each in tmp_path.iterdir()} == {fresh.name, f"{PREFIX}link"}


def test_a_directory_s_variable_wins_over_one_that_was_there(tmp_path: Path) -> None:
    recipe = Recipe(directories=(Directory("HOME", "."),), unset=frozenset({"GONE"}))
    inherited = {"HOME": "/root", "GONE": "1", "OWN": "1", "KEPT": "1"}
    assert environment_of(recipe, inherited, frozenset({"OWN"}), tmp_path) == {
        "HOME": str(tmp_path),
        "KEPT": "1",
    }


def test_a_file_of_a_recipe_shows_no_content() -> None:
    assert "hidden" not in repr(File("a", 0o600, "hidden", secret=True))
