"""The rig itself, without a namespace: what it hears, what it answers, what it calls a leak."""

from __future__ import annotations

import base64
import gzip
import json
import socket
import ssl
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import anthropic
import openai
import pytest

from tests.runtimes.answers import KNOWN, answer_to
from tests.runtimes.arrivals import Arrival
from tests.runtimes.authority import Authority
from tests.runtimes.names import answering_names
from tests.runtimes.programs import programs
from tests.runtimes.recorder import recording

SECRET = "sk-secret-of-the-case-0123456789"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@contextmanager
def heard(authority: Authority) -> Iterator[tuple[int, list[Arrival]]]:
    arrivals: list[Arrival] = []
    with recording(authority, [0], arrivals, address="127.0.0.1") as (port,):
        yield port, arrivals


def exchange(port: int, *sent: bytes) -> list[bytes]:
    """What comes back for each piece, sent in order over one connection."""
    answers = []
    with socket.create_connection(("127.0.0.1", port), 10) as connection:
        for piece in sent:
            connection.sendall(piece)
            answers.append(connection.recv(65536))
    return answers


def plain(path: str, body: bytes = b"", headers: str = "") -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: api.example\r\n{headers}Content-Length: {len(body)}\r\n"
    return head.encode() + b"\r\n" + body


def arrival(**changed: Any) -> Arrival:
    usual: dict[str, Any] = {
        "host": "api.example",
        "port": 443,
        "secure": True,
        "method": "POST",
        "target": "/v1/messages",
        "headers": {},
        "body": b"",
    }
    return Arrival(**{**usual, **changed})


def test_every_name_gets_a_certificate_that_the_authority_vouches_for(
    authority: Authority,
) -> None:
    trusting = ssl.create_default_context(cafile=str(authority.certificate))
    with heard(authority) as (port, arrivals):
        for name in ("api.anthropic.com", "a-name-that-nobody-has.example"):
            with (
                socket.create_connection(("127.0.0.1", port), 10) as bare,
                trusting.wrap_socket(bare, server_hostname=name) as secure,
            ):
                secure.sendall(f"GET /x HTTP/1.1\r\nHost: {name}\r\n\r\n".encode())
                assert b"404" in secure.recv(65536)
        assert [(each.host, each.secure) for each in arrivals] == [
            ("api.anthropic.com", True),
            ("a-name-that-nobody-has.example", True),
        ]


def test_a_call_through_a_tunnel_is_known_by_its_own_host_and_by_its_proxy(
    authority: Authority,
) -> None:
    with heard(authority) as (port, arrivals):
        tunnel = b"CONNECT api.example:80 HTTP/1.1\r\nHost: stranger.test:3128\r\n\r\n"
        answers = exchange(port, tunnel, plain("/v1/messages", b'{"model": "m"}'))
    assert answers[0] == b"HTTP/1.1 200 Connection established\r\n\r\n"
    assert KNOWN.encode() in answers[1]
    assert [(each.method, each.host, each.via) for each in arrivals] == [
        ("CONNECT", "stranger.test", ""),
        ("POST", "api.example", "stranger.test:3128"),
    ]


def test_a_plain_proxy_and_a_socks_proxy_are_heard_too(authority: Authority) -> None:
    with heard(authority) as (port, arrivals):
        exchange(port, plain("http://api.example/v1/messages?beta=1"))
        exchange(
            port,
            b"\x05\x01\x00",
            b"\x05\x01\x00\x03\x0bapi.example" + struct.pack("!H", 80),
            plain("/v1/messages"),
        )
    assert [(each.method, each.host, each.target, each.via) for each in arrivals] == [
        ("POST", "api.example", "/v1/messages?beta=1", f"proxy:{port}"),
        ("SOCKS", "", "api.example:80", ""),
        ("POST", "api.example", "/v1/messages", f"socks:{port}"),
    ]


def test_what_is_no_http_is_heard_as_raw_bytes(authority: Authority) -> None:
    with (
        heard(authority) as (port, arrivals),
        socket.create_connection(("127.0.0.1", port), 10) as connection,
    ):
        connection.sendall(f"PRI {SECRET}\r\n\r\n".encode())
        assert connection.recv(1) == b""
    (raw,) = arrivals
    assert raw.method == "RAW"
    assert raw.credentials({"KEY": SECRET}) == {"body": "KEY"}


def test_a_body_in_chunks_is_read_whole(authority: Authority) -> None:
    with heard(authority) as (port, arrivals):
        chunks = b"6\r\n" + b'{"mode' + b"\r\n" + b'8\r\nl": "m"}\r\n0\r\n\r\n'
        head = b"POST /x HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n"
        exchange(port, head + chunks)
    assert arrivals[0].model == "m"


@pytest.mark.parametrize(
    ("placed", "where"),
    [
        ({"headers": {"authorization": f"Bearer {SECRET}"}}, "authorization"),
        ({"headers": {"x-api-key": SECRET}}, "x-api-key"),
        (
            {
                "headers": {
                    "authorization": "Basic " + base64.b64encode(b"u:" + SECRET.encode()).decode()
                }
            },
            "authorization",
        ),
        ({"target": f"/v1/models?key={SECRET}"}, "path"),
        ({"body": json.dumps({"env": SECRET}).encode()}, "body"),
        ({"body": base64.b64encode(b"xy" + SECRET.encode())}, "body"),
        (
            {"body": gzip.compress(SECRET.encode()), "headers": {"content-encoding": "gzip"}},
            "body",
        ),
    ],
)
def test_a_secret_is_found_wherever_it_stands(placed: dict[str, Any], where: str) -> None:
    assert arrival(**placed).credentials({"KEY": SECRET, "OTHER": "sk-not-sent-at-all"}) == {
        where: "KEY"
    }


def test_the_model_is_read_from_the_body_or_from_geminis_path() -> None:
    assert arrival(body=b'{"model": "claude-x"}').model == "claude-x"
    assert arrival(target="/v1beta/models/gemini-2.5-pro:generateContent").model == "gemini-2.5-pro"
    assert arrival(method="GET", target="/v1/models/other").model == ""


def test_an_origin_names_a_port_that_is_not_the_usual_one() -> None:
    assert arrival().origin == "https://api.example"
    assert arrival(port=8443).origin == "https://api.example:8443"
    assert arrival(secure=False, port=80).origin == "http://api.example"


@pytest.mark.parametrize("stream", [False, True])
def test_the_vendors_own_clients_read_the_known_answer(authority: Authority, stream: bool) -> None:
    ask: list[Any] = [{"role": "user", "content": "hello"}]
    with heard(authority) as (port, _arrivals):
        url = f"http://127.0.0.1:{port}"
        with anthropic.Anthropic(api_key="k", base_url=url, max_retries=0) as claude:
            if stream:
                with claude.messages.stream(model="m", max_tokens=9, messages=ask) as events:
                    assert events.get_final_text() == KNOWN
            else:
                said: Any = claude.messages.create(model="m", max_tokens=9, messages=ask)
                assert said.content[0].text == KNOWN
        with openai.OpenAI(api_key="k", base_url=f"{url}/v1", max_retries=0) as gpt:
            if stream:
                chunks = gpt.chat.completions.create(model="m", messages=ask, stream=True)
                pieces = [each.choices[0].delta.content or "" for each in chunks]
                assert "".join(pieces) == KNOWN
                done = list(gpt.responses.create(model="m", input="hi", stream=True))
                assert done[-1].type == "response.completed"
            else:
                chat: Any = gpt.chat.completions.create(model="m", messages=ask)
                assert chat.choices[0].message.content == KNOWN
                assert gpt.responses.create(model="m", input="hi").output_text == KNOWN


def test_gemini_is_answered_and_a_stranger_is_not() -> None:
    told = json.loads(answer_to(arrival(target="/v1beta/models/g:generateContent")).content)
    assert told["candidates"][0]["content"]["parts"] == [{"text": KNOWN}]
    streamed = answer_to(arrival(target="/v1beta/models/g:streamGenerateContent?alt=sse"))
    assert streamed.content.startswith(b'data: {"candidates"')
    assert answer_to(arrival(target="/anything/else")).status == 404


def test_every_name_leads_to_one_address_and_is_noted() -> None:
    asked: list[str] = []
    query = struct.pack("!6H", 7, 0x0100, 1, 0, 0, 0)
    query += b"\x03Api\x07example\x00" + struct.pack("!2H", 1, 1)
    with (
        answering_names(asked, "11.0.0.1", port=0) as port,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as caller,
    ):
        caller.settimeout(10)
        caller.sendto(query, ("127.0.0.1", port))
        answer = caller.recv(512)
        other = query[:-4] + struct.pack("!2H", 28, 1)
        caller.sendto(other, ("127.0.0.1", port))
        empty = caller.recv(512)
    assert asked == ["api.example", "api.example"]
    assert answer[-4:] == bytes([11, 0, 0, 1])
    assert struct.unpack("!6H", empty[:12]) == (7, 0x8180, 1, 0, 0, 0)


def test_the_programs_are_the_catalogues_one_more_driver_and_two_that_are_not_shipped() -> None:
    assert list(programs()) == [
        "claude-code", "codex", "hermes", "google-adk", "openclaw",
        "claude-agent-sdk", "opencode", "qwen-code",
    ]  # fmt: skip


def test_a_programs_version_is_that_of_its_own_package() -> None:
    for program in programs().values():
        assert program.version[0].isdigit(), program
    assert programs()["openclaw"].version.startswith("2026.")


def test_a_question_is_asked_with_the_programs_own_words() -> None:
    codex = programs()["codex"]
    assert codex.asking("2+2?") == [
        str(codex.home / "node_modules/.bin/codex"),
        "exec",
        "--skip-git-repo-check",
        "2+2?",
    ]


def test_a_word_that_is_not_known_in_the_data_file_is_refused() -> None:
    with pytest.raises(ValueError, match=r"programs.toml, \[x\]: it has exactly ask, command"):
        programs('[x]\nregistry = "npm"\nversion = "1"\n')
