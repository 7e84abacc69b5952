"""What both services say of their settings: what is misspelt, what is missing, and no password."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from agentworkspace.core.installation import version_of
from agentworkspace.service.declared_settings import BadSettings
from agentworkspace.service.settings import ServiceSettings
from provision_service.config import Settings as ProvisionSettings
from registry_service.config import Settings as RegistrySettings
from tests.rpc.provision_server import environment_of

ROOT: Final = Path(__file__).resolve().parents[2]
BOTH: Final = pytest.mark.parametrize("settings", [RegistrySettings, ProvisionSettings])
PASSWORD: Final = "correct-horse-hunter2"


def run(
    settings: type[ServiceSettings], *arguments: str, **environ: str
) -> subprocess.CompletedProcess[str]:
    """The service's command line, with this environment and nothing else of ours."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return subprocess.run(
        [sys.executable, "-m", f"{settings.SERVICE.lower()}_service", *arguments],
        cwd=ROOT,
        env={**kept, "PYTHONPATH": "protos:.", **environ},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def deployment(settings: type[ServiceSettings], directory: Path) -> dict[str, str]:
    """All that serve needs, for either service."""
    environ = environment_of(directory, "127.0.0.1:7101", {})
    del environ["PROVISION_LISTEN"]
    credentials = environ["PROVISION_CREDENTIALS_FILE"]
    url = "postgresql://nobody@127.0.0.1:1/none"
    if settings is RegistrySettings:
        return {"REGISTRY_CREDENTIALS_FILE": credentials, "REGISTRY_DATABASE_URL": url}
    return environ


@BOTH
def test_no_password_is_shown_whichever_variable_it_stands_in_by_mistake(
    settings: type[ServiceSettings],
) -> None:
    spellings = (PASSWORD, f"postgresql://user:{PASSWORD}@host/db", f"https://h/?key={PASSWORD}")
    for declared in settings.declared().values():
        for text in spellings:
            rows = {row.name: row.value for row in settings.shown({declared.name: text})}
            assert PASSWORD not in rows[declared.name], declared.name


@BOTH
def test_what_stands_in_a_setting_rightly_is_shown(settings: type[ServiceSettings]) -> None:
    environ = {
        f"{settings.SERVICE}_LISTEN": "127.0.0.1:9",
        f"{settings.SERVICE}_CREDENTIALS_FILE": str(ROOT / "README.md"),
        f"{settings.SERVICE}_STOP_GRACE_SECONDS": "7.5",
    }
    rows = {row.name: row.value for row in settings.shown(environ)}
    assert {name: rows[name] for name in environ} == environ


def test_the_path_and_query_of_a_web_address_are_not_shown() -> None:
    rows = ProvisionSettings.shown({"PLATFORM_LLM_BASE_URL": "https://proxy.example/v1?key=k"})
    shown = {row.name: row.value for row in rows}
    assert shown["PLATFORM_LLM_BASE_URL"] == "https://proxy.example/…"


@pytest.mark.parametrize(
    ("settings", "name", "sentence"),
    [
        (RegistrySettings, "REGISTRY_LISTN", "did you mean REGISTRY_LISTEN?"),
        (RegistrySettings, "REGISTY_LISTEN", "did you mean REGISTRY_LISTEN?"),
        (ProvisionSettings, "PROVISION_SECRET_KEYS_FILE", "PROVISION_SECRETS_KEYS_FILE?"),
        (ProvisionSettings, "PLATFORM_LLM_BASE_URI", "did you mean PLATFORM_LLM_BASE_URL?"),
        (
            RegistrySettings,
            "REGISTRY_XYZZY",
            "remove it; `check-config` lists the settings there are",
        ),
    ],
)
def test_a_misspelt_setting_is_named_with_the_one_that_was_meant(
    settings: type[ServiceSettings], name: str, sentence: str
) -> None:
    (told,) = settings.misspelt({name: PASSWORD})
    assert told.startswith(f"{name} is no setting: ")
    assert told.endswith(sentence)
    assert PASSWORD not in told


@BOTH
def test_what_is_somebody_elses_is_not_called_misspelt(settings: type[ServiceSettings]) -> None:
    """Kubernetes adds variables for each of its Services, workspacectl has two, and the settings
    of both services may stand in one environment.
    """
    others = [
        *(each.name for each in RegistrySettings.declared().values()),
        *(each.name for each in ProvisionSettings.declared().values()),
        "PATH",
        "REGISTRY_ADDRESS",
        "PROVISION_ADDRESS",
        "REGISTRY_SERVICE_HOST",
        "REGISTRY_SERVICE_PORT",
        "REGISTRY_SERVICE_PORT_GRPC",
        "REGISTRY_PORT",
        "REGISTRY_PORT_7101_TCP",
        "REGISTRY_PORT_7101_TCP_ADDR",
        "PROVISION_SERVICE_HOST",
        "PROVISION_PORT_7102_TCP_PROTO",
    ]
    assert settings.misspelt(dict.fromkeys(others, "x")) == []


@BOTH
def test_check_config_is_content_with_what_serve_can_start_with(
    settings: type[ServiceSettings], tmp_path: Path
) -> None:
    checked = run(settings, "check-config", "--embedded", **deployment(settings, tmp_path))
    assert (checked.returncode, checked.stderr) == (0, "")
    for each in settings.declared().values():
        assert f"{each.name}=" in checked.stdout


@BOTH
@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("{}_LISTN", "127.0.0.1:1", "{}_LISTN is no setting: did you mean {}_LISTEN?"),
        ("{}_THREADS", "many", "{}_THREADS must be a whole number"),
        ("{}_CREDENTIALS_FILE", "", "{}_CREDENTIALS_FILE must be set"),
        ("{}_CREDENTIALS_FILE", __file__, "not JSON"),
        ("{}_LISTEN", "0.0.0.0:7", "0.0.0.0:7 is not loopback"),
        ("{}_TLS_CERTIFICATE_FILE", __file__, "go together"),
    ],
)
def test_check_config_fails_when_serve_would_not_start_or_something_is_misspelt(
    settings: type[ServiceSettings], tmp_path: Path, name: str, text: str, said: str
) -> None:
    environ = {**deployment(settings, tmp_path), name.format(settings.SERVICE): text}
    checked = run(settings, "check-config", "--embedded", **environ)
    assert checked.returncode == 1
    assert said.format(*[settings.SERVICE] * 2) in checked.stderr
    assert "Traceback" not in checked.stderr


@BOTH
def test_check_config_without_a_database_says_that_serve_would_not_start(
    settings: type[ServiceSettings], tmp_path: Path
) -> None:
    environ = deployment(settings, tmp_path)
    environ.pop(f"{settings.SERVICE}_DATABASE_URL", None)
    checked = run(settings, "check-config", **environ)
    assert checked.returncode == 1
    assert f"{settings.SERVICE}_DATABASE_URL must be set" in checked.stderr


@BOTH
def test_a_command_says_its_version(settings: type[ServiceSettings]) -> None:
    said = run(settings, "--version")
    assert (said.returncode, said.stdout.strip()) == (
        0,
        version_of(f"{settings.SERVICE.lower()}-service"),
    )


def test_a_secret_may_lie_in_a_file_and_is_read_again_when_it_was_replaced(tmp_path: Path) -> None:
    file = tmp_path / "database-url"
    file.write_text("postgresql://registry:first@db/registry\n")
    settings = RegistrySettings.load({"REGISTRY_DATABASE_URL_FILE": str(file)})
    url = settings.database_url
    assert url is not None
    assert url.reveal() == "postgresql://registry:first@db/registry"
    renewed = tmp_path / "renewed"
    renewed.write_text("postgresql://registry:second@db/registry\n")
    renewed.rename(file)
    assert url.reveal() == "postgresql://registry:second@db/registry"
    file.write_text("no url at all")
    assert url.reveal() == "postgresql://registry:second@db/registry"
    file.unlink()
    assert url.reveal() == "postgresql://registry:second@db/registry"
    assert repr(url) == "<secret>"


@pytest.mark.parametrize("content", ["", "hunter2", "  \n"])
def test_a_secrets_file_without_the_secret_is_refused_and_never_quoted(
    tmp_path: Path, content: str
) -> None:
    file = tmp_path / "database-url"
    file.write_text(content)
    with pytest.raises(BadSettings) as refused:
        RegistrySettings.load({"REGISTRY_DATABASE_URL_FILE": str(file)})
    assert str(refused.value).startswith("REGISTRY_DATABASE_URL_FILE must ")
    assert "hunter2" not in str(refused.value)


def test_a_secret_is_set_once_as_a_variable_or_as_a_file(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("one")
    both = {"PLATFORM_LLM_USAGE_TOKEN": "two", "PLATFORM_LLM_USAGE_TOKEN_FILE": str(file)}
    with pytest.raises(BadSettings, match="PLATFORM_LLM_USAGE_TOKEN_FILE: set one of them"):
        ProvisionSettings.load(both)
    with pytest.raises(BadSettings, match="must be the path of a readable file"):
        ProvisionSettings.load({"PLATFORM_LLM_USAGE_TOKEN_FILE": str(tmp_path / "nothing")})


def test_a_file_of_a_secret_is_a_known_setting_and_its_content_is_never_listed(
    tmp_path: Path,
) -> None:
    file = tmp_path / "token"
    file.write_text("hunter2")
    environ = {"PLATFORM_LLM_USAGE_TOKEN_FILE": str(file)}
    assert ProvisionSettings.misspelt({**environ, "PROVISION_DATABASE_URL_FILE": "x"}) == []
    listed = {row.name: row.value for row in ProvisionSettings.shown(environ)}
    assert listed["PLATFORM_LLM_USAGE_TOKEN_FILE"] == str(file)
    assert "hunter2" not in listed.values()
