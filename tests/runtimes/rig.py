"""The private network that a program runs in: every name leads to the recorder."""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
import struct
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.runtimes.arrivals import Arrival
from tests.runtimes.authority import Authority
from tests.runtimes.names import answering_names
from tests.runtimes.recorder import recording

# 443 and 80 are the vendors'; the others stand for hosts of which a port is part of the address.
PROXY_PORT: Final = 8443
STRANGER_PORT: Final = 3128
PORTS: Final = (443, 80, PROXY_PORT, STRANGER_PORT)

# Local to the namespace, yet public to whoever looks at it.
ADDRESS: Final = "11.0.0.1"
METADATA: Final = "169.254.169.254"

_INSIDE: Final = "AGENTWORKSPACE_RIG"
_BUNDLES: Final = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/ssl/cert.pem",
    "/etc/pki/tls/certs/ca-bundle.crt",
)
_SIOCGIFFLAGS: Final = 0x8913
_SIOCSIFFLAGS: Final = 0x8914
_SIOCSIFADDR: Final = 0x8916
_IFF_UP: Final = 1


@dataclass
class Rig:
    """The running network, and what was heard in it."""

    authority: Path
    arrivals: list[Arrival] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    @property
    def trust(self) -> dict[str, str]:
        """What makes programs trust the rig that do not read the system's bundle."""
        names = (
            "NODE_EXTRA_CA_CERTS",
            "SSL_CERT_FILE",
            "REQUESTS_CA_BUNDLE",
            "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",
        )
        return dict.fromkeys(names, str(self.authority))

    def forget(self) -> None:
        self.arrivals.clear()
        self.asked.clear()


def namespaces() -> tuple[str, ...] | None:
    """The command that puts another into namespaces of its own; None where it is not allowed."""
    if shutil.which("unshare") is None or shutil.which("mount") is None:
        return None
    ours = ("unshare", "--mount", "--net", "--")
    unprivileged = ("unshare", "--user", "--map-root-user", "--mount", "--net", "--")
    for command in (ours,) if os.geteuid() == 0 else (unprivileged,):
        if subprocess.run((*command, "true"), capture_output=True, check=False).returncode == 0:
            return command
    return None


def is_inside(environ: Mapping[str, str] = os.environ) -> bool:
    return _INSIDE in environ


def entering(command: tuple[str, ...]) -> dict[str, str]:
    """The environment for `command`, by which it knows that it runs inside."""
    del command
    return {**os.environ, _INSIDE: "1"}


@contextmanager
def running_rig(directory: Path) -> Iterator[Rig]:
    """Make the network of this process. Only inside of `namespaces()`: it mounts over /etc."""
    authority = Authority(directory)
    rig = Rig(authority=authority.certificate)
    _bring_up("lo")
    # Programs refuse names that lead to private addresses, and ask clouds' metadata by address.
    for number, address in enumerate((ADDRESS, METADATA)):
        _bring_up(f"lo:{number}", address)
    _mount_over("/etc/resolv.conf", directory / "resolv.conf", "nameserver 127.0.0.1\n")
    _mount_over("/etc/hosts", directory / "hosts", "127.0.0.1 localhost\n")
    _mount_over("/etc/nsswitch.conf", directory / "nsswitch.conf", "hosts: files dns\n")
    for bundle in _BUNDLES:
        if Path(bundle).exists():
            _mount(authority.certificate, bundle)
    with answering_names(rig.asked, ADDRESS), recording(authority, PORTS, rig.arrivals, address=""):
        yield rig


def _bring_up(interface: str, address: str = "") -> None:
    """Without iproute2, which small images do not carry."""
    name = interface.encode()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        if address:
            wanted = struct.pack("16sHH4s8x", name, socket.AF_INET, 0, socket.inet_aton(address))
            fcntl.ioctl(any_socket, _SIOCSIFADDR, wanted)
        request = fcntl.ioctl(any_socket, _SIOCGIFFLAGS, struct.pack("16sH14x", name, 0))
        (flags,) = struct.unpack_from("16xH", request)
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sH14x", name, flags | _IFF_UP))


def _mount_over(place: str, source: Path, text: str) -> None:
    source.write_text(text, "utf-8")
    if Path(place).exists():
        _mount(source, place)


def _mount(source: Path, place: str) -> None:
    subprocess.run(("mount", "--bind", str(source), os.path.realpath(place)), check=True)
