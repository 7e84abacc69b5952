"""Probes: what is sent where, what the answers mean, and where nothing is ever sent."""

from __future__ import annotations

import base64
import threading
from collections.abc import Iterator
from datetime import timedelta
from ipaddress import ip_address

import pytest

from agentworkspace.core.public_urls import Address
from agentworkspace.core.secret import Secret
from provision_service.catalogue.catalogue import Provider
from provision_service.clients.probes import VendorProber
from provision_service.domain.probing import ProbeRequest, ProbeResult, TemplateProbe, Verdict
from provision_service.workers.files import load_catalogue
from tests.rpc.vendor_server import Vendor, running_vendor, until

VALUE = "vendor-secret-0123456789abcdef"
PROVIDERS = load_catalogue(None).providers


@pytest.fixture
def vendor() -> Iterator[Vendor]:
    with running_vendor() as running:
        yield running


def prober(**changes: object) -> VendorProber:
    settings: dict[str, object] = {
        "platform": {},
        "allow_loopback_http": True,
        "budget": timedelta(seconds=1),
    }
    return VendorProber(**{**settings, **changes})  # type: ignore[arg-type]


def ask(probe: TemplateProbe, value: str | None = VALUE, **changes: object) -> ProbeResult:
    secret = None if value is None else Secret(value)
    (result,) = prober(**changes).probe([ProbeRequest(env=probe.env, value=secret, probe=probe)])
    assert value is None or value not in repr(result)
    return result


def probe_of(vendor: Vendor, path: str, **changes: object) -> TemplateProbe:
    settings: dict[str, object] = {
        "env": "GITEA_TOKEN",
        "url": vendor.url(path),
        "header": "Authorization: token {value}",
    }
    return TemplateProbe(**{**settings, **changes})  # type: ignore[arg-type]


def test_an_expected_status_proves_the_secret(vendor: Vendor) -> None:
    vendor.answers["/pulls?limit=1"] = 200
    result = ask(probe_of(vendor, "/pulls?limit=1"))
    assert (result.verdict, result.http_status, result.host) == (Verdict.OK, 200, "127.0.0.1")
    assert vendor.headers_of("/pulls?limit=1")["authorization"] == f"token {VALUE}"


def test_a_missing_scope_is_named(vendor: Vendor) -> None:
    vendor.answers["/issues"] = 403
    result = ask(probe_of(vendor, "/issues", scope="read:issue"))
    assert result.verdict is Verdict.MISSING_SCOPE
    assert result.missing_scope == "read:issue"
    assert "GITEA_TOKEN lacks the scope read:issue" in result.message


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        (200, Verdict.OK),
        (401, Verdict.INVALID),
        (403, Verdict.MISSING_SCOPE),
        (404, Verdict.INCONCLUSIVE),
        (429, Verdict.INCONCLUSIVE),
        (500, Verdict.INCONCLUSIVE),
        (503, Verdict.INCONCLUSIVE),
        (302, Verdict.INCONCLUSIVE),
    ],
)
def test_each_status_has_one_meaning(vendor: Vendor, status: int, verdict: Verdict) -> None:
    vendor.answers["/"] = status
    assert ask(probe_of(vendor, "/")).verdict is verdict


def test_the_template_says_what_401_and_403_mean(vendor: Vendor) -> None:
    vendor.answers.update({"/401": 401, "/403": 403})
    missing = probe_of(vendor, "/401", on_401=Verdict.MISSING_SCOPE, scope="repo")
    invalid = probe_of(vendor, "/403", on_403=Verdict.INVALID)
    assert ask(missing).verdict is Verdict.MISSING_SCOPE
    assert ask(invalid).verdict is Verdict.INVALID


def test_a_redirect_is_not_followed(vendor: Vendor) -> None:
    vendor.answers.update({"/": 302, "/elsewhere": 200})
    result = ask(probe_of(vendor, "/"))
    assert "redirects" in result.message
    assert [path for path, _ in vendor.seen] == ["/"]


@pytest.mark.parametrize(
    ("form", "name", "sent"),
    [
        ("Authorization: Bearer {value}", "authorization", f"Bearer {VALUE}"),
        ("x-api-key: {value}\nanthropic-version: 2023-06-01", "x-api-key", VALUE),
        (
            "Authorization: Basic {basic:ci}",
            "authorization",
            "Basic " + base64.b64encode(f"ci:{VALUE}".encode()).decode(),
        ),
        ("PRIVATE-TOKEN: {value}", "private-token", VALUE),
    ],
)
def test_each_header_form_is_sent_as_written(
    vendor: Vendor, form: str, name: str, sent: str
) -> None:
    vendor.answers["/"] = 200
    ask(probe_of(vendor, "/", header=form))
    assert vendor.headers_of("/")[name] == sent


def test_a_blank_or_absent_secret_is_skipped_and_nothing_is_sent(vendor: Vendor) -> None:
    assert ask(probe_of(vendor, "/"), None).verdict is Verdict.SKIP
    assert ask(probe_of(vendor, "/"), "  ").verdict is Verdict.SKIP
    assert vendor.seen == []


def test_a_secret_that_no_header_can_carry_is_not_sent(vendor: Vendor) -> None:
    assert ask(probe_of(vendor, "/"), "two\r\nX-Evil: lines").verdict is Verdict.SKIP
    assert vendor.seen == []


def test_plain_http_needs_the_setting_even_on_loopback(vendor: Vendor) -> None:
    result = ask(probe_of(vendor, "/"), allow_loopback_http=False)
    assert result.verdict is Verdict.INCONCLUSIVE
    assert "may not be asked" in result.message
    assert vendor.seen == []


def answering(*addresses: str) -> object:
    def resolve(_host: str) -> list[Address]:
        return [ip_address(text) for text in addresses]

    return resolve


@pytest.mark.parametrize(
    "address", ["10.0.0.1", "169.254.169.254", "127.0.0.1", "::1", "100.64.0.1", "::ffff:10.0.0.1"]
)
def test_a_name_that_leads_inside_is_never_asked(address: str) -> None:
    probe = TemplateProbe(env="T", url="https://vendor.example/", header="x-api-key: {value}")
    result = ask(probe, resolver=answering("93.184.216.34", address))
    assert result.verdict is Verdict.INCONCLUSIVE
    assert "may not be asked" in result.message


def test_the_address_that_was_checked_is_the_one_that_is_connected_to(vendor: Vendor) -> None:
    """The resolver is asked once: a second, different answer has nobody to give it to."""
    vendor.answers["/"] = 200
    answers = [[ip_address("127.0.0.1")], [ip_address("93.184.216.34")]]
    probe = probe_of(vendor, "/", url=f"http://rebinding.example:{vendor.port}/")
    result = ask(probe, resolver=lambda _host: answers.pop(0))
    assert result.verdict is Verdict.OK
    assert vendor.headers_of("/")["host"] == f"rebinding.example:{vendor.port}"
    assert len(answers) == 1


def test_a_tls_server_that_cannot_be_trusted_proves_nothing(vendor: Vendor) -> None:
    probe = probe_of(vendor, "/", url=f"https://127.0.0.1:{vendor.port}/")
    assert ask(probe, allow_private=True).verdict is Verdict.INCONCLUSIVE
    assert vendor.seen == []


def test_all_are_asked_at_once_and_slow_ones_are_given_up(vendor: Vendor) -> None:
    vendor.answers["/quick"] = 200
    vendor.slow.update({f"/slow{number}" for number in range(6)})
    probes = [probe_of(vendor, "/quick")]
    probes += [probe_of(vendor, path) for path in sorted(vendor.slow)]
    results = prober().probe(
        [ProbeRequest(env=each.env, value=Secret(VALUE), probe=each) for each in probes]
    )
    assert results[0].verdict is Verdict.OK
    assert {each.verdict for each in results[1:]} == {Verdict.INCONCLUSIVE}
    assert all("did not answer within" in each.message for each in results[1:])
    until(lambda: not [each for each in threading.enumerate() if each.name == "probe"])


def test_a_name_server_that_hangs_does_not_hold_the_answer() -> None:
    release = threading.Event()

    def hang(_host: str) -> list[Address]:
        release.wait(10)
        return []

    probe = TemplateProbe(env="T", url="https://vendor.example/", header="x-api-key: {value}")
    try:
        assert ask(probe, resolver=hang).verdict is Verdict.INCONCLUSIVE
        assert not release.is_set()
    finally:
        release.set()


def provider_asked(name: str, **changes: object) -> ProbeResult:
    provider: Provider = PROVIDERS[name]
    request = ProbeRequest(
        env=provider.auth_env[0], value=Secret(VALUE), provider=provider, model="some-model"
    )
    (result,) = prober(**changes).probe([request])
    return result


def test_a_provider_without_an_endpoint_is_skipped() -> None:
    result = provider_asked("anthropic-oauth")
    assert result.verdict is Verdict.SKIP
    assert (result.provider, result.model) == ("anthropic-oauth", "some-model")
    assert result.is_model_credential


def test_the_platform_is_asked_at_the_proxy_of_the_deployment(vendor: Vendor) -> None:
    vendor.answers["/v1/models"] = 401
    result = provider_asked("platform", platform={"${PLATFORM_LLM_BASE_URL}": vendor.url("/v1")})
    assert result.verdict is Verdict.INVALID
    assert provider_asked("platform").verdict is Verdict.SKIP


def test_one_endpoint_with_one_key_is_asked_once_for_all_its_models(vendor: Vendor) -> None:
    vendor.answers["/v1/models"] = 200
    requests = [
        ProbeRequest(env="KEY", value=Secret(VALUE), provider=PROVIDERS["platform"], model=model)
        for model in ("one", "two", "three")
    ]
    asking = prober(platform={"${PLATFORM_LLM_BASE_URL}": vendor.url("/v1")})
    results = asking.probe(requests)
    assert [(each.model, each.verdict) for each in results] == [
        ("one", Verdict.OK),
        ("two", Verdict.OK),
        ("three", Verdict.OK),
    ]
    assert len(vendor.seen) == 1
