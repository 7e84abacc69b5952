"""Catalogue and templates: whole at start, taken over on change, kept when the change is bad."""

from __future__ import annotations

import json
import os
from pathlib import Path

import jsonschema
import pytest
import yaml
from structlog.testing import capture_logs

from provision_service.catalogue.usage import UsedModel
from provision_service.domain.probing import Verdict
from provision_service.templates import parse
from provision_service.workers.files import (
    SHIPPED_CATALOGUE,
    DeploymentFiles,
    FileRefused,
    load,
    load_catalogue,
)

TEMPLATES_DIRECTORY = Path(parse.__file__).parent
EXAMPLE = TEMPLATES_DIRECTORY / "templates.example.yaml"
SCHEMA = json.loads((TEMPLATES_DIRECTORY / "templates.schema.json").read_text())

GOOD = """\
schema: 1
version: "1"
templates:
  - name: engineer
    runtime: claude-code
    required_env: [GITEA_TOKEN]
    probes:
      - env: GITEA_TOKEN
        url: https://git.example.com/issues
        header: {name: Authorization, prefix: "token "}
        scope: read:issue
"""


def written(directory: Path, text: str) -> Path:
    path = directory / "templates.yaml"
    path.write_text(text)
    return path


def problems_of(directory: Path, text: str) -> list[str]:
    path = written(directory, text)
    with pytest.raises(FileRefused) as refused:
        load(None, path)
    return [line.removeprefix(str(path)) for line in str(refused.value).splitlines()]


def test_the_example_is_accepted_by_the_service_and_by_the_schema() -> None:
    loaded = load(None, EXAMPLE)
    assert sorted(loaded.templates) == ["engineer", "researcher"]
    jsonschema.validate(yaml.safe_load(EXAMPLE.read_text()), SCHEMA)


def test_a_template_says_what_its_probes_send_and_mean(tmp_path: Path) -> None:
    template = load(None, written(tmp_path, GOOD)).templates["engineer"]
    (probe,) = template.probes
    assert template.required_env == ("GITEA_TOKEN",)
    assert probe.header == "Authorization: token {value}"
    assert probe.expect == frozenset({200})
    assert probe.on_401 is Verdict.INVALID
    assert probe.on_403 is Verdict.MISSING_SCOPE
    assert probe.scope == "read:issue"


@pytest.mark.parametrize(
    ("form", "header"),
    [
        ("bearer", "Authorization: Bearer {value}"),
        ("x-api-key", "x-api-key: {value}"),
        ("{basic_user: ci}", "Authorization: Basic {basic:ci}"),
        ("{name: PRIVATE-TOKEN}", "PRIVATE-TOKEN: {value}"),
    ],
)
def test_each_header_form_becomes_one_line(tmp_path: Path, form: str, header: str) -> None:
    text = GOOD.replace('{name: Authorization, prefix: "token "}', form)
    assert load(None, written(tmp_path, text)).templates["engineer"].probes[0].header == header


@pytest.mark.parametrize(
    ("good", "bad", "line", "said"),
    [
        ("schema: 1", "schema: 2", 1, "schema 2 is not supported"),
        ("name: engineer", "nome: engineer", 4, "unknown key `nome`"),
        ("runtime: claude-code", "runtime: claude", 5, "is not in the catalogue"),
        ("[GITEA_TOKEN]", "[GITEA TOKEN]", 6, "cannot name a variable"),
        ("https://git", "http://git", 9, "is not https"),
        ("https://git", "https://user:pw@git", 9, "holds more than an address"),
        ("name: Authorization", "name: Host", 10, "is not free"),
        ('prefix: "token "', "prefix: [a]", 10, "is no header text"),
        ("scope: read:issue", "forbidden: missing_scope", 8, "without naming it"),
        ("scope: read:issue", "expect: [500]", 11, "proves nothing"),
        ("scope: read:issue", "forbidden: maybe", 11, "no meaning of a status"),
    ],
)
def test_a_bad_templates_file_is_refused_with_line_and_remedy(
    tmp_path: Path, good: str, bad: str, line: int, said: str
) -> None:
    problems = problems_of(tmp_path, GOOD.replace(good, bad))
    assert any(p.startswith(f":{line}: ") and said in p and "; " in p for p in problems), problems


def test_a_second_template_of_one_name_is_refused(tmp_path: Path) -> None:
    twice = GOOD + "  - name: engineer\n"
    assert "a second template `engineer`" in problems_of(tmp_path, twice)[0]


def test_plain_http_is_for_this_machine_only(tmp_path: Path) -> None:
    local = GOOD.replace("https://git.example.com", "http://127.0.0.1:8080")
    assert load(None, written(tmp_path, local)).templates["engineer"].probes


def test_a_catalogue_that_is_refused_names_file_and_line(tmp_path: Path) -> None:
    path = tmp_path / "catalogue.yaml"
    path.write_text(SHIPPED_CATALOGUE.read_text().replace("schema: 1", "schema: 9", 1))
    with pytest.raises(FileRefused) as refused:
        load_catalogue(path)
    assert f"{path}:5: schema 9 is not supported" in str(refused.value)


def test_a_missing_file_is_refused_and_not_a_traceback(tmp_path: Path) -> None:
    with pytest.raises(FileRefused, match="cannot be read"):
        load(None, tmp_path / "gone.yaml")


class Reports:
    def __init__(self) -> None:
        self.refused: list[bool] = []

    def __call__(self, *, refused: bool) -> None:
        self.refused.append(refused)


def rewritten(path: Path, text: str, times: int) -> None:
    """Write with a time of its own: two writes within a tick of the clock look alike."""
    path.write_text(text)
    os.utime(path, (times, times))


def test_a_changed_catalogue_that_drops_a_used_id_is_refused_and_the_last_serves(
    tmp_path: Path,
) -> None:
    path = tmp_path / "catalogue.yaml"
    shipped = SHIPPED_CATALOGUE.read_text()
    path.write_text(shipped)
    reports = Reports()
    files = DeploymentFiles(path, None, reports)
    in_force = files.catalogue()
    # Its pattern still finds the model: it is the id on the menu that must not go.
    without = "\n".join(line for line in shipped.splitlines() if line.strip() != "- opus")
    rewritten(path, without, 1_000)
    with capture_logs() as logs:
        files.look_again(lambda: [UsedModel("claude-code", "opus", "anthropic-oauth")])
    assert files.catalogue() is in_force
    assert "`opus` left the menu of runtime `claude-code`" in logs[0]["problems"]
    assert "mark it withdrawn" in logs[0]["problems"]

    rewritten(path, without + "\n", 2_000)
    files.look_again(lambda: [UsedModel("claude-code", "sonnet", "anthropic-oauth")])
    assert files.catalogue() is not in_force
    assert reports.refused == [True, False]


def test_a_change_waits_while_nobody_can_say_what_is_used(tmp_path: Path) -> None:
    path = written(tmp_path, GOOD)
    files = DeploymentFiles(None, path, Reports())

    def away() -> list[UsedModel]:
        raise ConnectionError

    rewritten(path, GOOD.replace("engineer", "builder"), 1_000)
    with pytest.raises(ConnectionError):
        files.look_again(away)
    assert list(files.templates()) == ["engineer"]
    files.look_again(list)
    assert list(files.templates()) == ["builder"]


def test_a_changed_file_is_taken_over_and_a_bad_change_keeps_the_last(tmp_path: Path) -> None:
    path = written(tmp_path, GOOD)
    reports = Reports()
    files = DeploymentFiles(None, path, reports)
    files.look_again()
    assert reports.refused == []

    rewritten(path, GOOD.replace("engineer", "builder"), 1_000)
    files.look_again()
    assert list(files.templates()) == ["builder"]

    rewritten(path, "not: [a templates file", 2_000)
    files.look_again()
    assert list(files.templates()) == ["builder"]

    path.unlink()
    files.look_again()
    assert list(files.templates()) == ["builder"]

    rewritten(path, GOOD, 3_000)
    files.look_again()
    assert list(files.templates()) == ["engineer"]
    assert reports.refused == [False, True, True, False]
