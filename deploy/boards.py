#!/usr/bin/env python3
"""Write the dashboards of deploy/grafana/ from the panels listed here: title, unit, queries.

    python -m deploy.boards            write them
    python -m deploy.boards --check    compare only

`$job` and `$__rate_interval` are Grafana's; each panel is half a row wide.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

FOLDER: Final = Path(__file__).resolve().parent / "grafana"
_SOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}
_WIDTH, _HEIGHT = 12, 8


@dataclass(frozen=True)
class Panel:
    """One graph. `unit` is Grafana's name of it.

    `queries` are pairs: the legend of the series, in Grafana's `{{label}}` spelling, and PromQL.
    """

    title: str
    unit: str
    queries: tuple[tuple[str, str], ...]
    description: str = ""


def rate(metric: str, by: str, where: str = "") -> str:
    """PromQL: how much the counter grows in a second, summed by these labels."""
    labels = ",".join(each for each in ('job=~"$job"', where) if each)
    return f"sum by ({by}) (rate({metric}{{{labels}}}[$__rate_interval]))"


def top(metric: str, by: str, where: str = "") -> str:
    """PromQL: the largest value of the gauge by these labels."""
    labels = ",".join(each for each in ('job=~"$job"', where) if each)
    return f"max by ({by}) ({metric}{{{labels}}})"


CALLS: Final = "agentworkspace_rpc_calls_total"
BAD: Final = 'code=~"UNAVAILABLE|RESOURCE_EXHAUSTED|DEADLINE_EXCEEDED|INTERNAL|UNKNOWN"'
SERVICES: Final = (
    Panel("Calls", "reqps", (("{{method}}", rate(CALLS, "method")),)),
    Panel("Calls by class of caller", "reqps", (("{{caller}}", rate(CALLS, "caller")),)),
    Panel(
        "Calls that are not OK",
        "reqps",
        (("{{code}} {{reason}}", rate(CALLS, "code, reason", 'code!="OK"') + " or vector(0)"),),
        "INTERNAL and UNKNOWN must never show; UNAVAILABLE is the store or the other service.",
    ),
    Panel(
        "Part that could not be answered",
        "percentunit",
        (
            (
                "{{job}}",
                (
                    f"({rate(CALLS, 'job', BAD)} or 0 * {rate(CALLS, 'job')})"
                    f" / ({rate(CALLS, 'job')} > 0) or 0 * {rate(CALLS, 'job')}"
                ),
            ),
        ),
    ),
    Panel(
        "Duration, 50 and 99 in a hundred",
        "s",
        tuple(
            (
                f"{name} {{{{method}}}}",
                (
                    f"histogram_quantile({part}, "
                    f"{rate('agentworkspace_rpc_seconds_bucket', 'method, le')}) >= 0"
                ),
            )
            for name, part in (("50 %", "0.5"), ("99 %", "0.99"))
        ),
    ),
    Panel("Running now", "short", (("{{kind}}", top("agentworkspace_rpc_running", "kind")),)),
    Panel(
        "Database takes writes",
        "short",
        (("{{instance}}", top("agentworkspace_database_takes_writes", "instance")),),
    ),
    Panel(
        "Database connections",
        "short",
        (("{{job}} {{state}}", top("agentworkspace_database_connections", "job, state")),),
    ),
    Panel(
        "Losses of the database",
        "short",
        (
            (
                "{{instance}}",
                (
                    "sum by (instance) (increase(agentworkspace_database_losses_total"
                    '{job=~"$job"}[$__rate_interval]))'
                ),
            ),
        ),
    ),
    Panel(
        "Calls for each thread",
        "short",
        (
            (
                "{{job}} {{pool}}",
                (
                    f"{top('agentworkspace_thread_pool_calls', 'job, pool')}"
                    f" / {top('agentworkspace_thread_pool_threads', 'job, pool')}"
                ),
            ),
        ),
        "Above 1 calls wait for a thread.",
    ),
    Panel(
        "Calls in one batch",
        "short",
        (
            (
                "{{queue}}",
                (
                    f"({rate('agentworkspace_batch_size_sum', 'queue')}"
                    f" / ({rate('agentworkspace_batch_size_count', 'queue')} > 0))"
                    f" or 0 * {rate('agentworkspace_batch_size_count', 'queue')}"
                ),
            ),
        ),
    ),
    Panel(
        "Calls that wait for a batch",
        "short",
        (("{{queue}}", top("agentworkspace_batch_queue_depth", "queue")),),
    ),
    Panel(
        "Oldest row of the audit without a seal",
        "s",
        (("{{job}}", top("agentworkspace_audit_seal_lag_seconds", "job")),),
        "Until it is sealed, whoever may change the table can change the row unseen.",
    ),
    Panel(
        "What runs",
        "short",
        (("{{service}} {{version}}", top("agentworkspace_build_info", "service, version")),),
    ),
)
IDENTITY: Final = (
    *SERVICES,
    Panel(
        "Boxes let in",
        "reqps",
        (("{{outcome}} {{line}}", rate("registry_admissions_total", "outcome, line")),),
    ),
    Panel(
        "Boxes let in without evidence",
        "reqps",
        (("{{line}}", rate("registry_admissions_without_evidence_total", "line")),),
        "Whoever knew a workspace's id got in.",
    ),
    Panel(
        "Boxes refused",
        "reqps",
        (("{{reason}}", rate("registry_register_refusals_total", "reason")),),
    ),
    Panel("Revocations", "reqps", (("{{reason}}", rate("registry_revocations_total", "reason")),)),
    Panel(
        "Direct connections for checks",
        "short",
        (("{{state}}", top("registry_direct_connections", "state")),),
    ),
    Panel(
        "Background work that failed",
        "reqps",
        (("{{task}}", rate("registry_background_faults_total", "task")),),
    ),
)
LAUNCHES: Final = (
    Panel(
        "Launches by outcome",
        "reqps",
        (("{{reason}} {{outcome}}", rate("provision_launches_total", "reason, outcome")),),
    ),
    Panel(
        "Launches refused, by reason",
        "reqps",
        (("{{reason}}", rate("provision_launch_refusals_total", "reason")),),
    ),
    Panel(
        "Who pays, as decided",
        "reqps",
        (("{{mode}} by {{source}}", rate("provision_resolved_modes_total", "mode, source")),),
        "platform_managed by derived_default must never grow: such a launch is refused.",
    ),
    Panel(
        "Launches on their way",
        "short",
        (
            (
                "{{state}} {{reason}}",
                top("provision_launches_on_their_way", "state, reason"),
            ),
        ),
    ),
    Panel(
        "Oldest launch in each state",
        "s",
        (("{{state}}", top("provision_launch_oldest_seconds", "state")),),
    ),
    Panel(
        "Launches that lapsed",
        "reqps",
        (
            ("{{job}} before it began", rate("provision_launches_lapsed_total", "job")),
            (
                "{{job}} before a box came",
                rate("provision_reconciler_marked_total", "job", 'reason="LAPSED"'),
            ),
        ),
    ),
    Panel(
        "Workspaces that ask for a launch",
        "short",
        (("{{reason}}", top("provision_needs_launch", "reason")),),
    ),
    Panel(
        "Marked for a launch",
        "reqps",
        (("{{reason}}", rate("provision_reconciler_marked_total", "reason")),),
    ),
    Panel(
        "Reconciler paused",
        "short",
        (("{{job}}", top("provision_reconciler_paused", "job")),),
    ),
    Panel("Outbox: messages", "short", (("{{job}}", top("provision_outbox_depth", "job")),)),
    Panel("Outbox: oldest", "s", (("{{job}}", top("provision_outbox_age_seconds", "job")),)),
    Panel(
        "Calls to the registry",
        "reqps",
        (
            (
                "{{method}} {{outcome}}",
                rate("provision_registry_call_seconds_count", "method, outcome"),
            ),
        ),
    ),
    Panel("Calls refused", "reqps", (("{{reason}}", rate("provision_refusals_total", "reason")),)),
    Panel(
        "Rows that wait for the new key",
        "short",
        (("{{job}}", top("provision_rekey_remaining", "job")),),
    ),
    Panel(
        "Replicas without the new key",
        "short",
        (("{{job}}", top("provision_key_lacking_replicas", "job")),),
        "Nothing is encrypted with the new key before all replicas have it.",
    ),
    Panel(
        "Rows that no key opens",
        "short",
        (("{{job}}", top("provision_undecryptable_rows", "job")),),
    ),
    Panel("Files refused", "short", (("{{file}}", top("provision_file_refused", "file")),)),
    Panel(
        "Background work that failed",
        "reqps",
        (("{{task}}", rate("provision_background_faults_total", "task")),),
    ),
)
BOARDS: Final = {
    "identity": ("Agent workspaces: services and identity", IDENTITY),
    "launches": ("Agent workspaces: launches and payers", LAUNCHES),
}


def board(name: str) -> dict[str, Any]:
    """The dashboard, as Grafana imports it."""
    title, panels = BOARDS[name]
    return {
        "title": title,
        "uid": f"agentworkspace-{name}",
        "tags": ["agentworkspace"],
        "schemaVersion": 39,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "templating": {"list": [_datasource(), _job()]},
        "panels": [_panel(place, each) for place, each in enumerate(panels)],
    }


def _datasource() -> dict[str, Any]:
    return {"name": "datasource", "type": "datasource", "query": "prometheus"}


def _job() -> dict[str, Any]:
    return {
        "name": "job",
        "type": "query",
        "datasource": _SOURCE,
        "query": "label_values(agentworkspace_build_info, job)",
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": "All", "value": "$__all"},
        "refresh": 2,
    }


def _panel(place: int, panel: Panel) -> dict[str, Any]:
    return {
        "id": place + 1,
        "type": "timeseries",
        "title": panel.title,
        "description": panel.description,
        "datasource": _SOURCE,
        "gridPos": {
            "x": place % 2 * _WIDTH,
            "y": place // 2 * _HEIGHT,
            "w": _WIDTH,
            "h": _HEIGHT,
        },
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "targets": [
            {"refId": chr(ord("A") + number), "expr": expression, "legendFormat": legend}
            for number, (legend, expression) in enumerate(panel.queries)
        ],
    }


def main(arguments: list[str]) -> int:
    """Write both; with --check, say which is out of date. The exit status."""
    stale = []
    for name in BOARDS:
        path = FOLDER / f"{name}.json"
        text = json.dumps(board(name), indent=1) + "\n"
        if "--check" not in arguments:
            path.write_text(text)
        elif not path.exists() or path.read_text() != text:
            stale.append(path.name)
    if stale:
        print(f"{', '.join(stale)}: run python -m deploy.boards and commit what it writes")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
