"""No secret gets into a log line or a repr, whichever way it comes."""

from __future__ import annotations

import contextvars
import io
import json
import logging
import pickle
from collections.abc import Callable, Iterator
from types import MappingProxyType
from typing import Any

import grpc
import pytest
import structlog
from google.protobuf import wrappers_pb2

from agentworkspace.core.caller import Caller
from agentworkspace.core.secret import Secret
from agentworkspace.core.token_format import TokenKind, new_token
from agentworkspace.rpc import calls
from agentworkspace.rpc.calls import Call
from agentworkspace.rpc.errors import RpcFailure
from agentworkspace.rpc.redaction import Clean, redact_event, scrub, scrub_text
from agentworkspace.server import logs

TOKEN = new_token(TokenKind.INSTANCE, entropy=bytes).reveal()


@pytest.fixture
def configured() -> Iterator[Callable[..., io.StringIO]]:
    """Configures logging as asked, into a stream; puts everything back afterwards."""
    root = logging.getLogger()
    before, level = root.handlers, root.level

    def configure(**options: Any) -> io.StringIO:
        stream = io.StringIO()
        logs.configure(stream=stream, **options)
        return stream

    yield configure
    structlog.reset_defaults()
    root.handlers = before
    root.setLevel(level)


@pytest.fixture
def output(configured: Callable[..., io.StringIO]) -> io.StringIO:
    return configured(as_json=True, level="debug")


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        (f"presented {TOKEN} again", TOKEN),
        (f"cut off {TOKEN[:12]}", TOKEN[:12]),
        ("authorization: Bearer s3cret-of-a-caller", "s3cret-of-a-caller"),
        ("postgresql+psycopg2://user:pa55word@db:5432/registry", "pa55word"),
        ("password=hunter2 host=db", "hunter2"),
        ("{'api_key': 1, api_key: hunter2}", "hunter2"),
        ("key sk-ant-REDACTED is bad", "sk-ant-REDACTED"),
        ("AKIAABCDEFGHIJKLMNOP", "AKIAABCDEFGHIJKLMNOP"),
        ("ghp_abcdefghijklmnopqrst", "ghp_abcdefghijklmnopqrst"),
        ("eyJhbGciOiJI.eyJzdWIiOiIx.c2lnbmF0dXJl", "c2lnbmF0dXJl"),
        ("-----BEGIN PRIVATE KEY-----\nMIIabc\n-----END PRIVATE KEY-----", "MIIabc"),
    ],
)
def test_text_that_looks_like_a_secret_is_removed(text: str, secret: str) -> None:
    assert secret not in scrub_text(text)
    assert "<redacted>" in scrub_text(text)


def test_ordinary_text_stays_as_it_is() -> None:
    for text in (
        "/agentworkspace.registry.v1.TokenService/MintToken",
        "3f0c6a52-6c39-4c3f-9a1d-6a7d4b9f5a10",
        "the token of this workspace was revoked",
        "https://example.com:8443/path?page=2",
        "claude-code",
    ):
        assert scrub_text(text) == text


def test_the_host_of_a_database_url_stays_readable() -> None:
    assert scrub_text("postgresql://u:p@db:5432/registry") == (
        "postgresql://<redacted>@db:5432/registry"
    )


@pytest.mark.parametrize(
    "field",
    [
        "token",
        "auth_token",
        "Authorization",
        "bootstrap_ticket",
        "env",
        "secrets",
        "password",
        "value",
        "client_secret",
        "openai_api_key",
        "platform_usage_token",
    ],
)
def test_fields_that_hold_secrets_are_removed_whatever_they_look_like(field: str) -> None:
    event = redact_event(None, "info", {"event": "x", field: "innocent looking"})
    assert event[field] == "<redacted>"


def test_fields_that_only_sound_like_it_stay() -> None:
    fields = {"page_token": "abc", "token_id": "t-1", "reason": "TOKEN_INVALID", "ms": 1.5}
    assert redact_event(None, "info", dict(fields)) == fields


def test_nested_values_are_walked() -> None:
    event = redact_event(
        None,
        "info",
        {
            "event": "x",
            "request": {"spec": [{"env": {"A": "b"}}, (f"{TOKEN}",), {TOKEN}]},
            "view": MappingProxyType({"auth_token": "abc", TOKEN: 1}),
            "raw": TOKEN.encode(),
            "wrapped": Secret("plain words"),
            "message": wrappers_pb2.StringValue(value="plain words"),
            "object": RuntimeError(f"with {TOKEN}"),
        },
    )
    shown = json.dumps(event)
    assert TOKEN not in shown
    assert '"A"' not in shown
    assert "abc" not in shown
    assert "plain words" not in shown
    assert event["message"] == "<google.protobuf.StringValue>"
    assert event["raw"] == f"<{len(TOKEN)} bytes>"


def test_a_structure_without_end_is_cut() -> None:
    endless: list[object] = []
    endless.append(endless)
    assert "<redacted>" in str(scrub(endless))


def test_vouched_for_text_is_not_looked_at() -> None:
    assert redact_event(None, "info", {"event": Clean(TOKEN)})["event"] == TOKEN


def test_the_text_of_an_exception_is_redacted_in_a_log_line(output: io.StringIO) -> None:
    log = structlog.get_logger("test")
    try:
        local = Secret(TOKEN).reveal()
        raise RuntimeError(f"could not store {local}")
    except RuntimeError:
        log.exception("it failed", token_sha256="ab")
    line = output.getvalue()
    assert TOKEN not in line
    assert "could not store <redacted>" in json.loads(line)["exception"]


@pytest.mark.parametrize("as_json", [True, False])
def test_a_traceback_shows_no_local_variables(
    configured: Callable[..., io.StringIO], *, as_json: bool
) -> None:
    stream = configured(as_json=as_json, level="debug")
    held = "known to a variable only" * 2
    try:
        raise RuntimeError(str(len(held)))
    except RuntimeError:
        structlog.get_logger("test").exception("it failed")
        logging.getLogger("other").exception("it failed")
    assert stream.getvalue().count("RuntimeError: 48") == 2
    assert held not in stream.getvalue()


def test_other_packages_log_through_the_same_redaction(output: io.StringIO) -> None:
    logging.getLogger("sqlalchemy").warning("connect to %s", "postgresql://u:pa55word@db/x")
    try:
        raise RuntimeError(TOKEN)
    except RuntimeError:
        logging.getLogger("grpc").exception("unexpected")
    shown = output.getvalue()
    assert "pa55word" not in shown
    assert TOKEN not in shown
    first = json.loads(shown.splitlines()[0])
    assert first["logger"] == "sqlalchemy"
    assert first["level"] == "warning"


def test_a_line_written_during_a_call_carries_its_correlation_id(output: io.StringIO) -> None:
    def serve() -> None:
        calls.enter(Call("/a.B/C", "id-1"))
        structlog.get_logger("test").info("inside")
        structlog.get_logger("test").info("told", correlation_id="id-2")

    contextvars.copy_context().run(serve)
    lines = [json.loads(line)["correlation_id"] for line in output.getvalue().splitlines()]
    assert lines == ["id-1", "id-2"]


def test_what_is_below_the_level_is_not_written(
    configured: Callable[..., io.StringIO],
) -> None:
    stream = configured(as_json=False, level="warning")
    structlog.get_logger("test").info("quiet")
    structlog.get_logger("test").warning("loud", token="abc")
    assert "quiet" not in stream.getvalue()
    assert "loud" in stream.getvalue()
    assert "abc" not in stream.getvalue()


def test_a_secret_shows_nothing_however_it_is_printed() -> None:
    secret = Secret(TOKEN)
    for shown in (repr(secret), str(secret), f"{secret}", f"{secret:>20}", f"{[secret]}"):
        assert TOKEN not in shown
        assert "<secret>" in shown
    assert secret.reveal() == TOKEN
    assert secret == Secret(TOKEN)
    assert secret != Secret("other")
    assert secret != TOKEN
    with pytest.raises(TypeError):
        pickle.dumps(secret)


def test_callers_and_calls_show_no_secret() -> None:
    caller = Caller("operator", frozenset({"admin"}), None)
    call = Call("/a.B/C", "id-1", caller=caller, bearer=Secret(TOKEN))
    assert TOKEN not in repr(call)
    assert "operator" in repr(call)
    assert "operator" in repr(caller)


def test_a_failures_repr_holds_only_what_is_public() -> None:
    try:
        raise ValueError(TOKEN)
    except ValueError as inside:
        failure = RpcFailure(grpc.StatusCode.INTERNAL, "d", "R", "public words")
        failure.__cause__ = inside
    assert TOKEN not in repr(failure)
    assert TOKEN not in str(failure)
