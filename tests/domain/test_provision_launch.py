"""The life of a launch and of its workspace's status, and what the reconciler marks."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import product

import pytest

from provision_service.domain.launch import (
    WorkspaceEvent,
    claim_is_live,
    may_follow,
    status_after,
)
from provision_service.domain.lifecycle import ProvisionState, WorkspaceStatus
from provision_service.domain.reconciliation import (
    allowed_a_minute,
    choose_marks,
)

NOW = datetime(2026, 5, 28, 12, 0, tzinfo=UTC)

MOVES = {
    ("CLAIMED", "ENV_DELIVERED"), ("CLAIMED", "FAILED"), ("CLAIMED", "SUPERSEDED"),
    ("CLAIMED", "LAPSED"),
    ("ENV_DELIVERED", "LAUNCHED"), ("ENV_DELIVERED", "REGISTERED"), ("ENV_DELIVERED", "FAILED"),
    ("ENV_DELIVERED", "SUPERSEDED"), ("ENV_DELIVERED", "LAPSED"),
    ("LAUNCHED", "REGISTERED"), ("LAUNCHED", "FAILED"), ("LAUNCHED", "SUPERSEDED"),
    ("LAUNCHED", "LAPSED"),
    ("REGISTERED", "PROVEN"), ("REGISTERED", "FAILED"), ("REGISTERED", "SUPERSEDED"),
    ("PROVEN", "SUPERSEDED"),
    ("LAPSED", "REGISTERED"), ("LAPSED", "SUPERSEDED"),
}  # fmt: skip


@pytest.mark.parametrize(("current", "target"), list(product(ProvisionState, repeat=2)))
def test_a_launch_moves_along_these_steps_only(
    current: ProvisionState, target: ProvisionState
) -> None:
    assert may_follow(current, target) is ((current.value, target.value) in MOVES)


def test_delivered_is_never_proven_without_a_register() -> None:
    assert not may_follow(ProvisionState.ENV_DELIVERED, ProvisionState.PROVEN)
    assert not may_follow(ProvisionState.LAUNCHED, ProvisionState.PROVEN)


@pytest.mark.parametrize(
    ("state", "left", "live"),
    [
        ("CLAIMED", 1, True),
        ("ENV_DELIVERED", 1, True),
        ("ENV_DELIVERED", 0, False),
        ("ENV_DELIVERED", -1, False),
        ("LAUNCHED", 1, False),
        ("REGISTERED", 1, False),
        ("FAILED", 1, False),
        ("LAPSED", 1, False),
    ],
)
def test_a_claim_is_live_until_it_is_completed_or_its_lease_ends(
    state: str, left: int, live: bool
) -> None:
    lease = NOW + timedelta(seconds=left)
    assert claim_is_live(ProvisionState(state), lease, NOW) is live


STATUSES = [
    ("PENDING", "PROVISION_CLAIMED", "PROVISIONING"),
    ("RUNNING", "PROVISION_CLAIMED", "PROVISIONING"),
    ("FAILED", "PROVISION_CLAIMED", "PROVISIONING"),
    ("PROVISIONING", "PROVISION_FAILED", "FAILED"),
    ("PROVISIONING", "PROVISION_LAPSED", "FAILED"),
    ("RUNNING", "PROVISION_FAILED", "RUNNING"),
    ("DEGRADED", "PROVISION_LAPSED", "DEGRADED"),
    ("PROVISIONING", "BOX_REGISTERED", "RUNNING"),
    ("OFFLINE", "BOX_REGISTERED", "RUNNING"),
    ("PROVISIONING", "BOX_HEALTHY", "PROVISIONING"),
    ("PENDING", "BOX_HEALTHY", "PENDING"),
    ("FAILED", "BOX_HEALTHY", "FAILED"),
    ("PROVISIONING", "BOX_SILENT", "PROVISIONING"),
    ("RUNNING", "BOX_DEGRADED", "DEGRADED"),
    ("DEGRADED", "BOX_HEALTHY", "RUNNING"),
    ("OFFLINE", "BOX_HEALTHY", "RUNNING"),
    ("RUNNING", "BOX_SILENT", "OFFLINE"),
    ("RUNNING", "BOX_LEFT", "OFFLINE"),
    ("RUNNING", "REMOVED", "REMOVED"),
    ("REMOVED", "BOX_REGISTERED", "REMOVED"),
    ("REMOVED", "PROVISION_CLAIMED", "REMOVED"),
]


@pytest.mark.parametrize(("current", "event", "expected"), STATUSES)
def test_the_status_after_an_event(current: str, event: str, expected: str) -> None:
    assert status_after(WorkspaceStatus(current), WorkspaceEvent(event)) == expected


@pytest.mark.parametrize("event", [e for e in WorkspaceEvent if e.value != "BOX_REGISTERED"])
@pytest.mark.parametrize("status", ["PENDING", "PROVISIONING", "FAILED"])
def test_only_a_register_makes_a_workspace_running(status: str, event: WorkspaceEvent) -> None:
    assert status_after(WorkspaceStatus(status), event) is not WorkspaceStatus.RUNNING


@pytest.mark.parametrize(
    ("workspaces", "allowed"), [(0, 1), (1, 1), (20, 1), (39, 1), (40, 2), (1000, 50)]
)
def test_at_most_five_in_a_hundred_and_at_least_one_a_minute(workspaces: int, allowed: int) -> None:
    assert allowed_a_minute(workspaces) == allowed


@pytest.mark.parametrize(
    ("silent", "marked", "chosen", "held_back"),
    [
        ([], 0, (), 0),
        (["a"], 0, ("a",), 0),
        (["a", "b", "c"], 0, ("a", "b"), 1),
        (["a", "b", "c"], 1, ("a",), 2),
        (["a"], 2, (), 1),
        (["a"], 9, (), 1),
    ],
)
def test_above_the_limit_the_rest_is_held_back_and_said(
    silent: list[str], marked: int, chosen: tuple[str, ...], held_back: int
) -> None:
    marking = choose_marks(silent, workspaces=40, marked_last_minute=marked)
    assert (marking.workspace_ids, marking.held_back) == (chosen, held_back)
    assert marking.stopped is (held_back > 0)
