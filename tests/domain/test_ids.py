"""Ids by their beginnings."""

from __future__ import annotations

import pytest

from agentworkspace.core.ids import uuids_beginning_with


@pytest.mark.parametrize(
    ("prefix", "first", "last"),
    [
        ("6", "60000000-0000-0000-0000-000000000000", "6fffffff-ffff-ffff-ffff-ffffffffffff"),
        ("6b2f3c1e", "6b2f3c1e-0000-0000-0000-000000000000",
         "6b2f3c1e-ffff-ffff-ffff-ffffffffffff"),
        ("6b2f3c1e-", "6b2f3c1e-0000-0000-0000-000000000000",
         "6b2f3c1e-ffff-ffff-ffff-ffffffffffff"),
        ("6b2f3c1e-52c4-4b5a-9d4e-0f7f1c2d3e4f", "6b2f3c1e-52c4-4b5a-9d4e-0f7f1c2d3e4f",
         "6b2f3c1e-52c4-4b5a-9d4e-0f7f1c2d3e4f"),
    ],
)  # fmt: skip
def test_a_beginning_is_a_range_of_ids(prefix: str, first: str, last: str) -> None:
    assert uuids_beginning_with(prefix) == (first, last)


@pytest.mark.parametrize("text", ["", "-", "6B", "scribe", "6b2f3c1e5", "6-", "6b2f3c1e" * 9, "é"])
def test_what_no_id_begins_with_is_none(text: str) -> None:
    assert uuids_beginning_with(text) is None
