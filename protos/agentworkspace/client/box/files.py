"""The directory of one run: made fresh, filled as the recipe says, and taken away at the end."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from agentworkspace.client.box.recipe import File, Recipe, filled_in

PREFIX: Final = ".agentworkspace-box-"
_OWNER_ONLY: Final = 0o700
_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FRESH_SECONDS: Final = 5.0


@contextmanager
def directory_of_the_run(home: Path) -> Iterator[Path]:
    """A directory below `home` that nobody else can look into. OSError when it cannot be made.

    What a run left behind that was killed goes too: there may be credentials in it. A lock, which
    dies with its runner, tells that one from a run that is under way.
    """
    for left in home.glob(f"{PREFIX}*"):
        _remove_if_left_behind(left)
    root = Path(tempfile.mkdtemp(prefix=PREFIX, dir=home))
    lock = os.open(root, _DIRECTORY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield root
    finally:
        _remove(root)
        os.close(lock)


def environment_of(
    recipe: Recipe, inherited: Mapping[str, str], own: frozenset[str], root: Path
) -> dict[str, str]:
    """What the command sees: without the runner's own variables and what the launch keeps from
    it, with the paths of its directories and files."""
    hidden = own | recipe.unset
    environment = {name: value for name, value in inherited.items() if name not in hidden}
    environment |= {each.env: str(root / each.path) for each in recipe.directories}
    environment |= {each.env: str(root / each.path) for each in recipe.files if each.env}
    return environment


def arguments_of(recipe: Recipe, environment: Mapping[str, str]) -> list[str]:
    """What comes behind the command's own. They may name paths and nothing else: whatever is in
    a secret's variable would be for every process of the machine to read. BadRecipe otherwise."""
    paths = {name: environment[name] for name in recipe.path_names}
    return [filled_in(each, paths, where="an argument of this launch") for each in recipe.arguments]


def write(recipe: Recipe, environment: Mapping[str, str], root: Path) -> None:
    """Make the directories, then the files. BadRecipe or OSError, which show no content."""
    for directory in recipe.directories:
        _make(root, Path(directory.path))
    for file in recipe.files:
        _make(root, Path(file.path).parent)
        text = filled_in(file.content, environment, where=f"the file {file.path} of this launch")
        _write(root / file.path, file, text)


def _make(root: Path, relative: Path) -> None:
    """Each level by itself: mkdir(parents=True) would give the parents the default mode."""
    for level in (*reversed(relative.parents), relative):
        path = root / level
        if not path.is_dir():
            path.mkdir(mode=_OWNER_ONLY)


def _write(path: Path, file: File, text: str) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(path, flags, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8", errors="surrogateescape") as target:
        # Whatever the umask took away, or the recipe adds.
        os.fchmod(descriptor, file.mode)
        target.write(text)


def _remove_if_left_behind(root: Path) -> None:
    try:
        lock = os.open(root, _DIRECTORY)
    except OSError:
        return  # gone by now, or none of ours
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # One that was made a moment ago may not have its lock yet.
        if time.time() - os.fstat(lock).st_mtime > _FRESH_SECONDS:
            _remove(root)
    except OSError:
        return  # in use, or not ours to take away
    finally:
        os.close(lock)


def _remove(root: Path) -> None:
    """Take it away, also when the command made it unreadable for itself."""
    for directory, names, _ in os.walk(root):
        for name in (".", *names):
            path = Path(directory, name)
            if not path.is_symlink():
                path.chmod(_OWNER_ONLY)
    shutil.rmtree(root)
