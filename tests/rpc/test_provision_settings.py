"""Settings come from the environment, and a bad one refuses to start by its name."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from agentworkspace.client.agent.launch import Launch
from agentworkspace.core.pem_files import PemInvalid
from agentworkspace.service.declared_settings import BadSettings
from provision_service.config import Settings
from provision_service.wiring import certificates_of
from tests.rpc.test_rpc_tls import Authority


def problems_with(**environment: str) -> tuple[str, ...]:
    with pytest.raises(BadSettings) as refused:
        Settings.load(environment)
    return refused.value.problems


def test_without_any_variable_the_defaults_are_those_of_the_design() -> None:
    settings = Settings.load({})
    assert settings.listen == "127.0.0.1:7102"
    assert settings.registry_address == "127.0.0.1:7101"
    assert settings.default_billing == "byok"
    assert settings.probes == "warn"
    assert settings.reconciler is True
    assert settings.tickets_from_birth is True
    assert settings.lease == timedelta(minutes=15)
    assert settings.ticket_ttl == timedelta(minutes=45)
    assert settings.force_tier is None


def test_an_empty_variable_means_the_default() -> None:
    assert Settings.load({"PROVISION_LEASE": " "}).lease == timedelta(minutes=15)


@pytest.mark.parametrize(
    ("text", "seconds"), [("900", 900), ("900s", 900), ("15m", 900), ("1h", 3600), ("1.5m", 90)]
)
def test_a_duration_may_carry_a_unit(text: str, seconds: int) -> None:
    assert Settings.load({"PROVISION_LEASE": text}).lease == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["0", "-5", "15 minutes", "25h", "1e3", "m", "٣m"])
def test_a_lease_that_is_no_usable_duration_is_refused(text: str) -> None:
    (problem,) = problems_with(PROVISION_LEASE=text)
    assert problem.startswith("PROVISION_LEASE must be a duration")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("PROVISION_LISTEN", "7102"),
        ("PROVISION_DATABASE_URL", "mysql://root@host/db"),
        ("PROVISION_REGISTRY_ADDRESS", "127.0.0.1:0"),
        ("PROVISION_CREDENTIALS_FILE", "/no/such/file"),
        ("PROVISION_DEFAULT_BILLING", "disabled"),
        ("PROVISION_TICKETS_FROM_BIRTH", "yes"),
        ("PROVISION_PROBES", "always"),
        ("PROVISION_RECONCILER", "0"),
        ("PROVISION_FORCE_TIER", "5"),
        ("PLATFORM_LLM_BASE_URL", "proxy.example"),
        ("PLATFORM_LLM_BASE_URL", "https://user:password@proxy.example"),
        ("PLATFORM_LLM_USAGE_URL", "ftp://proxy.example"),
        ("INSECURE", "true"),
        ("PROVISION_LOG_LEVEL", "loud"),
    ],
)
def test_a_bad_value_names_its_variable_and_is_not_repeated(name: str, text: str) -> None:
    (problem,) = problems_with(**{name: text})
    assert problem.startswith(f"{name} ")
    assert f" {text}" not in problem


def test_every_bad_variable_is_named_at_once() -> None:
    found = problems_with(PROVISION_PROBES="x", PROVISION_LEASE="x", INSECURE="x")
    assert [problem.split()[0] for problem in found] == [
        "INSECURE",
        "PROVISION_LEASE",
        "PROVISION_PROBES",
    ]


def test_a_ticket_never_dies_before_the_lease() -> None:
    settings = Settings.load({"PROVISION_LEASE": "2h", "PROVISION_TICKET_TTL": "10m"})
    assert settings.ticket_lifetime == timedelta(hours=2)


def test_boxes_are_sent_to_the_registry_address_unless_told_otherwise() -> None:
    inside = {"PROVISION_REGISTRY_ADDRESS": "registry.internal:7101"}
    assert Settings.load(inside).address_for_boxes == "registry.internal:7101"
    both = {**inside, "PROVISION_BOX_REGISTRY_ADDRESS": "registry.example:443"}
    assert Settings.load(both).address_for_boxes == "registry.example:443"
    replicas = Settings.load({"PROVISION_REGISTRY_ADDRESS": "dns:///registry.internal:7101"})
    assert replicas.registry_address == "dns:///registry.internal:7101"
    assert replicas.address_for_boxes == "registry.internal:7101"


@pytest.mark.parametrize(
    ("more", "address"),
    [
        ({}, "https://registry.internal:7101"),
        (
            {"PROVISION_BOX_REGISTRY_ADDRESS": "registry.example:443"},
            "https://registry.example:443",
        ),
        (
            {"PROVISION_BOX_REGISTRY_ADDRESS": "https://registry.example:443"},
            "https://registry.example:443",
        ),
        ({"PROVISION_REGISTRY_CA_FILE": __file__}, "registry.internal:7101"),
    ],
)
def test_a_box_of_a_registry_with_tls_is_never_told_to_speak_plain_text(
    more: dict[str, str], address: str
) -> None:
    inside = {
        "PROVISION_REGISTRY_ADDRESS": "registry.internal:7101",
        "PROVISION_REGISTRY_TLS": "1",
    }
    handed_out = Settings.load({**inside, **more}).address_for_boxes
    assert handed_out == address
    box = Launch(
        workspace_id="0b7b3c1e-0000-4000-8000-000000000001",
        address=handed_out,
        registry_ca="-----BEGIN CERTIFICATE-----" if "PROVISION_REGISTRY_CA_FILE" in more else None,
    )
    assert box.tls() is not None


def test_boxes_may_be_sent_through_tls_where_this_service_needs_none() -> None:
    outside = {"PROVISION_BOX_REGISTRY_ADDRESS": "https://registry.example:443"}
    assert Settings.load(outside).address_for_boxes == "https://registry.example:443"
    for bad in ("http://registry.example:443", "https://registry.example", "https://r:0"):
        with pytest.raises(BadSettings):
            Settings.load({"PROVISION_BOX_REGISTRY_ADDRESS": bad})


def test_a_box_gets_the_certificates_of_the_file_and_neither_remarks_nor_keys(
    tmp_path: Path,
) -> None:
    authority = Authority(tmp_path, "registry")
    key = authority.issue("registry.test")[1].read_text()
    bundle = tmp_path / "bundle.pem"
    certificate = authority.file.read_text()
    bundle.write_text(f"# Zertifizierungsstelle für alle\n{certificate}{key}{certificate}")
    handed_out = certificates_of(bundle)
    assert handed_out == certificate * 2
    assert "PRIVATE" in key
    assert "PRIVATE" not in handed_out
    bundle.write_text(key)
    with pytest.raises(PemInvalid, match="holds no certificate"):
        certificates_of(bundle)


def test_a_password_in_a_url_that_is_no_secret_setting_is_not_listed_either() -> None:
    environment = {"PLATFORM_LLM_BASE_URL": "https://user:hunter2@proxy.example/v1"}
    rows = {row.name: row.value for row in Settings.shown(environment)}
    assert rows["PLATFORM_LLM_BASE_URL"] == "(set, but not usable)"


def test_what_goes_together_is_asked_for_together() -> None:
    assert problems_with(PROVISION_TLS_CERTIFICATE_FILE=__file__) == (
        "PROVISION_TLS_CERTIFICATE_FILE and PROVISION_TLS_KEY_FILE go together",
    )
    assert problems_with(PROVISION_REGISTRY_CA_FILE=__file__)[0].endswith(
        "PROVISION_REGISTRY_TLS=1"
    )
    assert problems_with(PLATFORM_LLM_USAGE_TOKEN_SHARED="1") == (
        "PLATFORM_LLM_USAGE_TOKEN_SHARED needs PLATFORM_LLM_USAGE_TOKEN",
    )


def test_serving_asks_for_what_it_cannot_do_without() -> None:
    with pytest.raises(BadSettings) as refused:
        Settings.load({}).require_for_serving(embedded=False)
    assert [problem.split()[0] for problem in refused.value.problems] == [
        "PROVISION_DATABASE_URL",
        "PROVISION_CREDENTIALS_FILE",
        "PROVISION_SECRETS_KEYS_FILE",
        "PROVISION_REGISTRY_TOKEN_FILE",
    ]


def test_secrets_are_listed_as_set_and_never_shown() -> None:
    environment = {
        "PROVISION_DATABASE_URL": "postgresql://user:hunter2@host/db",
        "PLATFORM_LLM_USAGE_TOKEN": "usage-hunter2",
        "PROVISION_LISTEN": "127.0.0.1:9",
    }
    rows = {row.name: row.value for row in Settings.shown(environment)}
    assert rows["PROVISION_DATABASE_URL"] == "set"
    assert rows["PLATFORM_LLM_USAGE_TOKEN"] == "set"
    assert rows["PROVISION_LISTEN"] == "127.0.0.1:9"
    assert "hunter2" not in repr(Settings.load(environment))


def test_every_setting_is_listed_once_with_a_meaning() -> None:
    rows = Settings.shown({})
    assert len({row.name for row in rows}) == len(rows) == len(Settings.names())
    assert all(row.meaning for row in rows)
