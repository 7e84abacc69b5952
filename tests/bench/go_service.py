"""The service a user would write instead, in Go: built and started. `in_go/` is it.

It is built offline, from Debian's packages of its libraries; nothing is fetched but they.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from deploy.pair import free_addresses
from tests.bench import processes
from tests.bench.database import Server
from tests.bench.pair import Served

SOURCE: Final = Path(__file__).with_name("in_go")
PACKAGES: Final = ("golang-go", "golang-google-grpc-dev", "golang-github-jackc-pgx-v4-dev")
# Where Debian's packages put libraries; GOPATH says where else they are.
LIBRARIES: Final = "/usr/share/gocode"
NEEDED: Final = ("google.golang.org/grpc", "github.com/jackc/pgx/v4")
_LAST_LINES: Final = 2000


class Missing(Exception):
    """With what to do about it."""


def built(home: Path) -> Path:
    """The program, built in `home`; what it needs is installed first when that can be done.

    Missing otherwise.
    """
    _install_what_is_missing()
    home.mkdir(parents=True, exist_ok=True)
    program = home / "in-go"
    settings = {
        "GO111MODULE": "off",
        "GOPATH": _libraries(),
        "GOFLAGS": "",
        "GOPROXY": "off",
        "GOCACHE": str(home / "go-cache"),
    }
    build = subprocess.run(
        ("go", "build", "-o", str(program), "."),
        cwd=SOURCE,
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        check=False,
    )
    if build.returncode != 0:
        raise Missing(f"the service in Go cannot be built:\n{build.stderr[-_LAST_LINES:]}")
    return program


@contextmanager
def running(
    program: Path, server: Server, database_name: str, home: Path, *, pool: int
) -> Iterator[Served]:
    """It serves on this database, with `pool` connections to it, until the block ends."""
    (address,) = free_addresses(1)
    bearer = secrets.token_urlsafe(32)
    settings = {
        "COMPARE_LISTEN": address,
        # libpq's spelling, without SQLAlchemy's name of a driver.
        "COMPARE_DATABASE_URL": server.url(database_name).replace("+psycopg2", ""),
        "COMPARE_POOL": str(pool),
        "COMPARE_BEARER_SHA256": hashlib.sha256(bearer.encode()).hexdigest(),
    }
    with processes.started((str(program),), log=home / "go.log", environment=settings) as process:
        processes.wait_until_listening(process, address)
        yield Served(address=address, metrics=(), process=process, bearer=bearer)


def _install_what_is_missing() -> None:
    if _is_complete():
        return
    wanted = " ".join(PACKAGES)
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise Missing(
            f"Go or its libraries are not here; install Debian's {wanted} "
            f"(apt-get install {wanted}), or name in GOPATH where {' and '.join(NEEDED)} lie; "
            "--only leaves this comparison out"
        )
    for command in (("update",), ("install", "--yes", "--no-install-recommends", *PACKAGES)):
        subprocess.run(("apt-get", "--quiet", *command), check=False, capture_output=True)
    if not _is_complete():
        raise Missing(
            f"apt-get could not install {wanted}; install them by hand, or leave it out with --only"
        )


def _libraries() -> str:
    return os.environ.get("GOPATH") or LIBRARIES


def _is_complete() -> bool:
    """Whether there is a compiler, and each library in one of the places of GOPATH."""
    places = [Path(each, "src") for each in _libraries().split(os.pathsep)]
    return shutil.which("go") is not None and all(
        any((place / library).is_dir() for place in places) for library in NEEDED
    )
