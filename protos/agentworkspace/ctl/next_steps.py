"""What to type next, by the reason of a refusal; for other reasons, by the recovery."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from agentworkspace.core.refusal import Recovery

_LOOK: Final = "`workspacectl doctor` looks why; then try again"

BY_REASON: Final[Mapping[str, str]] = {
    "CREDENTIAL_MISSING": "say who you are: --token-file FILE, WORKSPACECTL_TOKEN_FILE or a context"
    " (workspacectl context set)",
    "CREDENTIAL_REJECTED": "this installation does not know the credential: `workspacectl context"
    " list` shows where it comes from; its callers are in the service's credentials file",
    "ROLE_REQUIRED": "use the credential of a caller with this role; `workspacectl whoami` shows"
    " yours",
    "TENANT_FORBIDDEN": "use the credential of a caller of this tenant; `workspacectl whoami` shows"
    " yours",
    "TENANT_UNKNOWN": "for a new tenant say --create; else mend its name",
    "WORKSPACE_UNKNOWN": "`workspacectl workspaces list` shows those there are",
    "PROVISION_UNKNOWN": "`workspacectl provisions list` shows those there are",
    "TOKEN_UNKNOWN": "`workspacectl tokens list WORKSPACE` shows those there are",
    "WORKSPACE_SUSPENDED": "an admin resumes it: workspacectl launch WORKSPACE --reason resume",
    "PROVISION_SUPERSEDED": "launch again: workspacectl launch WORKSPACE --reason restart",
    "MISSING_BYOK_CREDENTIAL": "store it: workspacectl secrets set NAME --tenant TENANT (or"
    " --workspace WORKSPACE), with the value on standard input",
    "MISSING_PLATFORM_PROXY": "the operator sets PLATFORM_LLM_… and `workspacectl billing tenant"
    " TENANT --usage-token-file FILE`; or the tenant pays: `workspacectl billing why WORKSPACE`"
    " says how",
    "PLATFORM_CREDENTIAL_COMINGLED": "`workspacectl secrets audit-shared` shows where it lies: set"
    " the tenant's own value there, or delete it",
    "MODEL_REQUIRED": "name one: --model; `workspacectl catalogue models RUNTIME` lists them",
    "MODEL_UNREGISTERED": "`workspacectl catalogue models RUNTIME` lists those that are served",
    "RUNTIME_UNKNOWN": "`workspacectl catalogue runtimes` lists them",
    "ETAG_MISMATCH": "somebody changed it since: read it again with `workspacectl workspaces get`",
    "REQUEST_ID_REUSED": "leave out --request-id: it belongs to another command",
    "STORE_UNAVAILABLE": _LOOK,
    "REGISTRY_UNAVAILABLE": _LOOK,
}

BY_RECOVERY: Final[Mapping[Recovery, str]] = {
    Recovery.RETRY: "try again in a moment",
    Recovery.RELAUNCH: "only a new launch helps: workspacectl launch WORKSPACE --reason restart",
    Recovery.REGISTER: "the box registers again by itself",
    Recovery.STOP: "nothing: this workspace or box has ended",
    Recovery.FIX_REQUEST: "change the command: the same one would be refused again",
}
