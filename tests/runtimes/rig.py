"""The private network that a program runs in: every name leads to the recorder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.runtimes.answers import Answer, Answering, answer_to
from tests.runtimes.arrivals import Arrival
from tests.runtimes.authority import Authority
from tests.runtimes.names import answering_names
from tests.runtimes.namespaces import bring_up, mount_over
from tests.runtimes.recorder import recording

# 443 and 80 are the vendors'; the others stand for hosts of which a port is part of the address.
PROXY_PORT: Final = 8443
STRANGER_PORT: Final = 3128
PORTS: Final = (443, 80, PROXY_PORT, STRANGER_PORT)
# Local to the namespace, yet public to whoever looks at it: programs refuse private addresses.
ADDRESS: Final = "11.0.0.1"
# Clouds' metadata are asked by address, not by name.
METADATA: Final = "169.254.169.254"

_BUNDLES: Final = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/ssl/cert.pem",
    "/etc/pki/tls/certs/ca-bundle.crt",
)
_FILES: Final = {
    "/etc/resolv.conf": "nameserver 127.0.0.1\n",
    "/etc/hosts": "127.0.0.1 localhost\n",
    "/etc/nsswitch.conf": "hosts: files dns\n",
}


@dataclass
class Rig:
    """The running network, and what was heard in it."""

    authority: Path
    arrivals: list[Arrival] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    # Who answers what arrives; may change while the rig runs.
    answer: Answering = answer_to

    @property
    def trust(self) -> dict[str, str]:
        """What makes programs trust the rig that do not read the system's bundle."""
        names = ("NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")
        return dict.fromkeys(names, str(self.authority))

    def answered(self, arrival: Arrival) -> Answer:
        return self.answer(arrival)

    def forget(self) -> None:
        self.arrivals.clear()
        self.asked.clear()


@contextmanager
def running_rig(directory: Path) -> Iterator[Rig]:
    """Make the network of this process. Only inside of namespaces: it mounts over /etc."""
    authority = Authority(directory)
    rig = Rig(authority=authority.certificate)
    bring_up("lo")
    for number, address in enumerate((ADDRESS, METADATA)):
        bring_up(f"lo:{number}", address)
    for place, text in _FILES.items():
        ours = directory / Path(place).name
        ours.write_text(text, "utf-8")
        mount_over(place, ours)
    for bundle in _BUNDLES:
        mount_over(bundle, authority.certificate)
    with (
        answering_names(rig.asked, ADDRESS),
        recording(authority, PORTS, rig.arrivals, address="", answer=rig.answered),
    ):
        yield rig
