"""What lies around the pair in the demonstration: a source host, a vendor, and the proxy."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from deploy.demo.recording_host import RecordingHost, recording_host

SHIPPED_CATALOGUE = (
    Path(__file__).resolve().parents[2] / "provision_service" / "catalogue" / "catalogue.yaml"
)
PULLS = "/api/v1/repos/acme/app/pulls"
ISSUES = "/api/v1/repos/acme/app/issues"
MODELS = "/v1/models"


@dataclass(frozen=True, kw_only=True)
class Outside:
    """Three hosts on this machine."""

    source: RecordingHost
    vendor: RecordingHost
    proxy: RecordingHost

    @property
    def proxy_anthropic_url(self) -> str:
        return self.proxy.url("/anthropic")

    def settings(self, directory: Path) -> dict[str, str]:
        """What leads provision-service to them: files in `directory`, and the proxy's addresses."""
        templates, catalogue = directory / "templates.yaml", directory / "catalogue.yaml"
        templates.write_text(self._templates())
        # The shipped catalogue with one vendor moved to this machine.
        shipped = SHIPPED_CATALOGUE.read_text()
        catalogue.write_text(shipped.replace("https://api.minimax.io/", self.vendor.url("/")))
        return {
            "PROVISION_TEMPLATES_FILE": str(templates),
            "PROVISION_CATALOGUE_FILE": str(catalogue),
            "PROVISION_PROBES": "enforce",
            "PROVISION_PROBES_ALLOW_LOOPBACK_HTTP": "1",
            "PLATFORM_LLM_BASE_URL": self.proxy.url("/openai/v1"),
            "PLATFORM_LLM_ANTHROPIC_BASE_URL": self.proxy_anthropic_url,
        }

    def _templates(self) -> str:
        return f"""\
schema: 1
version: demo
templates:
  - name: engineer
    required_env: [GITEA_TOKEN]
    probes:
      - {{env: GITEA_TOKEN, url: "{self.source.url(PULLS)}", scope: read:repository}}
      - {{env: GITEA_TOKEN, url: "{self.source.url(ISSUES)}", scope: read:issue}}
      - {{env: ANTHROPIC_API_KEY, url: "{self.vendor.url(MODELS)}", header: x-api-key}}
"""


@contextmanager
def running_outside() -> Iterator[Outside]:
    with ExitStack() as stack:
        source, vendor, proxy = (stack.enter_context(recording_host()) for _ in range(3))
        yield Outside(source=source, vendor=vendor, proxy=proxy)
