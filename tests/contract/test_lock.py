"""The lock files agree with pyproject.toml and with each other; nothing here asks the network.

After a change of the dependencies: deploy/lock.py.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path
from typing import Final

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from deploy.bill_of_materials import bill
from deploy.lock import FOLDER, ROOT, Lock, Pin, locks, read

LOCKS: Final = {lock.name: lock for lock in locks()}
PROJECT: Final = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS: Final = PROJECT["optional-dependencies"]
# What pip calls the place where it looks packages up.
INDEX: Final = re.compile(r"://|^\s*--?(i|f|index-url|extra-index-url|find-links)\b", re.MULTILINE)


def asked_for(lock: Lock) -> list[Requirement]:
    """What pyproject.toml, or the lock's own entry, asks for; extras of ours spelled out."""
    lines = [*lock.also, *(PROJECT["dependencies"] if lock.extras else ())]
    todo = list(lock.extras)
    while todo:
        for line in EXTRAS[todo.pop()]:
            requirement = Requirement(line)
            if requirement.name == PROJECT["name"]:
                todo += requirement.extras
            else:
                lines.append(line)
    return [Requirement(line) for line in lines]


def applies(marker: str) -> bool:
    return not marker or bool(Requirement(f"x; {marker}").marker.evaluate())  # type: ignore[union-attr]


def disagreements(lock: Lock, pins: list[Pin]) -> list[str]:
    versions: dict[str, list[str]] = {}
    for pin in pins:
        versions.setdefault(pin.name, []).append(pin.version)
    return [
        str(wanted)
        for wanted in asked_for(lock)
        if not versions.get(canonicalize_name(wanted.name))
        or not all(
            wanted.specifier.contains(each) for each in versions[canonicalize_name(wanted.name)]
        )
    ]


@pytest.mark.parametrize("lock", LOCKS.values(), ids=LOCKS)
def test_a_lock_pins_what_pyproject_asks_for(lock: Lock) -> None:
    pins = read(lock.path)
    assert pins
    assert disagreements(lock, pins) == [], "run deploy/lock.py and commit what it writes"
    assert [pin.name for pin in pins if not pin.sha256] == []
    assert INDEX.search(lock.path.read_text()) is None


def test_a_floor_above_the_pin_and_a_missing_package_are_both_seen() -> None:
    lock = Lock("x", "x", also=("uv>=9999", "not-there"))
    assert disagreements(lock, read(LOCKS["uv"].path)) == ["uv>=9999", "not-there"]


def test_every_lock_file_has_its_entry_and_every_extra_its_lock() -> None:
    assert {path.stem for path in FOLDER.iterdir()} == set(LOCKS)
    locked = {extra for lock in locks() for extra in lock.extras}
    assert set(EXTRAS) - locked == set()


def test_one_package_has_one_version_in_all_of_them() -> None:
    test = {pin.name: pin.version for pin in read(LOCKS["test"].path)}
    together = [lock for name, lock in LOCKS.items() if name != "test" and not lock.is_apart]
    others = [pin for lock in together for pin in read(lock.path)]
    shared = [pin for pin in others if pin.name in test]
    assert shared
    assert [pin for pin in shared if test[pin.name] != pin.version] == []


def test_the_lock_of_the_tests_is_complete_here_and_holds_nothing_beyond() -> None:
    """Walked through what is installed, so a dependency's own dependencies are seen too."""
    wanted: set[str] = set()
    todo = [(each, "") for each in asked_for(LOCKS["test"])]
    while todo:
        requirement, extra = todo.pop()
        name = canonicalize_name(requirement.name)
        if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
            continue
        news = {"", *requirement.extras}
        wanted.add(name)
        for line in metadata.requires(name) or ():
            further = Requirement(line)
            key = canonicalize_name(further.name)
            todo += [(further, each) for each in news if key not in wanted or further.extras]
    pinned = {pin.name for pin in read(LOCKS["test"].path) if applies(pin.marker)}
    assert wanted == pinned


def test_a_line_that_pins_nothing_is_an_error(tmp_path: Path) -> None:
    lock = tmp_path / "some.txt"
    lock.write_text("# A comment.\ngrpcio>=1.76 \\\n    --hash=sha256:00\n")
    with pytest.raises(ValueError, match=r"some\.txt has a line that pins nothing: grpcio>=1\.76"):
        read(lock)


def test_the_bill_of_materials_says_versions_hashes_and_who_needs_what() -> None:
    pins = [
        Pin("sqlalchemy", "2.1.9", "", ("ab" * 32,), ("agentworkspace", "alembic")),
        Pin("uvloop", "0.23.0", "sys_platform != 'win32'", ("cd" * 32,), ("agentworkspace",)),
    ]
    document = bill(pins)
    assert (document["bomFormat"], document["specVersion"]) == ("CycloneDX", "1.6")
    assert document["components"] == [
        {
            "type": "library",
            "bom-ref": "pkg:pypi/sqlalchemy@2.1.9",
            "name": "sqlalchemy",
            "version": "2.1.9",
            "purl": "pkg:pypi/sqlalchemy@2.1.9",
            "hashes": [{"alg": "SHA-256", "content": "ab" * 32}],
        },
        {
            "type": "library",
            "bom-ref": "pkg:pypi/uvloop@0.23.0",
            "name": "uvloop",
            "version": "0.23.0",
            "purl": "pkg:pypi/uvloop@0.23.0",
            "hashes": [{"alg": "SHA-256", "content": "cd" * 32}],
            "properties": [
                {"name": "agentworkspace:installed-where", "value": "sys_platform != 'win32'"}
            ],
        },
    ]
    ours = f"pkg:pypi/agentworkspace@{PROJECT['version']}"
    both = ["pkg:pypi/sqlalchemy@2.1.9", "pkg:pypi/uvloop@0.23.0"]
    assert document["dependencies"][0] == {"ref": ours, "dependsOn": both}


def test_one_command_writes_the_bill_of_the_image_without_an_environment() -> None:
    done = subprocess.run(
        # -S: no package of the environment can be imported.
        [sys.executable, "-S", "-m", "deploy.bill_of_materials", "server"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    names = [each["name"] for each in json.loads(done.stdout)["components"]]
    assert names == sorted({pin.name for pin in read(LOCKS["server"].path)})
    assert "pytest" not in names
