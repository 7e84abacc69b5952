"""A Prometheus of Debian's, on loopback, that scrapes services every second."""

from __future__ import annotations

import json
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from tests import debian
from tests.services import free_address

SECONDS: Final = 60.0


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
        give_up = time.monotonic() + SECONDS
        while not self._answers(expression):
            assert time.monotonic() < give_up, f"no sample of {expression}"
            time.sleep(0.2)

    def _answers(self, expression: str) -> bool:
        try:
            return bool(self.ask(expression))
        except OSError:  # it has not started yet
            return False


@contextmanager
def scraping(directory: Path, jobs: Mapping[str, str]) -> Iterator[Prometheus]:
    """`jobs` are the addresses of metrics by the name of their job. The test is skipped, with the
    reason, where Debian's package cannot be had.
    """
    program = debian.program_or_skip("prometheus", "prometheus")
    configuration = directory / "prometheus.yml"
    scrapes = [
        {"job_name": name, "static_configs": [{"targets": [address]}]}
        for name, address in jobs.items()
    ]
    configuration.write_text(
        yaml.safe_dump({"global": {"scrape_interval": "1s"}, "scrape_configs": scrapes})
    )
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
