"""Namespaces of our own for network and mounts, as root or as a user who may have them."""

from __future__ import annotations

import ctypes
import fcntl
import os
import shutil
import socket
import struct
import subprocess
import sys
from pathlib import Path
from typing import Final

_INSIDE: Final = "AGENTWORKSPACE_RIG"
_SIOCGIFFLAGS: Final = 0x8913
_SIOCSIFFLAGS: Final = 0x8914
_SIOCSIFADDR: Final = 0x8916
_IFF_UP: Final = 1
_MS_BIND: Final = 4096


class NoNamespaces(Exception):
    """This machine does not let us have any; the text says why."""


def is_inside() -> bool:
    return _INSIDE in os.environ


def enter(module: str, arguments: list[str]) -> None:
    """Become `python -m module arguments` inside namespaces of its own. Raises NoNamespaces."""
    command = [*_unshare(), sys.executable, "-m", module, *arguments]
    os.execvpe(command[0], command, {**os.environ, _INSIDE: "1"})  # noqa: S606 - no shell wanted


def _unshare() -> list[str]:
    if not sys.platform.startswith("linux"):
        raise NoNamespaces(f"namespaces are Linux's, and this is {sys.platform}")
    program = shutil.which("unshare")
    if program is None:
        raise NoNamespaces("the program `unshare` (package util-linux) is not on PATH")
    as_user = [] if os.geteuid() == 0 else ["--user", "--map-current-user", "--keep-caps"]
    command = [program, *as_user, "--mount", "--net", "--"]
    tried = subprocess.run([*command, "true"], capture_output=True, text=True, check=False)
    if tried.returncode != 0:
        raise NoNamespaces(f"`{' '.join(command)} true` failed: {tried.stderr.strip()}")
    return command


def bring_up(interface: str, address: str = "") -> None:
    """Switch it on, with an address if one is given; without iproute2, which small images lack."""
    name = interface.encode()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        if address:
            wanted = struct.pack("16sHH4s8x", name, socket.AF_INET, 0, socket.inet_aton(address))
            fcntl.ioctl(any_socket, _SIOCSIFADDR, wanted)
        request = fcntl.ioctl(any_socket, _SIOCGIFFLAGS, struct.pack("16sH14x", name, 0))
        (flags,) = struct.unpack_from("16xH", request)
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sH14x", name, flags | _IFF_UP))


def mount_over(place: str, source: Path) -> None:
    """Let `source` be seen at `place`, by this namespace alone; nothing where no such file is.

    By the system call itself, because mount(8) insists on root.
    """
    target = os.path.realpath(place)
    if not Path(target).exists():
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(os.fsencode(source), os.fsencode(target), None, _MS_BIND, None) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"mount over {target}: {os.strerror(number)}")
