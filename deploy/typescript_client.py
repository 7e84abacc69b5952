"""`./deploy/test typescript`: install, build and test protos/typescript with Node and npm."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent / "protos" / "typescript"
# As in package.json's `engines`: the client needs zlib.crc32, which came with it.
OLDEST_NODE = (20, 15)


def main() -> int:
    """Run its tests, those against both services included. 0 also where there is no Node."""
    npm = shutil.which("npm")
    found = node_version()
    if npm is None or found < OLDEST_NODE:
        here = f"Node {found[0]}.{found[1]}" if found else "no Node"
        needed = "the TypeScript client needs npm and Node {}.{} or newer".format(*OLDEST_NODE)
        print(f"skipped: {needed}, and here is {here if npm else 'no npm'}.", flush=True)
        return 0
    return 0 if install(npm) and run(npm, "test") else 1


def node_version() -> tuple[int, ...]:
    """Major and minor number; empty when there is no Node."""
    node = shutil.which("node")
    if node is None:
        return ()
    told = subprocess.run((node, "--version"), check=True, capture_output=True, text=True).stdout
    numbers = re.match(r"v(\d+)\.(\d+)", told)
    return (int(numbers[1]), int(numbers[2])) if numbers else ()


def install(npm: str) -> bool:
    """Install what the lock file says, unless it is there already. Whether that worked."""
    wanted = hashlib.sha256((PACKAGE / "package-lock.json").read_bytes()).hexdigest()
    stamp = PACKAGE / "node_modules" / ".installed"
    if stamp.is_file() and stamp.read_text() == wanted:
        return True
    if not run(npm, "ci"):
        return False
    stamp.write_text(wanted)
    return True


def run(npm: str, *arguments: str) -> bool:
    return subprocess.run((npm, *arguments), cwd=PACKAGE, check=False).returncode == 0


if __name__ == "__main__":
    sys.exit(main())
