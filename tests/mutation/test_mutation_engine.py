"""The engine itself: it makes the changes it promises, and tells a red test from none."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from enum import Enum
from pathlib import Path

import pytest

from tests.mutation.edits import edits

ROOT = Path(__file__).resolve().parents[2]


class Colour(Enum):
    RED = 1
    BLUE = 2


CHANGES = {
    "if a < 2: b()": {
        "swap comparison: a < 2  ->  a <= 2",
        "swap comparison: a < 2  ->  a >= 2",
        "change constant: 2  ->  3",
        "remove statement: if a < 2:  ->  pass",
        "remove statement: b()  ->  pass",
    },
    "if a and b: raise E": {
        "negate condition: a and b  ->  not (a and b)",
        "swap and/or: a and b  ->  a or b",
        "drop operand: a and b  ->  a",
        "drop operand: a and b  ->  b",
        "remove statement: if a and b:  ->  pass",
        "remove statement: raise E  ->  pass",
    },
    "f(not a, k=True)": {
        "remove statement: f(not a, k=True)  ->  pass",
        "drop not: not a  ->  a",
        "drop argument: k=True  ->  nothing",
        "change constant: True  ->  False",
    },
    "x: int = Colour.BLUE if a else max(b)": {
        "swap branches: Colour.BLUE if a else max(b)  ->  max(b) if a else Colour.BLUE",
        "negate condition: a  ->  not a",
        "swap member: Colour.BLUE  ->  Colour.RED",
        "swap function: max(b)  ->  min(b)",
    },
    "def f(a: int = 0) -> str:\n    '''Words.'''\n    return a.strip()": {
        "change constant: 0  ->  1",
        "remove statement: return a.strip()  ->  pass",
        "return None: return a.strip()  ->  return None",
        "drop call: a.strip()  ->  a",
    },
    "(a, [i - 1 for i in a if i], {'k': b})": {
        "remove statement: (a, [i - 1 for i in a if i], {'k': b})  ->  pass",
        "drop element: a  ->  nothing",
        "drop element: [i - 1 for i in a if i]  ->  nothing",
        "drop element: {'k': b}  ->  nothing",
        "swap arithmetic: i - 1  ->  i + 1",
        "change constant: 1  ->  2",
        "drop filter: i  ->  nothing",
        "negate condition: i  ->  not i",
        "drop entry: {'k': b}  ->  {}",
        "change text: 'k'  ->  'kXX'",
    },
}


@pytest.mark.parametrize("source", CHANGES)
def test_every_change_of_a_line_is_made(source: str) -> None:
    found = list(edits(ast.parse(source), {"Colour": Colour}))
    assert {f"{edit.operator}: {edit.becomes}" for edit in found} == CHANGES[source]


def test_an_edit_changes_the_code_and_leaves_the_tree() -> None:
    tree = ast.parse("answer = 1 < 1")
    edit = next(e for e in edits(tree, {}) if e.becomes.endswith("1 <= 1"))
    names: dict[str, object] = {}
    exec(edit.code(tree, "a file"), names)  # noqa: S102 -- it is the line above
    assert names["answer"] is True
    assert ast.unparse(tree) == "answer = 1 < 1"


def mutate(match: str, tests: str, results: Path) -> tuple[int, list[dict[str, object]], str]:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "tests.mutation", "reconciliation"),
            *("--match", match, "--tests", tests, "--json", str(results)),
        ],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT / "protos")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert results.exists(), done.stdout + done.stderr
    return done.returncode, json.loads(results.read_text(encoding="utf-8")), done.stdout


@pytest.mark.parametrize(
    "match",
    ["swap comparison: self.held_back > 0", "swap arithmetic: workspaces *", "100  ->  101"],
    ids=["a comparison", "arithmetic", "a constant of the module"],
)
def test_an_obviously_wrong_rule_turns_a_test_red(match: str, tmp_path: Path) -> None:
    tests = "tests/domain/test_provision_launch.py"
    status, results, _ = mutate(match, tests, tmp_path / "results.json")
    assert status == 0
    assert {result["outcome"] for result in results} == {"killed"}
    assert all(str(result["killer"]).startswith(f"{tests}::") for result in results)


def test_a_change_that_no_test_sees_is_shown_and_ends_with_status_1(tmp_path: Path) -> None:
    tests = "tests/domain/test_provision_guards.py"
    status, results, said = mutate(
        "swap arithmetic: workspaces *", tests, tmp_path / "results.json"
    )
    assert status == 1
    assert [result["outcome"] for result in results] == ["survived"] * len(results)
    assert "SURVIVED provision_service/domain/reconciliation.py:" in said
    assert "return max(1, workspaces * MAX_PERCENT_A_MINUTE // 100)" in said
