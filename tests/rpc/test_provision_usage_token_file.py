"""The deployment's usage token in a file: the one that lies there now is a platform credential."""

from __future__ import annotations

from pathlib import Path

from agentworkspace.core.secret import Secret
from agentworkspace.provision.v1 import secret_service_pb2
from agentworkspace.rpc.errors import failure_from
from agentworkspace.service.secret_file import SecretFile
from provision_service.commands.deployment import Deployment
from provision_service.domain.platform_proxy import PlatformProxy
from provision_service.launch.decide import Files
from tests.domain.provision_launches import CATALOGUE
from tests.rpc.provision_server import LAUNCHER, Running, serving
from tests.rpc.vendor_server import until

RENEWED = "usage-token-of-the-next-quarter"


def is_refused(running: Running, value: str) -> bool:
    """Whether a tenant may not store it, because it is the platform's."""
    request = secret_service_pb2.SetGlobalSecretRequest(
        tenant_id="acme", key="OPENAI_API_KEY", value=value
    )
    answer = running.secrets.SetGlobalSecret.future(request, metadata=LAUNCHER, timeout=20)
    failure = answer.exception()
    if failure is None:
        return False
    assert failure_from(failure).reason == "ERROR_REASON_PLATFORM_CREDENTIAL_COMINGLED"
    return True


def test_a_renewed_usage_token_becomes_the_platforms_own_while_serving(
    provision_database: str, tmp_path: Path
) -> None:
    file = tmp_path / "usage-token"
    file.write_text("usage-token-of-this-quarter\n")
    told = {"PLATFORM_LLM_USAGE_TOKEN": "", "PLATFORM_LLM_USAGE_TOKEN_FILE": str(file)}
    with serving(provision_database, tmp_path, environment=told) as running:
        assert is_refused(running, "usage-token-of-this-quarter")
        assert not is_refused(running, RENEWED)
        renewed = tmp_path / "renewed"
        renewed.write_text(RENEWED + "\n")
        renewed.rename(file)
        until(lambda: is_refused(running, RENEWED))


def test_one_decision_sees_one_version_of_the_usage_token(tmp_path: Path) -> None:
    file = tmp_path / "usage-token"
    file.write_text("first")
    platform = PlatformProxy(usage_token=SecretFile(file, str))
    deployment = Deployment(catalogue=lambda: CATALOGUE, registry_address="", platform=platform)
    files = Files(deployment)
    file.write_text("second")
    assert files.platform.usage_token == Secret("first")
    assert Files(deployment).platform.usage_token == Secret("second")
