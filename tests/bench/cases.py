"""What is sent: for every method measured, messages that differ from call to call."""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable, Sequence
from typing import Final

from google.protobuf.message import Message as Proto

from agentworkspace.core.secret import Secret
from agentworkspace.provision.v1 import (
    provision_pb2,
    secret_service_pb2,
    workspace_pb2,
    workspace_service_pb2,
)
from agentworkspace.registry.v1 import (
    registration_service_pb2,
    token_pb2,
    token_service_pb2,
    workspace_registry_service_pb2,
)
from tests.bench import database
from tests.bench.database import TOKENS_A_WORKSPACE
from tests.bench.h2 import Message, prefixed
from tests.bench.newcomers import Newcomer

TOKENS: Final = "/agentworkspace.registry.v1.TokenService/"
BOXES: Final = "/agentworkspace.registry.v1.RegistrationService/"
REGISTRY: Final = "/agentworkspace.registry.v1.WorkspaceRegistryService/"
SECRETS_OF_BOXES: Final = "/agentworkspace.provision.v1.SecretService/"
WORKSPACES: Final = "/agentworkspace.provision.v1.WorkspaceService/"
BATCH: Final = 64
# Of a workspace that has many.
SECRETS: Final = 50
# What every box says with its heartbeat, and said with the one before.
ACTIVE_TASKS: Final = 3
# So many different messages of a kind: more than are under way, and drawn from the whole table.
DIFFERENT: Final = 50_000


def numbers(tokens: int, count: int, *, seed: int = 5) -> list[int]:
    """Token numbers drawn from the whole table; the same in every run."""
    draw = random.Random(seed)  # noqa: S311 - not a secret, and repeatable
    return [draw.randrange(tokens) for _ in range(count)]


def validate(tokens: int, different: int = DIFFERENT) -> list[Message]:
    return [_message(_question(number)) for number in numbers(tokens, different)]


def validate_one(_tokens: int) -> list[Message]:
    """The same token in every call, which is all that h2load can send."""
    return [_message(_question(1))]


def batch(tokens: int, different: int = DIFFERENT) -> list[Message]:
    drawn = numbers(tokens, different)
    return [
        _message(
            token_service_pb2.BatchValidateTokensRequest(
                requests=[_question(number) for number in drawn[at : at + BATCH]]
            )
        )
        for at in range(0, different - BATCH, BATCH)
    ]


def mint(tokens: int, different: int = DIFFERENT) -> list[Message]:
    return [
        _message(
            token_service_pb2.MintTokenRequest(
                workspace_id=database.workspace_of(number),
                kind=token_pb2.TOKEN_KIND_API,
                label="bench",
                scopes=["tasks:read"],
            )
        )
        for number in numbers(tokens, different)
    ]


def heartbeat(tokens: int, different: int = DIFFERENT) -> list[Message]:
    return _of_boxes(
        tokens,
        different,
        lambda workspace_id: registration_service_pb2.HeartbeatRequest(
            workspace_id=workspace_id, active_tasks=ACTIVE_TASKS
        ),
    )


def heartbeat_of_all(boxes: int) -> list[Message]:
    """One of each box of the table."""
    return [
        _message(
            registration_service_pb2.HeartbeatRequest(workspace_id=database.workspace_of(number)),
            bearer=database.token(number),
        )
        for number in range(0, boxes * TOKENS_A_WORKSPACE, TOKENS_A_WORKSPACE)
    ]


def register(tokens: int, different: int = DIFFERENT) -> list[Message]:
    """A box that is back and shows its token."""
    return _of_boxes(
        tokens,
        different,
        lambda workspace_id: registration_service_pb2.RegisterRequest(
            workspace_id=workspace_id, delivery_mode="poll", runtime="claude-code"
        ),
    )


def create(count: int, *, own_secrets: int = 1) -> list[Message]:
    """Workspaces with so many secrets, of which one pays for the model."""
    return [
        _message(
            workspace_service_pb2.CreateWorkspaceRequest(
                request_id=str(uuid.uuid4()),
                tenant_id=f"tenant-{index % database.TENANTS}",
                workspace=workspace_pb2.Workspace(name=f"agent-{index}", model="opus"),
                secrets=secrets(index, own_secrets),
            )
        )
        for index in range(count)
    ]


def secrets(number: int, count: int = SECRETS) -> dict[str, str]:
    """Of workspace `number`: a credential, and settings beside it."""
    settings = {f"SETTING_{at}": f"value-{number}-{at}" for at in range(1, count)}
    return {"CLAUDE_CODE_OAUTH_TOKEN": f"sk-ant-oat-{uuid.uuid4().hex}"} | settings


def provision(workspace_ids: Sequence[str]) -> list[Message]:
    return [
        _message(
            workspace_service_pb2.ProvisionWorkspaceRequest(
                workspace_id=workspace_id,
                reason=provision_pb2.PROVISION_REASON_CREATE,
                request_id=str(uuid.uuid4()),
            )
        )
        for workspace_id in workspace_ids
    ]


def begin(workspace_ids: Sequence[str]) -> list[Message]:
    """A further launch of each, as a launcher begins it."""
    return [
        _message(
            workspace_registry_service_pb2.BeginIncarnationRequest(
                workspace_id=workspace_id, request_id=str(uuid.uuid4())
            )
        )
        for workspace_id in workspace_ids
    ]


def admit(count: int) -> list[Message]:
    """Workspaces that nobody knows yet, each with a first token, as CreateWorkspace asks."""
    return [
        _message(
            workspace_registry_service_pb2.AdmitWorkspaceRequest(
                workspace_id=str(uuid.uuid4()),
                tenant_id=f"tenant-{index % database.TENANTS}",
                request_id=str(uuid.uuid4()),
                ticket_required=True,
                first_token=workspace_registry_service_pb2.FirstToken(label="bench"),
            )
        )
        for index in range(count)
    ]


def secret_values(boxes: Sequence[tuple[str, str]]) -> list[Message]:
    """Asked by boxes, given as workspace and instance token."""
    return [
        _message(secret_service_pb2.GetSecretValuesRequest(workspace_id=workspace_id), bearer=token)
        for workspace_id, token in boxes
    ]


def launched(body: bytes) -> Newcomer | None:
    """The box of an answer to ProvisionWorkspace, as it came; None when none was launched."""
    env = workspace_service_pb2.ProvisionWorkspaceResponse.FromString(body[5:]).env
    if not env:
        return None
    return Newcomer(env["WORKSPACE_ID"], Secret(env["WORKSPACE_BOOTSTRAP_TICKET"]))


def created_id(body: bytes) -> str:
    """Of an answer to CreateWorkspace, as it came."""
    answer = workspace_service_pb2.CreateWorkspaceResponse.FromString(body[5:])
    return answer.workspace.id


def _question(number: int) -> token_service_pb2.ValidateTokenRequest:
    return token_service_pb2.ValidateTokenRequest(
        token=database.token(number), workspace_id=database.workspace_of(number)
    )


def boxes(tokens: int, different: int = DIFFERENT) -> list[int]:
    """The numbers of the tokens with which boxes call, each once."""
    drawn = (number - number % TOKENS_A_WORKSPACE for number in numbers(tokens, different))
    return list(dict.fromkeys(drawn))


def _of_boxes(tokens: int, different: int, request: Callable[[str], Proto]) -> list[Message]:
    return [
        _message(request(database.workspace_of(number)), bearer=database.token(number))
        for number in boxes(tokens, different)
    ]


def _message(request: Proto, *, bearer: str = "") -> Message:
    return Message(body=prefixed(request.SerializeToString()), bearer=bearer)
