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
    """A directory below `home` that nobody else can look into, removed at the end. Raises OSError.

    The directories of runs that were killed are removed first: they may hold credentials. A run
    that is under way holds a lock on its directory, and loses it when it is killed.
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
    """The environment of the command.

    It is the inherited one, without the runner's own variables and those that the recipe unsets,
    and with the absolute paths of the recipe's directories and files.
    """
    hidden = own | recipe.unset
    environment = {name: value for name, value in inherited.items() if name not in hidden}
    environment |= {each.env: str(root / each.path) for each in recipe.directories}
    environment |= {each.env: str(root / each.path) for each in recipe.files if each.env}
    return environment


def arguments_of(recipe: Recipe, environment: Mapping[str, str]) -> list[str]:
    """The recipe's arguments, which follow the command's own.

    They may refer to paths only, because every process of the machine can read arguments.
    BadRecipe for any other variable.
    """
    paths = {name: environment[name] for name in recipe.path_names}
    return [filled_in(each, paths, where="an argument of this launch") for each in recipe.arguments]


def write(recipe: Recipe, environment: Mapping[str, str], root: Path) -> None:
    """Make the directories, then the files. Raises BadRecipe or OSError, without content."""
    for directory in recipe.directories:
        _make(root, Path(directory.path))
    for file in recipe.files:
        _make(root, Path(file.path).parent)
        text = filled_in(file.content, environment, where=f"the file {file.path} of this launch")
        _write(root / file.path, file, text)


def _make(root: Path, relative: Path) -> None:
    """Make each level by itself: mkdir(parents=True) would give the parents the default mode."""
    for level in (*reversed(relative.parents), relative):
        path = root / level
        if not path.is_dir():
            path.mkdir(mode=_OWNER_ONLY)


def _write(path: Path, file: File, text: str) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(path, flags, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8", errors="surrogateescape") as target:
        # os.open made it 0600 less the umask; the recipe says the exact mode.
        os.fchmod(descriptor, file.mode)
        target.write(text)


def _remove_if_left_behind(root: Path) -> None:
    try:
        lock = os.open(root, _DIRECTORY)
    except OSError:
        return  # gone by now, or not a directory of ours
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # One that was made a moment ago may not have its lock yet.
        if time.time() - os.fstat(lock).st_mtime > _FRESH_SECONDS:
            _remove(root)
    except OSError:
        return  # in use, or not ours to remove
    finally:
        os.close(lock)


def _remove(root: Path) -> None:
    """Remove the tree, even where the command took its own access away."""
    for directory, names, _ in os.walk(root):
        for name in (".", *names):
            path = Path(directory, name)
            if not path.is_symlink():
                path.chmod(_OWNER_ONLY)
    shutil.rmtree(root)
