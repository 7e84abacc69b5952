"""Names are resolved beside the calls, within a limit; what nobody knows in time is refused."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from ipaddress import ip_address
from typing import Any

import pytest

from agentworkspace.core.public_urls import Address
from agentworkspace.core.refusal import Recovery, Refusal, SharedReason
from agentworkspace.service.name_resolution import Names, PublicUrls

SOON = 0.05
LATE = 30.0
PUBLIC = [ip_address("1.1.1.1"), ip_address("2606:4700::1")]


def knows(**names: list[str]) -> Callable[[str], list[Address]]:
    def ask(host: str) -> list[Address]:
        if host not in names:
            raise OSError("no such name")
        return [ip_address(text) for text in names[host]]

    return ask


class Silent:
    """Never answers until it is let."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.let = threading.Event()

    def __call__(self, host: str) -> list[Address]:
        self.asked.append(host)
        assert self.let.wait(LATE)
        return [ip_address("1.1.1.1")]


@pytest.fixture
def silent() -> Any:
    made = Silent()
    yield made
    made.let.set()


def run(work: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(work)


def test_a_name_has_all_its_addresses() -> None:
    assert run(Names(ask=knows(a=["1.1.1.1", "2606:4700::1"])).addresses("a")) == PUBLIC


@pytest.mark.parametrize("fault", [OSError(), UnicodeError(), ValueError("embedded null")])
def test_a_name_server_that_fails_knows_nothing(fault: Exception) -> None:
    def ask(host: str) -> list[Address]:
        raise fault

    assert run(Names(ask=ask).addresses("a")) == []


def test_a_name_server_that_is_silent_knows_nothing_in_time(silent: Silent) -> None:
    assert run(Names(ask=silent, seconds=SOON).addresses("a")) == []


def test_those_who_ask_for_one_name_share_a_question(silent: Silent) -> None:
    async def crowd() -> list[list[Address]]:
        names = Names(ask=silent, seconds=LATE)
        asking = [asyncio.create_task(names.addresses("a")) for _ in range(5)]
        await asyncio.sleep(0)
        silent.let.set()
        return await asyncio.gather(*asking)

    assert run(crowd()) == [[ip_address("1.1.1.1")]] * 5
    assert silent.asked == ["a"]


def test_silent_name_servers_hold_no_more_threads_than_there_are(silent: Silent) -> None:
    async def crowd() -> list[list[Address]]:
        names = Names(ask=silent, seconds=SOON, threads=2)
        return await asyncio.gather(*(names.addresses(f"n{number}") for number in range(9)))

    assert run(crowd()) == [[]] * 9
    assert silent.asked == ["n0", "n1"]


def test_a_thread_that_comes_back_serves_the_next_name(silent: Silent) -> None:
    async def crowd() -> list[list[Address]]:
        names = Names(ask=silent, seconds=LATE, threads=1)
        asking = [asyncio.create_task(names.addresses(f"n{number}")) for number in range(3)]
        await asyncio.sleep(0)
        silent.let.set()
        return await asyncio.gather(*asking)

    assert run(crowd()) == [[ip_address("1.1.1.1")]] * 3
    assert silent.asked == ["n0", "n1", "n2"]


def test_names_beyond_the_limit_are_unknown_at_once(silent: Silent) -> None:
    async def crowd() -> list[Address]:
        names = Names(ask=silent, seconds=LATE, most_flights=1)
        waiting = asyncio.create_task(names.addresses("a"))
        await asyncio.sleep(0)
        found = await names.addresses("b")
        waiting.cancel()
        return found

    assert run(crowd()) == []


def refusal(url: str, *, allow_private: bool = False, **names: list[str]) -> Refusal | None:
    urls = PublicUrls(Names(ask=knows(**names), seconds=LATE), allow_private=allow_private)
    found: Refusal | None = run(urls.refusal_of(url, "workspace.url"))
    assert found is None or found.reason is SharedReason.URL_FORBIDDEN
    assert found is None or found.violations[0].field == "workspace.url"
    return found


@pytest.mark.parametrize(
    "url", ["https://1.1.1.1/", "https://[2606:4700::1]", "http://a:8080/a2a?b=c"]
)
def test_what_leads_to_public_addresses_is_taken(url: str) -> None:
    assert refusal(url, a=["1.1.1.1", "2606:4700::1"]) is None


@pytest.mark.parametrize("allow_private", [True, False])
@pytest.mark.parametrize(
    "address", ["127.0.0.1", "169.254.169.254", "::1", "::ffff:127.0.0.1", "fd00:ec2::253"]
)
def test_every_address_behind_a_name_is_judged(address: str, *, allow_private: bool) -> None:
    found = refusal("https://a", allow_private=allow_private, a=["1.1.1.1", address])
    assert found is not None
    assert found.recovery is None
    assert ip_address(found.metadata["address"]) == ip_address(address)


def test_a_private_address_behind_a_name_is_taken_only_by_setting() -> None:
    assert refusal("https://a", allow_private=True, a=["10.1.2.3"]) is None
    assert refusal("https://a", a=["10.1.2.3"]) is not None


def test_a_name_without_an_address_may_have_one_later() -> None:
    found = refusal("https://a")
    assert found is not None
    assert found.recovery is Recovery.RETRY


def test_a_url_of_the_wrong_shape_is_for_the_parser_to_refuse() -> None:
    assert refusal("ftp://a") is None
