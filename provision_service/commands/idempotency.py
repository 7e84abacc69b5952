"""Request ids: the same id with the same parameters finds the first answer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection

from agentworkspace.core.refusal import Refusal, SharedReason
from agentworkspace.core.secret import Secret
from provision_service.commands.call import Call
from provision_service.storage import requests
from provision_service.storage.requests import RequestKey
from provision_service.storage.store import Store


def key_of(call: Call, method: str, scope: str, request_id: str) -> RequestKey:
    """The key of a request id, unique within caller, method and `scope`: a workspace, or a create's
    tenant.
    """
    return RequestKey(caller=call.caller.name, method=method, scope=scope, request_id=request_id)


def params_digest(store: Store, params: Mapping[str, Any]) -> bytes:
    """A keyed digest of the parameters: from a plain one the secrets in them could be guessed."""
    text = json.dumps(params, sort_keys=True, default=_plain)
    return store.fingerprints.of_bytes(b"request:" + text.encode("utf-8", "surrogatepass"))


def claim(
    tx: Connection, key: RequestKey, *, digest: bytes, result: dict[str, Any]
) -> dict[str, Any] | None:
    """Take the id, or return the first answer. Raises REQUEST_ID_REUSED."""
    answered = requests.claim(tx, key, params_digest=digest, result=result)
    if answered is None:
        return None
    if answered.params_digest != digest:
        raise reused(key.request_id)
    return answered.result


def find(tx: Connection, key: RequestKey, *, digest: bytes) -> dict[str, Any] | None:
    """The first answer, or None, without taking the id. Raises REQUEST_ID_REUSED."""
    answered = requests.find(tx, key)
    if answered is not None and answered.params_digest != digest:
        raise reused(key.request_id)
    return answered.result if answered is not None else None


def reused(request_id: str) -> Refusal:
    """The refusal of a request id that was used with other parameters."""
    return Refusal(
        SharedReason.REQUEST_ID_REUSED,
        f"request_id {request_id} was used with other parameters; use a new one",
        metadata={"request_id": request_id},
    )


def _plain(value: object) -> object:
    if isinstance(value, Secret):
        return value.reveal()
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, set | frozenset):
        return sorted(value)
    raise TypeError(f"{type(value).__name__} is no parameter of a request")
