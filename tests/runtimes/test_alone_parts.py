"""The long campaign: which launches it makes, and which of their answers need no further run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from tests.runtimes.alone import Answers, alone
from tests.runtimes.cases import BY_KEY, CASES, MANAGED
from tests.runtimes.hostile import catalogue
from tests.runtimes.launches import Launched

MANAGED_CODEX = next(case for case in CASES if (case.runtime, case.mode) == ("codex", MANAGED))
OWN_CODEX = next(case for case in CASES if (case.runtime, case.mode) == ("codex", BY_KEY))


def launched(workspace: str = "w-1", **environment: str) -> Launched:
    told: Mapping[str, str] = {"WORKSPACE_ID": workspace, "URL": f"https://x/{workspace}/y"}
    return Launched(
        workspace=workspace,
        provision="p",
        steps=frozenset(),
        environment={**told, **environment},
        secrets={},
        passing={"workspace": workspace},
    )


def test_each_name_is_tried_at_each_scope_but_over_what_pays() -> None:
    tried = {(case.mode, scope, name) for case, scope, name, _ in alone(catalogue(), CASES)}
    for scope in ("the tenant", "the workspace"):
        assert (MANAGED, scope, "HTTPS_PROXY") in tried
        assert (MANAGED, scope, "OPENAI_API_KEY") in tried
    only = {(scope, name) for _case, scope, name, _ in alone(catalogue(), [OWN_CODEX])}
    assert ("the tenant", "OPENAI_API_KEY") in only
    assert ("the workspace", "OPENAI_API_KEY") not in only
    assert ("the workspace", "CODEX_API_KEY") in only
    assert ("the workspace", "HTTPS_PROXY") not in only


def test_two_launches_are_told_the_same_but_for_what_passes() -> None:
    assert launched("w-1").likeness == launched("w-2").likeness
    assert launched("w-1").likeness != launched("w-2", STRAY="1").likeness
    assert launched("w-1", A="w-1").likeness != launched("w-2", A="w-1").likeness


def test_an_answer_is_known_once_it_was_proven_for_the_same_case() -> None:
    answers = Answers({})
    assert not answers.knows(MANAGED_CODEX, launched())
    answers.add(MANAGED_CODEX, launched())
    assert answers.knows(MANAGED_CODEX, launched("w-2"))
    assert not answers.knows(OWN_CODEX, launched("w-2"))
    assert not answers.knows(MANAGED_CODEX, launched("w-2", STRAY="1"))
    assert (answers.known, answers.added) == (1, 1)


def test_an_interrupted_campaign_goes_on_where_it_was(tmp_path: Path) -> None:
    files = {"codex": tmp_path / "proven"}
    first = Answers(files)
    first.add(MANAGED_CODEX, launched("w-1"))
    first.add(replace(MANAGED_CODEX, runtime="hermes"), launched("w-1"))
    again = Answers(files)
    assert again.knows(MANAGED_CODEX, launched("w-2"))
    assert not again.knows(replace(MANAGED_CODEX, runtime="hermes"), launched("w-2"))
