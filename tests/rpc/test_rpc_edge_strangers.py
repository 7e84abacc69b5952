"""Strangers who call too often are told to come back; nobody who is known pays for them."""

from __future__ import annotations

from typing import Any

import grpc
import pytest

from agentworkspace.core.refusal import Refusal, SharedReason
from agentworkspace.rpc.errors import RpcFailure
from agentworkspace.server.meanings import SHARED_MEANINGS, failure_of
from agentworkspace.server.throttle import Strangers, address_of
from tests.rpc.echo_server import LAUNCHER_SECRET, Text, serving, story
from tests.rpc.echo_server import failure_of as failure_of_call

StatusCode = grpc.StatusCode
FEW: dict[str, Any] = {"strangers_burst": 3, "strangers_per_second": 0.001}


def worded(error: Exception) -> RpcFailure:
    assert isinstance(error, Refusal)
    return failure_of(error, "edgetest", SHARED_MEANINGS)


def refusing(refusal: Refusal) -> Any:
    async def behaviour(_request: Text, _context: Any) -> Text:
        raise refusal

    return behaviour


def rejected(*, recognised: bool = False) -> Any:
    return refusing(Refusal(SharedReason.BEARER_REJECTED, "no", recognised=recognised))


@pytest.mark.parametrize(
    "said", [SharedReason.BEARER_REJECTED, SharedReason.WORKSPACE_UNKNOWN], ids=str
)
@story
async def test_unknown_bearers_of_one_address_are_slowed(said: SharedReason) -> None:
    async with serving(say=refusing(Refusal(said, "no")), translate=worded, **FEW) as parts:
        reasons = [
            (await failure_of_call(parts.say(bearer=f"nobody-{number}"))).reason
            for number in range(3)
        ]
        slowed = await failure_of_call(parts.say(bearer="nobody"))
    assert reasons == [f"ERROR_REASON_{said}"] * 3
    assert slowed.code is StatusCode.RESOURCE_EXHAUSTED
    assert slowed.reason == "ERROR_REASON_RATE_LIMITED"
    assert slowed.metadata == {"of": "address"}
    assert slowed.retry_after is not None


@story
async def test_unknown_credentials_are_slowed_where_no_token_may_call() -> None:
    async with serving(**FEW) as parts:
        reasons = [(await failure_of_call(parts.launch(bearer="nobody"))).reason for _ in range(4)]
        known = await parts.launch(bearer=LAUNCHER_SECRET)
    assert reasons == ["ERROR_REASON_CREDENTIAL_REJECTED"] * 3 + ["ERROR_REASON_RATE_LIMITED"]
    assert known.value == "hello"


@story
async def test_whoever_showed_what_was_issued_here_is_no_stranger() -> None:
    async with serving(say=rejected(recognised=True), translate=worded, **FEW) as parts:
        reasons = {(await failure_of_call(parts.say(bearer="old"))).reason for _ in range(6)}
    assert reasons == {"ERROR_REASON_BEARER_REJECTED"}


@story
async def test_a_known_callers_mistakes_are_not_counted() -> None:
    async with serving(say=rejected(), translate=worded, **FEW) as parts:
        reasons = {
            (await failure_of_call(parts.say(bearer=LAUNCHER_SECRET))).reason for _ in range(6)
        }
    assert reasons == {"ERROR_REASON_BEARER_REJECTED"}


def strangers(**limits: float) -> Strangers:
    given = {"burst": 2, "per_second": 1, "total_burst": 3, "total_per_second": 1, **limits}
    return Strangers(**given)  # type: ignore[arg-type]  # whole numbers and others alike


def test_all_addresses_together_have_an_allowance_too() -> None:
    made = strangers()
    taken = [made.take(f"ipv4:192.0.2.{number}:1", 0.0) is None for number in range(4)]
    assert taken == [True, True, True, False]
    assert made.take("ipv4:192.0.2.9:1", 1.0) is None


def test_an_address_that_used_up_its_own_takes_nothing_from_the_others() -> None:
    made = strangers()
    taken = [made.take("ipv4:192.0.2.1:1", 0.0) is None for _ in range(50)]
    assert taken == [True, True] + [False] * 48
    assert made.take("ipv4:192.0.2.2:1", 0.0) is None


@pytest.mark.parametrize(
    ("peer", "address"),
    [
        ("ipv4:192.0.2.1:4711", "192.0.2.1"),
        ("ipv6:%5B::ffff:192.0.2.1%5D:4711", "192.0.2.1"),
        ("ipv6:%5B2001:db8:1:2:3:4:5:6%5D:4711", "2001:db8:1:2::"),
        ("ipv6:%5B2001:db8:1:2::7%5D:1", "2001:db8:1:2::"),
        ("ipv6:%5Bfe80::1%25eth0%5D:1", "fe80::"),
        ("unix:", "unix:"),
        ("", ""),
    ],
)
def test_an_address_is_known_whatever_its_port(peer: str, address: str) -> None:
    assert address_of(peer) == address
