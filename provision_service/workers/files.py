"""Catalogue and templates: loaded whole at start, read again when their files change.

A changed file that is refused leaves the last good one in force, and is reported; so does a
catalogue that lost what a stored workspace uses. A reload never mixes two versions in one
decision, because whoever asks gets one value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog

from agentworkspace.core.watched_files import Observe, Signature, signature
from provision_service.catalogue.catalogue import Catalogue
from provision_service.catalogue.document import CatalogueInvalid
from provision_service.catalogue.parse import parse_catalogue
from provision_service.catalogue.usage import UsedModel, removed_ids
from provision_service.domain.probing import Template
from provision_service.templates.parse import TemplatesInvalid, parse_templates

SHIPPED_CATALOGUE: Final = Path(__file__).parent.parent / "catalogue" / "catalogue.yaml"
# What stored workspaces rely on; asked only when there is a new catalogue to compare with.
UsedModels = Callable[[], Iterable[UsedModel]]


class FileRefused(Exception):
    """The service must not start with this file. The text names file, line and remedy."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """One version of both; templates were checked against this very catalogue."""

    catalogue: Catalogue
    templates: Mapping[str, Template]


def load(catalogue_file: Path | None, templates_file: Path | None) -> Loaded:
    """Read and check both. FileRefused with every problem of the file that has some."""
    catalogue = load_catalogue(catalogue_file)
    return Loaded(catalogue, _templates(templates_file, catalogue))


def load_catalogue(path: Path | None) -> Catalogue:
    """The catalogue of a file, or the shipped one."""
    path = path or SHIPPED_CATALOGUE
    try:
        return parse_catalogue(_text(path), file=str(path))
    except CatalogueInvalid as error:
        raise FileRefused(str(error)) from None


def _templates(path: Path | None, catalogue: Catalogue) -> Mapping[str, Template]:
    if path is None:
        return {}
    try:
        return parse_templates(_text(path), file=str(path), catalogue=catalogue)
    except TemplatesInvalid as error:
        raise FileRefused(str(error)) from None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = "is not UTF-8" if isinstance(error, UnicodeDecodeError) else "cannot be read"
        raise FileRefused(f"{path}:1: {reason}; make it a readable text file") from None


class DeploymentFiles:
    """What is in force. `look_again` is called by one worker; the rest by any thread."""

    def __init__(
        self,
        catalogue_file: Path | None,
        templates_file: Path | None,
        report: Observe,
    ) -> None:
        self._catalogue_file = catalogue_file
        self._templates_file = templates_file
        self._report = report
        self._seen = self._signatures()
        self._loaded = load(catalogue_file, templates_file)

    def catalogue(self) -> Catalogue:
        """The catalogue in force."""
        return self._loaded.catalogue

    def templates(self) -> Mapping[str, Template]:
        """The templates in force."""
        return self._loaded.templates

    def look_again(self, used: UsedModels = tuple) -> None:
        """Take over changed files, or keep what is in force and say why.

        An error of `used` is passed on; nothing has changed then, and the next look tries again.
        """
        seen = self._signatures()
        if seen == self._seen:
            return
        log = structlog.get_logger("provision.files")
        try:
            loaded = load(self._catalogue_file, self._templates_file)
            self._refuse_loss(loaded.catalogue, used)
        except FileRefused as error:
            self._seen = seen
            self._report(refused=True)
            log.error("a changed file is refused, keeping the last", problems=str(error))
            return
        self._seen = seen
        self._loaded = loaded
        self._report(refused=False)
        log.info(
            "files read again",
            catalogue_version=loaded.catalogue.version,
            templates=len(loaded.templates),
        )

    def _refuse_loss(self, newer: Catalogue, used: UsedModels) -> None:
        """The rule of `check-config`, with what is in force now to compare with."""
        removed = removed_ids(self._loaded.catalogue, newer, used())
        if removed:
            path = self._catalogue_file or SHIPPED_CATALOGUE
            problems = [f"stored workspaces need it: {one.what}; {one.remedy}" for one in removed]
            raise FileRefused("\n".join(f"{path}: {problem}" for problem in problems))

    def _signatures(self) -> tuple[Signature, Signature]:
        return signature(self._catalogue_file), signature(self._templates_file)
