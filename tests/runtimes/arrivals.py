"""One request as it arrived at the rig, and what it gave away."""

from __future__ import annotations

import base64
import binascii
import gzip
import json
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote

WORKSPACE_HEADER: Final = "x-molecule-workspace-id"
# Long enough to hide a credential: `user:key`, a signed claim, an encoded document.
_ENCODED: Final = re.compile(rb"[A-Za-z0-9+/_-]{16,}")
# Where a call asks a model for something.
_ENDINGS: Final = ("/messages", "/chat/completions", "/responses", ":generateContent")
_ALSO: Final = (
    ":streamGenerateContent",
    ":rawPredict",
    ":streamRawPredict",
    "/invoke",
    "/converse",
)
_MODEL_IN_PATH: Final = re.compile(r"/models?/([^/:?]+(?::\d+)?)")


@dataclass(frozen=True, kw_only=True)
class Arrival:
    """What came in: over TLS or not, for which host, by way of which proxy.

    Names of headers are lower case. A connection that spoke no HTTP has the method `RAW`, and what
    it sent is the body.
    """

    host: str
    port: int
    secure: bool
    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes
    via: str = ""

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @property
    def origin(self) -> str:
        """The address as its url begins, `https://api.example:8443`; the usual port is left out."""
        scheme, usual = ("https", 443) if self.secure else ("http", 80)
        return f"{scheme}://{self.host}" + (f":{self.port}" if self.port != usual else "")

    @property
    def model(self) -> str:
        """The model that is asked for, wherever the protocol says it."""
        named = self.document.get("model")
        if isinstance(named, str):
            return named
        found = _MODEL_IN_PATH.search(self.path)
        return unquote(found[1]) if found and self.method == "POST" else ""

    @property
    def workspace(self) -> str:
        return self.headers.get(WORKSPACE_HEADER, "")

    @property
    def document(self) -> dict[str, Any]:
        """The body as a JSON object; empty when it is none."""
        try:
            found = json.loads(self.text)
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}

    @property
    def text(self) -> bytes:
        """The body without its content encoding."""
        encoding = self.headers.get("content-encoding", "")
        try:
            if encoding == "gzip":
                return gzip.decompress(self.body)
            if encoding == "deflate":
                return zlib.decompress(self.body)
        except (OSError, EOFError, zlib.error):
            pass
        return self.body

    def credentials(self, secrets: Mapping[str, str]) -> dict[str, str]:
        """Where each secret of the case stands: header or `body`, `path` → the secret's name."""
        places = {**self.headers, "path": unquote(self.target)}
        found = {
            place: name
            for place, value in places.items()
            for name in names_within(value.encode(), secrets)
        }
        for name in names_within(self.text, secrets):
            found["body"] = name
        return found


def asks_a_model(arrival: Arrival) -> bool:
    return arrival.method == "POST" and arrival.path.endswith((*_ENDINGS, *_ALSO))


def names_within(content: bytes, secrets: Mapping[str, str]) -> list[str]:
    """The secrets that stand in `content`, plain or in base64."""
    seen = content + b"\n" + b"\n".join(_decoded(each) for each in _ENCODED.findall(content))
    return [name for name, value in secrets.items() if value.encode() in seen]


def _decoded(encoded: bytes) -> bytes:
    padded = encoded + b"=" * (-len(encoded) % 4)
    try:
        return base64.b64decode(padded.translate(bytes.maketrans(b"-_", b"+/")))
    except binascii.Error:
        return b""
