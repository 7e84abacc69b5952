"""A Prometheus with our rules beside the demonstration: every panel is drawn, and what fires is
what was played.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, Final

import pytest

from deploy.demo import __main__ as demo
from deploy.demo.narrative import Narrative
from deploy.installation import Installation
from tests.observability.prometheus import RULES, Prometheus, scraping
from tests.services import free_address

# Incident 3 puts a key of the platform into a tenant's store, incident 7 reports a theft.
PLAYED: Final = {"ProvisionSharedKeyRefused", "RegistryTokensCompromised"}
# Incidents 2 and 8 are refused launches, and incident 4 ends the registry for a moment. How much of
# that stands out, depends on how fast it is played.
MAYBE: Final = {
    "AgentworkspaceBackgroundFaults",
    "AgentworkspaceServiceDown",
    "ProvisionLaunchesRefused",
}


def alerts_after(prometheus: Prometheus, directory: Path) -> set[str]:
    with demo.running_stage(Installation(directory)) as stage:
        # An increase needs a sample from before.
        prometheus.until("count(count by (job) (agentworkspace_build_info)) >= 2")
        for play in demo.INCIDENTS:
            play(stage, Narrative())
        # What both services count now is scraped, and judged.
        prometheus.until("min(count_over_time(agentworkspace_build_info[5s])) >= 3")
        assert prometheus.empty_panels() == []
        return prometheus.alerts()


@pytest.mark.e2e
@pytest.mark.timeout(180)
def test_the_demonstration_draws_every_panel_and_fires_what_it_plays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    metrics = {name: free_address() for name in ("registry", "provision")}
    settings = demo.settings

    def watched(*given: Any) -> dict[str, str]:
        listening = {f"{name.upper()}_METRICS_LISTEN": each for name, each in metrics.items()}
        return settings(*given) | listening

    monkeypatch.setattr(demo, "settings", watched)
    jobs = {f"agentworkspace-{name}": [address] for name, address in metrics.items()}
    with (
        tempfile.TemporaryDirectory(prefix="agentworkspace-demo-") as directory,
        scraping(tmp_path, jobs, RULES) as prometheus,
    ):
        Path(directory).chmod(0o711)
        alerts = alerts_after(prometheus, Path(directory))
    assert PLAYED <= alerts <= PLAYED | MAYBE
