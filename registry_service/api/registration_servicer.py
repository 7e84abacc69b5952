"""RegistrationService: parse, run one command, render."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Final, TypeVar

from typing_extensions import override

from agentworkspace.core.refusal import Refusal, SharedReason
from agentworkspace.registry.v1 import registration_service_pb2 as pb
from agentworkspace.registry.v1.registration_service_pb2_grpc import RegistrationServiceServicer
from agentworkspace.rpc import calls
from registry_service.api.core import Core
from registry_service.api.parse import registration as parse
from registry_service.api.render import registration as render
from registry_service.commands import deregister, register, update_card, who_am_i
from registry_service.commands.register import Registered, RegisterRefused
from registry_service.commands.update_card import UpdateCard
from registry_service.domain.admission_line import AdmissionLine

_URL: Final = "url"
Located = TypeVar("Located", register.Register, UpdateCard)


class Registrations(RegistrationServiceServicer):
    def __init__(self, core: Core) -> None:
        self._core = core

    @override
    async def Register(self, request: pb.RegisterRequest, context: object) -> pb.RegisterResponse:
        core = self._core
        command = parse.register(request, calls.current(), policy=core.rules.bootstrap_policy)
        try:
            command, warnings = await self._resolved(
                command, lambda: core.run(register.require_admissible, command)
            )
            answer = await self._admit(command)
        except RegisterRefused as refused:
            self._note_refused(refused)
            raise
        self._note_admitted(command, answer)
        return render.registered(answer, core.rules.heartbeat_interval, warnings)

    @override
    async def Heartbeat(
        self, request: pb.HeartbeatRequest, context: object
    ) -> pb.HeartbeatResponse:
        command = parse.heartbeat(
            request, calls.current(), policy=self._core.rules.bootstrap_policy
        )
        return render.heartbeaten(await self._core.heartbeat(command))

    @override
    async def UpdateCard(
        self, request: pb.UpdateCardRequest, context: object
    ) -> pb.UpdateCardResponse:
        core, command = self._core, parse.update_card(request, calls.current())
        # The same command without card and url checks the box's token and updates nothing.
        asked = replace(command, agent_card=None, url="")
        command, warnings = await self._resolved(command, lambda: core.run(update_card.run, asked))
        await core.run(update_card.run, command)
        return pb.UpdateCardResponse(warnings=warnings)

    @override
    async def Deregister(
        self, request: pb.DeregisterRequest, context: object
    ) -> pb.DeregisterResponse:
        command = parse.deregister(request, calls.current())
        await self._core.run(deregister.run, command)
        return pb.DeregisterResponse()

    @override
    async def WhoAmI(self, request: pb.WhoAmIRequest, context: object) -> pb.WhoAmIResponse:
        answer = await self._core.run(who_am_i.run, parse.who_am_i(calls.current()))
        self._core.last_uses.note(answer.principal.token_id, answer.time)
        return render.identified(answer)

    async def _resolved(
        self, command: Located, require_evidence: Callable[[], Awaitable[object]]
    ) -> tuple[Located, list[pb.Warning]]:
        """The command and its warnings; if the url's host does not resolve now, the command comes
        back without the url. A name server is asked only for a box whose evidence was recognised,
        so that strangers cannot keep it and our threads busy.
        """
        core, url = self._core, command.url
        host = core.urls.host_to_ask_about(url, _URL) if url else None
        if host is None:
            return command, []
        if not await core.is_in_use(command.bearer, command.workspace_id):
            await require_evidence()
        if await core.urls.resolves(host, _URL):
            return command, []
        return replace(command, url=""), [render.url_unresolved(url)]

    async def _admit(self, command: register.Register) -> Registered:
        """A box that comes with its ticket, or with a bearer and no wish for a new token, shares a
        batch; every other Register is decided alone.
        """
        new_secret = self._core.sources.new_secret
        hot, back = self._core.hot, command.bearer is not None and command.token_sha256 is None
        if back or command.ticket is not None:
            queue = hot.registers if back else hot.first_registers
            return await self._core.share(queue, register.run, command, new_secret=new_secret)
        return await self._core.run(register.run, command, new_secret=new_secret)

    def _note_admitted(self, command: register.Register, answer: Registered) -> None:
        self._core.metrics.admitted(
            answer.outcome, answer.line, with_evidence=not answer.without_evidence
        )
        if answer.line is AdmissionLine.LIVE_TOKEN and command.token_sha256 is None:
            self._core.last_uses.note(answer.token.token_id, answer.time)

    def _note_refused(self, refused: RegisterRefused) -> None:
        """Count the refusal. Refusal RATE_LIMITED in its place once a workspace has had too many
        without evidence.
        """
        self._core.metrics.refused(refused.reason, refused.line)
        self._core.refused.note(refused)
        if refused.recognised:
            return
        wait = self._core.throttle.take(refused.workspace_id, self._core.sources.monotonic())
        if wait is not None:
            raise Refusal(
                SharedReason.RATE_LIMITED,
                "too many refused registers of this workspace; come back later",
                metadata={"workspace_id": refused.workspace_id},
                retry_after=wait,
            ) from refused
