"""Every race in `races.toml` has a reproduction that exists."""

from __future__ import annotations

import ast
import tomllib
from pathlib import Path
from typing import Any, Final

import pytest

ROOT: Final = Path(__file__).resolve().parents[2]
RACES: Final[list[dict[str, Any]]] = tomllib.loads(
    Path(__file__).with_name("races.toml").read_text(encoding="utf-8")
)["race"]


@pytest.mark.parametrize("race", RACES, ids=lambda race: str(race["name"]))
def test_every_race_says_what_must_happen_and_is_replayed(race: dict[str, Any]) -> None:
    assert race["happened"]
    assert race["must"]
    assert race["reproduction"]
    for place in race["reproduction"]:
        file, *names = place.split("::")
        tree: ast.Module | ast.stmt = ast.parse((ROOT / file).read_text(encoding="utf-8"))
        for name in names:
            tree = named(tree, name, place)


def named(tree: Any, name: str, place: str) -> ast.stmt:
    """A test, or a class of tests, of this file or class."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    found = [node for node in tree.body if isinstance(node, kinds) and node.name == name]
    assert found, place
    return found[0]
