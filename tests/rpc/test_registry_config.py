"""Settings are read in one place; a wrong one refuses to start and is named."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from agentworkspace.service.declared_settings import BadSettings
from registry_service.config import Settings
from registry_service.domain.standing import BootstrapPolicy

ROOT = Path(__file__).resolve().parents[2]


def problems_of(**environ: str) -> tuple[str, ...]:
    with pytest.raises(BadSettings) as caught:
        Settings.load(environ)
    return caught.value.problems


def test_nothing_set_means_the_defaults() -> None:
    settings = Settings.load({})
    assert settings.listen == "127.0.0.1:7101"
    assert settings.bootstrap_policy is BootstrapPolicy.ADAPTIVE
    assert settings.heartbeat_interval == timedelta(seconds=30)
    assert settings.database_url is None
    assert settings.insecure is False


def test_blank_means_the_default_too() -> None:
    assert Settings.load({"REGISTRY_LISTEN": "  "}).listen == "127.0.0.1:7101"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("REGISTRY_BOOTSTRAP_POLICY", "lenient"),
        ("REGISTRY_BOOTSTRAP_POLICY", "Adaptive"),
        ("REGISTRY_LISTEN", "7101"),
        ("REGISTRY_LISTEN", "127.0.0.1:70000"),
        ("REGISTRY_DATABASE_URL", "mysql://host/db"),
        ("REGISTRY_DATABASE_POOLED", "yes"),
        ("REGISTRY_CREDENTIALS_FILE", "/nowhere/callers.json"),
        ("REGISTRY_THREADS", "0"),
        ("REGISTRY_THREADS", "\N{FULLWIDTH DIGIT EIGHT}"),
        ("REGISTRY_PROCESSES", "0"),
        ("REGISTRY_DEADLINE_CEILING_SECONDS", "nan"),
        ("REGISTRY_LOG_LEVEL", "loud"),
        ("REGISTRY_HEARTBEAT_INTERVAL_SECONDS", "-1"),
        ("INSECURE", "true"),
    ],
)
def test_a_bad_value_is_refused_by_name(name: str, value: str) -> None:
    (problem,) = problems_of(**{name: value})
    assert problem.startswith(f"{name} ")


def test_all_bad_values_are_named_at_once() -> None:
    problems = problems_of(REGISTRY_LISTEN="x", REGISTRY_THREADS="x", INSECURE="x")
    assert [problem.split()[0] for problem in problems] == [
        "REGISTRY_LISTEN",
        "INSECURE",
        "REGISTRY_THREADS",
    ]


def test_a_certificate_without_a_key_is_refused(tmp_path: Path) -> None:
    pem = tmp_path / "cert.pem"
    pem.write_text("")
    (problem,) = problems_of(REGISTRY_TLS_CERTIFICATE_FILE=str(pem))
    assert "REGISTRY_TLS_KEY_FILE" in problem


def test_a_password_is_neither_shown_nor_quoted() -> None:
    url = "postgresql://registry:hunter2@db/registry"
    shown = {row.name: row.value for row in Settings.shown({"REGISTRY_DATABASE_URL": url})}
    assert shown["REGISTRY_DATABASE_URL"] == "set"
    assert "hunter2" not in repr(Settings.load({"REGISTRY_DATABASE_URL": url}))
    assert "hunter2" not in str(problems_of(REGISTRY_LISTEN=url))


def test_every_setting_is_listed_with_its_default_and_meaning() -> None:
    rows = Settings.shown({})
    assert len({row.name for row in rows}) == len(rows)
    assert all(row.meaning for row in rows)
    assert {
        "REGISTRY_LISTEN",
        "REGISTRY_DATABASE_URL",
        "REGISTRY_BOOTSTRAP_POLICY",
        "REGISTRY_CREDENTIALS_FILE",
        "WORKSPACE_SERVICES_HOME",
    } <= {row.name for row in rows}


def run(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """The command line, with this environment and nothing else of the registry's."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return subprocess.run(
        [sys.executable, "-m", "registry_service", *arguments],
        cwd=ROOT,
        env={**kept, "PYTHONPATH": "protos:.", **environ},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_serve_without_a_database_refuses_and_names_the_variable(tmp_path: Path) -> None:
    callers = tmp_path / "callers.json"
    callers.write_text('{"callers": []}')
    refused = run("serve", REGISTRY_CREDENTIALS_FILE=str(callers))
    assert refused.returncode == 2
    assert "REGISTRY_DATABASE_URL" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_serve_with_an_unknown_bootstrap_policy_refuses_and_names_the_variable() -> None:
    refused = run("serve", "--embedded", REGISTRY_BOOTSTRAP_POLICY="trusting")
    assert refused.returncode == 2
    assert "REGISTRY_BOOTSTRAP_POLICY must be adaptive, open or strict" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_migrating_an_unreachable_database_fails_without_a_traceback_or_the_password() -> None:
    failed = run(
        "migrate", REGISTRY_DATABASE_URL="postgresql://registry:hunter2@127.0.0.1:1/registry"
    )
    assert failed.returncode == 1
    assert "Traceback" not in failed.stderr
    assert "hunter2" not in failed.stderr


def test_migrate_and_check_migrations_agree(empty_database: str) -> None:
    assert run("migrate", REGISTRY_DATABASE_URL=empty_database).returncode == 0
    checked = run("check-migrations", REGISTRY_DATABASE_URL=empty_database)
    assert checked.returncode == 0, checked.stderr
