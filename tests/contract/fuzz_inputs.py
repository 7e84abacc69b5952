"""Calls that no client of ours would make: made from a seed, so that each can be made again."""

from __future__ import annotations

import base64
import random
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from google.protobuf.descriptor import FieldDescriptor, MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from tests.rpc.registry_server import secret_of

Metadata = tuple[tuple[str, str | bytes], ...]

DEEPEST: Final = 4
MOST_ITEMS: Final = 5
# Of a hundred inputs: bytes of no message, a message that was cut and bent, fields out of a hat.
RAW, BENT = 10, 35
TEXTS: Final = (
    "", " ", "a", "acme", "globex", "\0", "\n", "\u202e", "\U0001f916", "é" * 40, "x" * 300,
    "x" * 70_000, "../../etc/passwd", "'; DROP TABLE registry.tokens; --", "%s%n", "${HOME}",
    "null", "http://127.0.0.1/", "http://2130706433/", "https://1.1.1.1/a2a", "http://a:0/", "http://[::1",
    "https://xn--/", "push", "poll", "claude-code", "external", "opus", "MODEL", "GITEA_TOKEN",
    "PATH", "ANTHROPIC_API_KEY", "byok", "platform_managed", "disabled", "none", "*", "name",
    "workspace.model", "f" * 64, "F" * 64, "00000000-0000-0000-0000-000000000000",
    "awi_" + "A" * 49, "awt_" + "A" * 49, "awp_x", "sk-ant-oat-0123456789",
)  # fmt: skip
NUMBERS: Final = (0, 1, -1, 2, 7, 50, 200, 201, 255, 65536, 2**31 - 1, -(2**31), 2**53)
LARGE: Final = (2**63 - 1, -(2**63), 253_402_300_800, -62_135_596_801)
FLOATS: Final = (0.0, -0.0, 1.5, float("nan"), float("inf"), -float("inf"), 1e308, 5e-324)
AUTHORIZATIONS: Final = (
    *(f"Bearer {secret_of(name)}" for name in ("operator", "control-plane", "gateway")),
    *(f"Bearer {secret_of(name)}" for name in ("globex-operator", "globex-control-plane")),
    "Bearer ", "bearer  x", "Basic dXNlcg==", "Bearer " + "A" * 5000, "Bearer awi_" + "A" * 49,
    "Bearer awa_x awa_y",
)  # fmt: skip
OTHERS: Final[Metadata] = (
    ("agentworkspace-correlation-id", "fuzz"),
    ("agentworkspace-correlation-id", "x" * 500),
    ("agentworkspace-correlation-id", "awi_" + "A" * 49),
    ("agentworkspace-reason", "ERROR_REASON_INTERNAL"),
    ("grpc-status-details-bin", b"\x08\x0d"),
    ("traceparent", "00-" + "f" * 32 + "-" + "0" * 16 + "-ff"),
    ("traceparent", "garbage"),
    ("x-anything-bin", bytes(range(256))),
    ("x-large", "y" * 1500),
)
DEADLINES: Final = (0.001, 0.004, 0.02, *([5.0] * 17))
# How likely a field holds what makes sense there: some inputs shall get far.
SANITIES: Final = (0.0, 0.5, 0.9, 0.98, 1.0)
PLAUSIBLE: Final[Mapping[str, tuple[str, ...]]] = {
    "name": ("fuzz", "acme/fuzz"),
    "label": ("fuzz",),
    "runtime": ("claude-code", "codex", "hermes", "external"),
    "model": ("opus", "sonnet", "minimax/MiniMax-M2.7", "gpt-5"),
    "key": ("GITEA_TOKEN", "MODEL", "ANTHROPIC_API_KEY", "OPENAI_API_KEY"),
    "value": ("sk-fuzz-0123456789abcdef", "opus"),
    "provider": ("", "minimax"),
    "url": ("", "https://1.1.1.1/a2a"),
    "delivery_mode": ("", "push", "poll"),
    "billing_mode_override": ("", "byok", "disabled"),
    "mode": ("byok", "platform_managed", "disabled"),
    "default_billing": ("byok", "platform_managed"),
    "paths": ("name", "model", "url", "workspace.role"),
    "auth_env_names": ("ANTHROPIC_API_KEY",),
    "scopes": ("tasks:read",),
    "required_scopes": ("tasks:read",),
    "required_env": ("GITEA_TOKEN",),
    "note": ("fuzz",),
}


@dataclass
class World:
    """What really exists, so that an input gets past the first look: ids, tokens and tickets."""

    texts: list[str] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)
    # By the name of the field that means them.
    named: dict[str, list[str]] = field(default_factory=dict)

    def add(self, name: str, text: str) -> None:
        self.named.setdefault(name, []).append(text)
        self.texts.append(text)


@dataclass(frozen=True)
class Input:
    """One call."""

    method: str
    streams: bool
    request: bytes
    metadata: Metadata
    deadline: float

    def __str__(self) -> str:
        """As a line that the call can be made from again."""
        request = base64.b64encode(self.request[:2000]).decode()
        return f"{self.method} {request} {self.metadata!r} within {self.deadline} s"


class Inputs:
    """Makes them; the same seed and world make the same ones."""

    def __init__(
        self, methods: Mapping[str, MethodDescriptor], seed: int, world: World | None = None
    ) -> None:
        self._methods = sorted(methods.items())
        self._random = random.Random(seed)  # noqa: S311 -- to be made again, not to be secret
        self.world = world or World()
        self._sanity = 0.0

    def make(self) -> Input:
        name, method = self._random.choice(self._methods)
        self._sanity = self._random.choice(SANITIES)
        return Input(
            name,
            method.server_streaming,
            self._request(method),
            self._metadata(),
            self._random.choice(DEADLINES),
        )

    def _request(self, method: MethodDescriptor) -> bytes:
        chance = self._random.randrange(100)
        if chance < RAW and not self._is_sane():
            return self._random.randbytes(self._random.randrange(200))
        message = self._message(method.input_type, 0)
        raw = message.SerializeToString()
        return self._bent(raw) if chance < BENT and not self._is_sane() else raw

    def _is_sane(self) -> bool:
        return self._random.random() < self._sanity

    def _bent(self, raw: bytes) -> bytes:
        """With some bytes changed, left out, repeated or put in."""
        bytes_ = bytearray(raw)
        for _ in range(self._random.randint(1, 4)):
            at = self._random.randrange(len(bytes_) + 1)
            match self._random.randrange(4):
                case 0 if at < len(bytes_):
                    bytes_[at] ^= 1 << self._random.randrange(8)
                case 1:
                    del bytes_[at : at + self._random.randint(1, 20)]
                case 2:
                    bytes_[at:at] = bytes_[at : at + self._random.randint(1, 20)]
                case _:
                    bytes_[at:at] = self._random.randbytes(self._random.randint(1, 8))
        return bytes(bytes_)

    def _message(self, descriptor: Any, depth: int) -> Message:
        message: Any = GetMessageClass(descriptor)()
        for each in descriptor.fields:
            # The deeper, the fewer.
            if self._random.random() < 0.25 + 0.15 * depth:
                continue
            if each.is_repeated:
                self._repeat(message, each, depth)
            elif each.type == FieldDescriptor.TYPE_MESSAGE:
                if depth < DEEPEST:
                    getattr(message, each.name).CopyFrom(
                        self._message(each.message_type, depth + 1)
                    )
            else:
                setattr(message, each.name, self._value(each))
        return message  # type: ignore[no-any-return]

    def _repeat(self, message: Any, each: Any, depth: int) -> None:
        items = getattr(message, each.name)
        count = self._random.randrange(MOST_ITEMS)
        if each.message_type is not None and each.message_type.GetOptions().map_entry:
            key, value = each.message_type.fields
            for _ in range(count):
                if value.type == FieldDescriptor.TYPE_MESSAGE:
                    if depth < DEEPEST:
                        made = self._message(value.message_type, depth + 1)
                        items[self._value(key)].CopyFrom(made)
                else:
                    items[self._value(key)] = self._value(value)
        elif each.type == FieldDescriptor.TYPE_MESSAGE:
            if depth < DEEPEST:
                items.extend(self._message(each.message_type, depth + 1) for _ in range(count))
        else:
            items.extend(self._value(each) for _ in range(count))

    def _value(self, each: Any) -> Any:
        if self._is_sane():
            return self._plausible(each)
        return _MAKERS[each.type](self._random, each, self.world)

    def _plausible(self, each: Any) -> Any:
        """What somebody who knows the contract might put there."""
        if each.type == FieldDescriptor.TYPE_ENUM:
            return self._random.choice([value.number for value in each.enum_type.values])
        if each.type != FieldDescriptor.TYPE_STRING:
            return each.default_value
        if each.name == "request_id":
            return str(uuid.UUID(int=self._random.getrandbits(128), version=4))
        if each.name.endswith("sha256"):
            return self._random.choice(("", self._random.randbytes(32).hex()))
        known = self.world.named.get(each.name) or PLAUSIBLE.get(each.name) or ("",)
        return self._random.choice(known)

    def _metadata(self) -> Metadata:
        pairs: list[tuple[str, str | bytes]] = []
        if self._is_sane() and self._random.random() < 0.6:
            pairs.append(("authorization", AUTHORIZATIONS[0]))
        elif self._random.random() < 0.9:
            known = [f"Bearer {token}" for token in self.world.tokens]
            offered = known if known and self._random.random() < 0.4 else AUTHORIZATIONS[:3]
            if self._random.random() < 0.2:
                offered = AUTHORIZATIONS
            pairs.append(("authorization", self._random.choice(offered)))
        if self._random.random() < 0.3:
            pairs.append(self._random.choice(OTHERS))
        return tuple(pairs)


def _text(chance: random.Random, each: Any, world: World) -> str:  # noqa: PLR0911 -- a kind a line
    luck = chance.random()
    if each.name.endswith("_id") or each.name == "tenant_id":
        if luck < 0.6 and world.texts:
            return chance.choice(world.texts)
        if luck < 0.75:
            return str(uuid.UUID(int=chance.getrandbits(128), version=4))
    if each.name == "token_sha256" and luck < 0.6:
        return chance.randbytes(32).hex()
    if luck < 0.15 and world.texts:
        return chance.choice(world.texts)
    if luck < 0.25 and world.tokens:
        return chance.choice(world.tokens)
    if luck < 0.35:
        return "".join(chr(chance.randrange(1, 0xD7FF)) for _ in range(chance.randrange(40)))
    return chance.choice(TEXTS)


def _bytes(chance: random.Random, _each: Any, _world: World) -> bytes:
    return chance.randbytes(chance.randrange(64))


def _enum(chance: random.Random, each: Any, _world: World) -> int:
    numbers: list[int] = [value.number for value in each.enum_type.values]
    return chance.choice([*numbers, *numbers, 99, -1])


def _bool(chance: random.Random, _each: Any, _world: World) -> bool:
    return chance.random() < 0.5


def _float(chance: random.Random, _each: Any, _world: World) -> float:
    return chance.choice(FLOATS)


def _whole(numbers: Sequence[int], least: int, most: int) -> Callable[..., int]:
    fitting = [number for number in numbers if least <= number <= most]

    def make(chance: random.Random, _each: Any, _world: World) -> int:
        return chance.choice(fitting)

    return make


_SMALL: Final = _whole(NUMBERS, -(2**31), 2**31 - 1)
_SMALL_POSITIVE: Final = _whole(NUMBERS, 0, 2**32 - 1)
_WIDE: Final = _whole((*NUMBERS, *LARGE), -(2**63), 2**63 - 1)
_WIDE_POSITIVE: Final = _whole((*NUMBERS, *LARGE), 0, 2**64 - 1)

_MAKERS: Final[Mapping[int, Callable[..., Any]]] = {
    FieldDescriptor.TYPE_STRING: _text,
    FieldDescriptor.TYPE_BYTES: _bytes,
    FieldDescriptor.TYPE_ENUM: _enum,
    FieldDescriptor.TYPE_BOOL: _bool,
    FieldDescriptor.TYPE_DOUBLE: _float,
    FieldDescriptor.TYPE_FLOAT: _float,
    FieldDescriptor.TYPE_INT32: _SMALL,
    FieldDescriptor.TYPE_SINT32: _SMALL,
    FieldDescriptor.TYPE_SFIXED32: _SMALL,
    FieldDescriptor.TYPE_UINT32: _SMALL_POSITIVE,
    FieldDescriptor.TYPE_FIXED32: _SMALL_POSITIVE,
    FieldDescriptor.TYPE_INT64: _WIDE,
    FieldDescriptor.TYPE_SINT64: _WIDE,
    FieldDescriptor.TYPE_SFIXED64: _WIDE,
    FieldDescriptor.TYPE_UINT64: _WIDE_POSITIVE,
    FieldDescriptor.TYPE_FIXED64: _WIDE_POSITIVE,
}
