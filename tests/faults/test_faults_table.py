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
        file, _, name = place.partition("::")
        tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
        functions = (ast.FunctionDef, ast.AsyncFunctionDef)
        assert name in {node.name for node in tree.body if isinstance(node, functions)}, place
