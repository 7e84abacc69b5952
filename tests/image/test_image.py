"""The image and compose, as who operates them has them: built, started, used, stopped, removed."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from deploy.pair import free_addresses
from tests import debian
from tests.image import bases, compose
from tests.image.compose import Compose
from tests.image.podman import LIMITS, Podman, require_programs

ROOT: Final = Path(__file__).resolve().parents[2]
IMAGE: Final = "agentworkspace"
# The image's own user: here it is also who operates it.
USER: Final = 10001
SERVICES: Final = ("registry", "provision")
PROGRAMS: Final = Path(sys.executable).parent
pytestmark = pytest.mark.timeout(600)


@dataclass(frozen=True)
class Installed:
    """Compose's services, running; and who calls them from outside."""

    podman: Podman
    compose: Compose
    home: Path
    addresses: dict[str, str]

    def workspacectl(self, *words: str, said: str = "") -> str:
        token = self.home / "credentials" / "admin-token"
        return output(
            str(PROGRAMS / "workspacectl"),
            *(f"--{name}={address}" for name, address in self.addresses.items()),
            f"--token-file={token}",
            *words,
            said=said,
        )

    def inside(self, service: str, *words: str) -> str:
        return self.podman("exec", self.compose.name(service), *words)


def output(*words: str, said: str = "", environment: dict[str, str] | None = None) -> str:
    done = subprocess.run(
        words, input=said, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, f"{words[0]} ended with {done.returncode}:\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def podman() -> Iterator[Podman]:
    """A Podman of our own, of which nothing outlives the tests."""
    try:
        require_programs()
    except debian.Missing as missing:
        pytest.skip(f"the image and compose: {missing}")
    with tempfile.TemporaryDirectory(prefix="agentworkspace-image-") as made:
        own = Podman(Path(made))
        try:
            yield own
        finally:
            own.remove_everything()


@pytest.fixture(scope="module")
def base(podman: Podman) -> str:
    try:
        return bases.base(podman)
    except debian.Missing as missing:
        pytest.skip(f"the image and compose: {missing}")


@pytest.fixture(scope="module")
def image(podman: Podman, base: str) -> Podman:
    """Where deploy/Dockerfile was built."""
    bases.services(podman, base, IMAGE)
    return podman


@pytest.fixture(scope="module")
def installed(image: Podman, base: str) -> Installed:
    """All that compose starts, as it starts it."""
    podman = image
    home, settings = podman.scratch / "data", podman.scratch / "deploy" / ".env"
    settings.parent.mkdir()
    script = shutil.copy(ROOT / "deploy" / "installation.py", settings.parent)
    output("python3", str(script), str(home))
    for directory, _, names in os.walk(home):
        for name in (".", *names):
            os.chown(Path(directory, name), USER, USER)
    variables = dict(
        line.split("=", 1)
        for line in settings.read_text().splitlines()
        if line and not line.startswith("#")
    )
    addresses = dict(zip(SERVICES, free_addresses(2), strict=True))
    variables |= {
        "AGENTWORKSPACE_USER": str(USER),
        "PROVISION_BOX_REGISTRY_ADDRESS": addresses["registry"],
        **{f"{name.upper()}_PUBLISHED": address for name, address in addresses.items()},
    }
    wanted = {name: each["image"] for name, each in compose.read(variables)["services"].items()}
    variables |= {
        "POSTGRES_IMAGE": bases.postgres(podman, base, wanted["postgres"]),
        "PROMETHEUS_IMAGE": bases.prometheus(podman, base, wanted["prometheus"]),
    }
    document = compose.read(variables)
    services = Compose(podman, f"test-{os.getpid()}", document["services"])
    services.up(document["networks"])
    for name in SERVICES:
        services.wait_until_healthy(name)
    return Installed(podman, services, home, addresses)


def image_says(podman: Podman) -> dict[str, Any]:
    (told,) = json.loads(podman("image", "inspect", IMAGE))
    config: dict[str, Any] = told["Config"] | {"Healthcheck": told["Healthcheck"]}
    return config


def in_the_image(podman: Podman, *words: str, user: int = USER) -> str:
    """The output of a command in a container that has nothing but the image."""
    bare = ("run", "--rm", "--network=none", "--no-healthcheck", "--read-only", f"--user={user}")
    return podman(*bare, *LIMITS, IMAGE, *words)


def test_the_image_runs_as_its_own_user_with_a_named_group(image: Podman) -> None:
    assert image_says(image)["User"] == f"{USER}:{USER}"
    assert image("run", "--rm", "--network=none", "--no-healthcheck", *LIMITS, IMAGE, "id") == (
        "uid=10001(agentworkspace) gid=10001(agentworkspace) groups=10001(agentworkspace)"
    )


def test_the_image_says_what_it_is_and_of_which_commit(image: Podman) -> None:
    labels = image_says(image)["Labels"]

    assert labels["org.opencontainers.image.title"] == "agentworkspace"
    assert labels["org.opencontainers.image.revision"] == "tried-out"


def test_nothing_in_the_image_installs_anything(image: Podman) -> None:
    find = "find / -xdev ( -name pip -o -name pip3* -o -name pip-*.whl -o -name ensurepip ) -print"

    assert in_the_image(image, *find.split(), user=0) == ""


def test_the_bill_of_materials_names_what_is_installed(image: Podman) -> None:
    bill = json.loads(
        in_the_image(image, "cat", image_says(image)["Labels"]["agentworkspace.sbom"])
    )
    code = (
        "import importlib.metadata as m\n"
        "for each in m.distributions(): print(each.metadata['Name'], each.version)"
    )
    installed = {
        name.lower().replace("_", "-"): version
        for name, version in (
            line.split() for line in in_the_image(image, "python3", "-c", code).splitlines()
        )
    }

    assert {each["name"]: each["version"] for each in bill["components"]} == {
        name: version for name, version in installed.items() if name != "agentworkspace"
    }


@pytest.mark.parametrize("service", SERVICES)
def test_each_service_is_healthy_by_the_images_own_check(
    installed: Installed, service: str
) -> None:
    kind, command = image_says(installed.podman)["Healthcheck"]["Test"]

    assert kind == "CMD-SHELL"
    installed.inside(service, "sh", "-c", command)


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_can_write_nowhere_and_gain_nothing(installed: Installed, service: str) -> None:
    status = dict(
        line.split(":\t", 1)
        for line in installed.inside(service, "cat", "/proc/1/status").splitlines()
    )

    assert status["Uid"].split() == [str(USER)] * 4
    assert (status["CapBnd"], status["NoNewPrivs"]) == ("0000000000000000", "1")
    writable = "touch /tmp/x || touch /opt/agentworkspace/x || touch /run/agentworkspace/x"
    done = installed.podman.attempt("exec", installed.compose.name(service), "sh", "-c", writable)
    assert done.stderr.count("Read-only file system") == 3


def test_only_both_services_are_published_and_on_loopback_alone(installed: Installed) -> None:
    published = {
        name: installed.podman.attempt("port", installed.compose.name(name)).stdout.split(" -> ")
        for name in ("registry", "provision", "postgres")
    }

    assert published == {
        "registry": ["7101/tcp", installed.addresses["registry"] + "\n"],
        "provision": ["7102/tcp", installed.addresses["provision"] + "\n"],
        "postgres": [""],
    }


def test_a_workspace_is_launched_from_outside_and_its_box_gets_in(
    installed: Installed, tmp_path: Path
) -> None:
    ctl = installed.workspacectl
    ctl("secrets", "set", "CLAUDE_CODE_OAUTH_TOKEN", "--tenant=acme", said="no-real-token")
    told = ("--tenant=acme", "--name=reviewer", "--runtime=claude-code", "--model=opus")
    ctl("workspaces", "create", *told, f"--out={tmp_path / 'first.token'}")
    ctl("launch", "reviewer", "--reason=create", f"--env-file={tmp_path / 'box.env'}")
    launch = ctl("provisions", "list", "--workspace=reviewer", "-o", "name").strip()
    ctl("provisions", "complete", launch, "--outcome=succeeded")
    environment = box_environment(tmp_path / "box.env")

    assert environment["WORKSPACE_REGISTRY_ADDRESS"] == installed.addresses["registry"]
    said = output(
        str(PROGRAMS / "agentworkspace-box"), "run", "--", "echo", "let in",
        environment={"PATH": os.environ["PATH"], "HOME": str(tmp_path), **environment},
    )  # fmt: skip
    assert "let in" in said
    ctl("doctor")


def box_environment(file: Path) -> dict[str, str]:
    return dict(word.split("=", 1) for word in shlex.split(file.read_text(), comments=True))


def asked(installed: Installed, path: str) -> Any:
    """What Prometheus answers at the address that Grafana is told of."""
    sources = yaml.safe_load((ROOT / "deploy/observability/grafana-datasources.yaml").read_text())
    url = f"{sources['datasources'][0]['url']}/api/v1/{path}"
    fetch = f"import urllib.request as u; print(u.urlopen('{url}').read().decode())"
    return json.loads(installed.inside("provision", "python3", "-c", fetch))["data"]


def test_prometheus_of_the_profile_scrapes_both_services_and_has_the_rules(
    installed: Installed,
) -> None:
    installed.compose.start("prometheus")
    scraped = ("promtool", "query", "instant", "http://localhost:9090", "sum(up) == 2")
    name = installed.compose.name("prometheus")
    give_up = time.monotonic() + 60.0
    while not installed.podman.attempt("exec", name, *scraped).stdout.strip():
        assert time.monotonic() < give_up, installed.compose.logs("prometheus")
        time.sleep(0.5)

    jobs = ["agentworkspace-provision", "agentworkspace-registry"]
    targets = asked(installed, "targets")["activeTargets"]
    assert sorted(each["scrapeUrl"] for each in targets) == [
        "http://provision:9102/metrics",
        "http://registry:9101/metrics",
    ]
    assert [each["health"] for each in targets] == ["up", "up"]
    # The choice of the boards.
    assert asked(installed, "label/job/values?match[]=agentworkspace_build_info") == jobs
    files = {Path(each["file"]).name for each in asked(installed, "rules")["groups"]}
    assert files == {"identity.yaml", "launches.yaml"}
    assert asked(installed, "alerts")["alerts"] == []


def test_a_renewed_file_of_callers_is_seen_without_a_restart(installed: Installed) -> None:
    file = installed.home / "credentials" / "registry" / "callers.json"
    renewed = file.with_name("renewed")
    callers = json.loads(file.read_text())
    renewed.write_text(json.dumps(callers))
    os.chown(renewed, USER, USER)
    renewed.rename(file)

    assert (
        installed.inside("registry", "cat", "/run/agentworkspace/callers.json") == file.read_text()
    )


@pytest.fixture
def pooler(installed: Installed, base: str) -> Iterator[str]:
    """The overlay's PgBouncer, with its files and its command, between services and PostgreSQL."""
    overlay, files = ROOT / "deploy/k8s/overlays/pooler", installed.podman.scratch / "pooler"
    files.mkdir()
    bases.pooler(installed.podman, base, "agentworkspace-pooler")
    verifiers = (
        'SELECT format(\'"%s" "%s"\', rolname, rolpassword) FROM pg_authid'
        " WHERE rolpassword IS NOT NULL"
    )
    listed = installed.inside("postgres", "psql", "--username=postgres", "-Atc", verifiers)
    for name, text in (
        ("pgbouncer.ini", (overlay / "pgbouncer.ini").read_text()),
        ("userlist.txt", listed + "\n"),
    ):
        (files / name).write_text(text)
        os.chown(files / name, USER, USER)
    deployment = next(yaml.safe_load_all((overlay / "pgbouncer.yaml").read_text()))
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    name = installed.compose.name("pgbouncer")
    options = [
        *("run", "--detach", f"--name={name}", "--pull=never", "--cap-drop=all", *LIMITS),
        *("--read-only", "--read-only-tmpfs=false", f"--user={USER}:{USER}"),
        f"--network={installed.compose.name('private')}:alias=pgbouncer",
        f"--volume={files / 'pgbouncer.ini'}:/etc/pgbouncer/pgbouncer.ini:ro",
        f"--volume={files / 'userlist.txt'}:/etc/pgbouncer-users/userlist.txt:ro",
    ]
    installed.podman(*options, container["image"], *container["command"])
    yield name
    installed.podman("stop", name)


def test_services_get_to_their_databases_through_the_pooler_of_the_overlay(
    installed: Installed, pooler: str
) -> None:
    for service in SERVICES:
        url = (installed.home / "credentials" / service / "database-url").read_text().strip()
        prefix = service.upper()
        command = [
            *("run", "--rm", "--no-healthcheck", "--pull=never", *LIMITS),
            f"--network={installed.compose.name('private')}",
            f"--env={prefix}_DATABASE_URL={url.replace('@postgres/', '@pgbouncer:6432/')}",
            *(f"--env={prefix}_DATABASE_POOLED=1", IMAGE),
        ]
        words = (f"{service}-service", "check-migrations", "--wait")
        done = installed.podman.attempt(*command, *words)
        logs = installed.podman.attempt("logs", pooler)
        assert done.returncode == 0, done.stderr + logs.stderr
        assert f"login attempt: db={service} " in logs.stderr + logs.stdout


@pytest.mark.parametrize("service", ["provision", "registry", "postgres"])
def test_each_stops_by_itself_within_the_grace_that_compose_gives(
    installed: Installed, service: str
) -> None:
    name = installed.compose.name(service)
    installed.podman("stop", f"--time={installed.compose.grace(service)}", name)

    assert installed.podman("container", "inspect", "--format={{.State.ExitCode}}", name) == "0"
