"""The directory of one run: made fresh, filled as the recipe says, and taken away at the end."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from agentworkspace.client.box.recipe import File, Recipe, filled_in

PREFIX: Final = ".agentworkspace-box-"
_OWNER_ONLY: Final = 0o700


@contextmanager
def directory_of_the_run(home: Path) -> Iterator[Path]:
    """A directory below `home` that nobody else can look into. OSError when it cannot be made."""
    root = Path(tempfile.mkdtemp(prefix=PREFIX, dir=home))
    try:
        yield root
    finally:
        _remove(root)


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


def _remove(root: Path) -> None:
    """Also what the command made unreadable for itself."""
    for directory, names, _ in os.walk(root):
        for name in (".", *names):
            path = Path(directory, name)
            if not path.is_symlink():
                path.chmod(_OWNER_ONLY)
    shutil.rmtree(root)
