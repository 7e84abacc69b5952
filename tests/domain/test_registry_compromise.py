"""What a theft takes along (design, section 3, *fenced* and what follows)."""

from __future__ import annotations

import pytest

from registry_service.domain.compromise import fences, of_boxes, reach
from registry_service.domain.tokens import RevokeReason, Token, TokenKind
from tests.domain.test_registry_admission import dead, redeemed, ticket, token, unused

API, PROXY = TokenKind.API, TokenKind.PROXY


def taken(stolen: Token, *others: Token) -> list[str]:
    return sorted(reach(stolen, [stolen, *others]))


class TestOfABox:
    BOX = token("box", incarnation=2)

    def test_everything_up_to_its_incarnation_that_lives_or_would_open(self) -> None:
        assert taken(
            self.BOX,
            unused("rotated into", incarnation=2),
            dead("operator", RevokeReason.OPERATOR, incarnation=1),
            dead("relaunched", RevokeReason.RELAUNCHED, incarnation=1),
            token("proxy", PROXY, incarnation=2),
        ) == ["box", "operator", "proxy", "relaunched", "rotated into"]

    @pytest.mark.parametrize(
        "reason",
        [
            *(RevokeReason.ROTATED, RevokeReason.SUSPENDED, RevokeReason.DEREGISTERED),
            *(RevokeReason.COMPROMISED, RevokeReason.REMOVED),
        ],
    )
    def test_not_what_opens_nothing_anyhow(self, reason: RevokeReason) -> None:
        assert taken(self.BOX, dead("gone", reason, incarnation=1)) == ["box"]

    def test_not_what_a_newer_launch_holds_nor_any_ticket_or_api_token(self) -> None:
        newer = (token("newer", incarnation=3), token("its proxy", PROXY, incarnation=3))
        others = (ticket("ticket", 3), redeemed("its ticket", 2), token("api", API))
        assert taken(self.BOX, *newer, *others) == ["box"]

    def test_itself_whatever_it_died_of(self) -> None:
        assert taken(dead("box", RevokeReason.ROTATED, incarnation=2)) == ["box"]

    def test_of_a_ticket_the_same_and_the_ticket(self) -> None:
        assert taken(redeemed("ticket", 2), self.BOX) == ["box", "ticket"]

    def test_of_a_workspace_all_that_its_boxes_hold(self) -> None:
        every = [self.BOX, token("api", API), ticket("ticket", 2)]
        assert of_boxes(every, up_to=2) == {"box"}


class TestOfAnApiToken:
    FIRST = token("first", API)
    SECOND = token("second", API, minted_on="first")
    THIRD = token("third", API, minted_on="second")
    BOX = token("box", minted_on="first")
    ROTATED = unused("rotated", minted_on="box")
    APART = (token("apart", API), token("launched", incarnation=1, minted_on="ticket"))
    EVERY = (FIRST, SECOND, THIRD, BOX, ROTATED, *APART)

    @pytest.mark.parametrize("stolen", [FIRST, SECOND, THIRD])
    def test_its_rotations_either_way_and_what_was_registered_with_them(
        self, stolen: Token
    ) -> None:
        found = sorted(reach(stolen, self.EVERY))
        assert found == ["box", "first", "rotated", "second", "third"]

    def test_also_past_one_that_is_long_dead(self) -> None:
        gone = dead("second", RevokeReason.ROTATED, kind=API, minted_on="first")
        found = reach(self.THIRD, [self.FIRST, gone, self.THIRD, self.BOX])
        assert sorted(found) == ["box", "first", "third"]

    def test_a_box_does_not_lead_back_to_the_token_that_let_it_in(self) -> None:
        assert sorted(reach(self.BOX, self.EVERY)) == ["box", "rotated"]


class TestOfAProxyToken:
    def test_itself_alone(self) -> None:
        proxy = token("proxy", PROXY, incarnation=2)
        assert taken(proxy, token("box", incarnation=2)) == ["proxy"]


class TestTheFence:
    def test_is_set_for_what_the_newest_launch_holds(self) -> None:
        assert fences(token("box", incarnation=2), newest=2)
        assert fences(ticket("ticket", 2), newest=2)
        assert fences(token("box"), newest=0)

    def test_is_not_for_an_earlier_launch_nor_for_api_and_proxy_tokens(self) -> None:
        assert not fences(token("box", incarnation=1), newest=2)
        assert not fences(ticket("ticket", 1), newest=2)
        assert not fences(token("api", API), newest=0)
        assert not fences(token("proxy", PROXY, incarnation=2), newest=2)
