"""A Prometheus of Debian's, on loopback, that scrapes services every second."""

from __future__ import annotations

import json
import re
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from deploy.boards import BOARDS
from tests import debian
from tests.services import free_address

SECONDS: Final = 60.0
ROOT: Final = Path(__file__).resolve().parents[2]
RULES: Final = sorted((ROOT / "deploy" / "alerts").glob("*.yaml"))
_MINUTES: Final = re.compile(r"(\[|offset )(\d+)m\b")


@dataclass(frozen=True)
class Prometheus:
    """Asked by its HTTP interface."""

    address: str

    def ask(self, expression: str) -> list[dict[str, Any]]:
        """The samples of an instant query, none of them NaN."""
        query = urllib.parse.urlencode({"query": expression})
        with urllib.request.urlopen(
            f"http://{self.address}/api/v1/query?{query}", timeout=10
        ) as answer:
            found: list[dict[str, Any]] = json.load(answer)["data"]["result"]
        return [each for each in found if each["value"][1] != "NaN"]

    def until(self, expression: str) -> None:
        """It has a sample."""
        assert _in_time(lambda: self._answers(expression)), f"no sample of {expression}"

    def alerts(self) -> set[str]:
        """Those that are pending or firing."""
        return _alerts(self.ask("ALERTS"))

    def fired(self) -> set[str]:
        """Those that fire or have fired."""
        return _alerts(self.ask('max_over_time(ALERTS{alertstate="firing"}[10m])'))

    def waits_for(self, alerts: Sequence[str]) -> bool:
        """Whether all of them fire in time."""
        return _in_time(lambda: set(alerts) <= self.fired())

    def empty_panels(self) -> list[str]:
        """Titles of the panels, of both boards, of which a query has no series."""
        return [
            panel.title
            for _, panels in BOARDS.values()
            for panel in panels
            for _, query in panel.queries
            if not self.ask(
                query.replace("$__rate_interval", "1m").replace('job=~"$job"', 'job=~".*"')
            )
        ]

    def _answers(self, expression: str) -> bool:
        try:
            return bool(self.ask(expression))
        except OSError:  # it has not started yet
            return False


def _in_time(condition: Callable[[], bool]) -> bool:
    give_up = time.monotonic() + SECONDS
    while not condition():
        if time.monotonic() > give_up:
            return False
        time.sleep(0.2)
    return True


def _alerts(samples: list[dict[str, Any]]) -> set[str]:
    return {each["metric"]["alertname"] for each in samples}


def hurried(directory: Path) -> list[Path]:
    """Our rules with a second for each of their minutes: `for`, ranges and offsets alike. What they
    compare with stays as it is.
    """
    made = []
    for path in RULES:
        rules = yaml.safe_load(path.read_text())
        for group in rules["groups"]:
            for rule in group["rules"]:
                rule["expr"] = _MINUTES.sub(r"\1\2s", rule["expr"])
                rule["for"] = {"30s": "500ms"}.get(rule["for"], rule["for"].replace("m", "s"))
        made.append(directory / path.name)
        made[-1].write_text(yaml.safe_dump(rules))
    return made


@contextmanager
def scraping(
    directory: Path, jobs: Mapping[str, Sequence[str]], rules: Sequence[Path] = ()
) -> Iterator[Prometheus]:
    """`jobs` are the addresses of metrics by the name of their job. The test is skipped, with the
    reason, where Debian's package cannot be had.
    """
    program = debian.program_or_skip("prometheus", "prometheus")
    configuration = directory / "prometheus.yml"
    every = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    scrapes = [
        {"job_name": name, "static_configs": [{"targets": list(addresses)}]}
        for name, addresses in jobs.items()
    ]
    told = {"global": every, "scrape_configs": scrapes, "rule_files": [str(each) for each in rules]}
    configuration.write_text(yaml.safe_dump(told))
    address = free_address()
    command = (
        program,
        f"--config.file={configuration}",
        f"--storage.tsdb.path={directory / 'tsdb'}",
        f"--web.listen-address={address}",
    )
    with (directory / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
    try:
        yield Prometheus(address)
    finally:
        process.terminate()
        process.wait(SECONDS)
