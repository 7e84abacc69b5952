"""What the log says of a database that cannot be used: the next step, never libpq's own text."""

from __future__ import annotations

import psycopg2
import pytest
from psycopg2 import errors
from sqlalchemy.exc import OperationalError

from agentworkspace.core.secret import Secret
from agentworkspace.service.connecting import Connector, DatabaseAway
from agentworkspace.service.connection_faults import why
from agentworkspace.service.store_faults import store_unavailable
from tests.services import free_address


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        (
            (
                'connection to server at "10.0.0.1", port 6432 failed: FATAL:  unsupported startup'
                " parameter: options"
            ),
            (
                "the URL leads to a pooler that takes no settings with a connection: set"
                " REGISTRY_DATABASE_POOLED=1; the registry then also wants"
                " REGISTRY_DATABASE_LISTEN_URL, which leads to PostgreSQL itself"
            ),
        ),
        (
            'FATAL:  password authentication failed for user "swordfish"',
            "the server refuses the user or the password of REGISTRY_DATABASE_URL; correct them",
        ),
        (
            'FATAL:  database "swordfish" does not exist',
            "the database that REGISTRY_DATABASE_URL names does not exist; create it",
        ),
        (
            'could not translate host name "swordfish" to address: Name or service not known',
            "the host of REGISTRY_DATABASE_URL is unknown here; correct it, or the DNS",
        ),
        (
            "session is read-only",
            (
                "every host of REGISTRY_DATABASE_URL is a standby; name the primary too, or wait"
                " for the fail-over"
            ),
        ),
        ("something about swordfish that nobody foresaw", "OperationalError"),
    ],
)
def test_what_libpq_says_becomes_the_next_step(said: str, sentence: str) -> None:
    fault = psycopg2.OperationalError(said)
    assert why(fault, "registry") == sentence
    assert why(OperationalError("SELECT 1", {}, fault), "registry") == sentence


def test_a_server_that_is_not_there_and_a_schema_that_is_missing_are_told_apart() -> None:
    connector = Connector(Secret(f"postgresql://nobody@{free_address()}/none"), name="test")
    with pytest.raises(psycopg2.OperationalError) as refused:
        connector.connect()
    assert why(refused.value, "provision") == (
        "no server listens there; start PostgreSQL, or correct PROVISION_DATABASE_URL"
    )
    with pytest.raises(DatabaseAway) as waiting:
        connector.connect()
    assert why(waiting.value, "provision") == (
        "the server did not answer a moment ago; it is asked again within a second"
    )

    class Undefined(errors.UndefinedTable):
        pgcode = "42P01"

    assert why(Undefined("relation"), "provision").startswith("the database has no schema")


def test_a_refusal_says_it_in_its_own_words() -> None:
    assert why(store_unavailable("come back"), "registry") == "come back"
