"""What counts as the same endpoint: where a connection goes, however it is written."""

from __future__ import annotations

import pytest

from provision_service.domain.endpoints import (
    WebOrigin,
    is_provider_endpoint,
    leads_to_any,
    web_origin,
)

PROXY = WebOrigin("https", "llm.platform.test", 443)


@pytest.mark.parametrize(
    "url",
    [
        "https://llm.platform.test",
        "https://llm.platform.test:443/openai/v1",
        "  https://llm.platform.test/v1\n",
        "https://llm.platform.test ",
        "HTTPS://LLM.Platform.TEST/v1",
        "https://llm.platform.test./v1",
        "https://somebody:secret@llm.platform.test/v1",
        "https:\\\\llm.platform.test\\v1",
    ],
)
def test_these_all_lead_to_the_same_place(url: str) -> None:
    assert web_origin(url) == PROXY


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("http://llm.platform.test/v1", WebOrigin("http", "llm.platform.test", 80)),
        ("https://llm.platform.test:8443", WebOrigin("https", "llm.platform.test", 8443)),
        ("https://b\u00fccher.test", WebOrigin("https", "xn--bcher-kva.test", 443)),
        ("http://[::0001]:8080/v1", WebOrigin("http", "::1", 8080)),
        ("http://127.0.0.1", WebOrigin("http", "127.0.0.1", 80)),
        (f"https://{'a' * 64}.Test", WebOrigin("https", f"{'a' * 64}.test", 443)),
    ],
)
def test_these_lead_elsewhere(url: str, origin: WebOrigin) -> None:
    assert web_origin(url) == origin


@pytest.mark.parametrize(
    "url",
    [
        "", "llm.platform.test/v1", "ftp://llm.platform.test", "https:///v1", "https://",
        "https://llm.platform.test:none", "https://[::1", "/v1",
    ],
)  # fmt: skip
def test_these_lead_nowhere(url: str) -> None:
    assert web_origin(url) is None
    assert not leads_to_any(url, [url, "https://llm.platform.test"])


def test_any_of_several_is_enough() -> None:
    others = ["https://llm.platform.test/openai/v1", "https://usage.platform.test", "nowhere"]
    assert leads_to_any("https://usage.platform.test:443/x", others)
    assert not leads_to_any("https://gateway.tenant.test", others)
    assert not leads_to_any("https://llm.platform.test", [])


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        ("https://api.vendor.test/v1", True),
        ("https://{location}-aiplatform.vendor.test/v1", True),
        ("http://localhost:11434/v1", True),
        ("http://127.0.0.1:8000", True),
        ("http://[::1]:8000", True),
        ("http://api.vendor.test/v1", False),
        ("https://api.vendor.test/v1/", False),
        ("https://api.vendor.test/$KEY", False),
        ("https://me@api.vendor.test", False),
        ("api.vendor.test", False),
    ],
)
def test_a_provider_is_reached_by_https_or_on_this_machine(url: str, allowed: bool) -> None:
    assert is_provider_endpoint(url) is allowed
