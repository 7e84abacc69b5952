"""A software bill of materials from a lock file, as CycloneDX 1.6 in JSON, on standard output.

python3 -m deploy.bill_of_materials [LOCK]

LOCK is the name of a file in deploy/locks/; the default is `server`, the packages of the image. The
same lock file gives the same bill, byte for byte; it needs neither the network nor
an environment. Each component carries the hashes of all its files, for every platform.
"""

from __future__ import annotations

import json
import sys
import tomllib
from collections.abc import Sequence
from typing import Any

from deploy.lock import ROOT, Pin, locks, read


def main(arguments: Sequence[str]) -> int:
    """Print the bill; 2 when there is no such lock file."""
    name = arguments[0] if arguments else "server"
    found = {lock.name: lock.path for lock in locks()}
    if name not in found:
        print(f"There is no lock file {name!r}; there are: {', '.join(found)}", file=sys.stderr)
        return 2
    print(json.dumps(bill(read(found[name])), indent=2))
    return 0


def bill(pins: Sequence[Pin]) -> dict[str, Any]:
    """The bill of this project with these packages."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    root = {
        "type": "application",
        "bom-ref": reference(project["name"], project["version"]),
        "name": project["name"],
        "version": project["version"],
        "purl": reference(project["name"], project["version"]),
    }
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": root},
        "components": [component(pin) for pin in pins],
        "dependencies": [
            dependencies(root["bom-ref"], project["name"], pins),
            *(dependencies(reference(pin.name, pin.version), pin.name, pins) for pin in pins),
        ],
    }


def component(pin: Pin) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "type": "library",
        "bom-ref": reference(pin.name, pin.version),
        "name": pin.name,
        "version": pin.version,
        "purl": reference(pin.name, pin.version),
        "hashes": [{"alg": "SHA-256", "content": each} for each in pin.sha256],
    }
    if pin.marker:
        entry["properties"] = [{"name": "agentworkspace:installed-where", "value": pin.marker}]
    return entry


def dependencies(ref: str, name: str, pins: Sequence[Pin]) -> dict[str, Any]:
    on = [reference(each.name, each.version) for each in pins if name in each.wanted_by]
    return {"ref": ref, "dependsOn": on}


def reference(name: str, version: str) -> str:
    """The package's URL in the sense of the purl specification, which names no index."""
    return f"pkg:pypi/{name}@{version}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
