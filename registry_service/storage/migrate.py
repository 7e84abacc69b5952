"""Bring the schema of the registry up to date. A migration is production traffic."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config

from registry_service.storage.engine import database_url


def upgrade(url: str) -> None:
    """To the newest revision. Replicas that start together take turns; a second call is a no-op."""
    command.upgrade(_config(url), "head")


def check(url: str) -> None:
    """alembic.util.CommandError unless the migrations and `models.py` agree."""
    command.check(_config(url))


def _config(url: str) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")))
    config.set_main_option("path_separator", "os")
    # Not as an option: those are interpolated, and a password may hold a percent sign.
    config.attributes["url"] = database_url(url)
    return config
