"""The client of a box for runtimes without an event loop: the same life, on a thread."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final, Self

import grpc

from agentworkspace.client.agent import messages
from agentworkspace.client.agent.box import Box, Closed, from_disk, log, note_wait
from agentworkspace.client.agent.steps import (
    Admission,
    Answer,
    CallHeartbeat,
    CallRegister,
    Recall,
    Save,
    Step,
    Stopped,
    Wait,
)
from agentworkspace.client.channel import blocking_channel, call_metadata
from agentworkspace.core.refusal import Recovery
from agentworkspace.core.secret import Secret
from agentworkspace.registry.v1 import registration_service_pb2 as pb
from agentworkspace.registry.v1.registration_service_pb2_grpc import RegistrationServiceStub
from agentworkspace.rpc.errors import failure_from

_JOIN_SECONDS: Final = messages.CALL_SECONDS + 2.0


class _Closing(Exception):
    """Ends the thread's work when the client is being closed."""


class BlockingAgentClient(Box):
    """The client of one box, which runs on its own thread. Any thread may call every method.

    Leaving the block ends the heartbeats and nothing else: the token lives on, so that the box
    can be restarted in place. `deregister` says good-bye for good.
    """

    _thread: threading.Thread | None = None
    _stub: Any = None
    _channel: grpc.Channel | None = None
    _closing = False
    _woken = False
    _ended: BaseException | None = None
    _running_call: Any = None

    def __enter__(self) -> Self:
        if self._thread is not None:
            raise Closed("a client lives once; make another")
        self._changed = threading.Condition()
        self._channel = blocking_channel(self._launch.target, tls=self._launch.tls(), retries=False)
        self._stub = RegistrationServiceStub(self._channel)
        self._thread = threading.Thread(target=self._live, name="agent", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._close()
        if self._channel is not None:
            self._channel.close()

    def run(self) -> None:
        """Enter the client and keep it running until STOP, then raise Stopped."""
        with self:
            self.finished()

    def admitted(self, timeout: float | None = None) -> Admission:
        """Wait for the first admission. Raises Stopped when the registry says STOP instead, and
        TimeoutError after `timeout` seconds (None: never)."""
        self._wait_until(lambda: self._life.admission is not None, timeout)
        admission = self._life.admission
        if admission is None:
            raise AssertionError("waited for an admission")
        return admission

    def finished(self, timeout: float | None = None) -> None:
        """Wait for STOP, and raise Stopped."""
        self._wait_until(lambda: False, timeout)

    def rotate(self, timeout: float | None = None) -> None:
        """Change the token for a fresh one; returns once the fresh one is admitted."""
        self.admitted(timeout)
        before = self.bearer()
        self._life.request_rotation()
        self._wake()
        self._wait_until(lambda: self.bearer() != before, timeout)

    def register_now(self, timeout: float | None = None) -> Admission:
        """Register again at once, instead of when a heartbeat says so; returns once admitted.

        For a call that the box made elsewhere with its token and that was refused with the
        recovery REGISTER. TimeoutError after `timeout` seconds.
        """
        before = self._life.admissions
        self._register_soon()
        self._wait_until(lambda: self._life.admissions != before, timeout)
        return self.admitted(timeout)

    def update_card(self, agent_card: Mapping[str, Any] | None = None, *, url: str = "") -> None:
        """Replace card and url, now and at later registrations. RpcFailure when refused."""
        changed = self._announcement.changed(agent_card, url)
        request = messages.update_card_request(self._launch, changed)
        self._once("UpdateCard", request, self._own_bearer())
        self._announcement = changed

    def deregister(self) -> None:
        """Leave for good: the token dies and nobody relaunches the box. RpcFailure if refused."""
        bearer = self._own_bearer()
        self._close()
        request = pb.DeregisterRequest(workspace_id=self._launch.workspace_id)
        self._once("Deregister", request, bearer)

    def _live(self) -> None:
        steps = self._life.steps()
        answer: Answer = None
        try:
            while True:
                step = steps.send(answer)
                self._tell()
                answer = self._perform(step)
        except _Closing:
            self._end(Closed("the client was closed"))
        except Stopped as stopped:
            log.warning("told to stop: %s", stopped)
            self._end(stopped)
        except Exception as broken:  # noqa: BLE001 - whoever waits for the thread is told
            log.exception("the client of the box broke")
            self._end(broken)

    def _perform(self, step: Step) -> Answer:
        match step:
            case Wait():
                note_wait(step)
                self._pause(step.seconds)
                return None
            case CallRegister():
                request = messages.register_request(self._launch, self._announcement, step)
                return self._answered("Register", request, step.bearer, messages.admission)
            case CallHeartbeat():
                beat = messages.heartbeat_request(self._launch, self._report)
                return self._answered("Heartbeat", beat, step.bearer, messages.next_action)
            case Recall():
                return from_disk(self._memory.load)
            case Save():
                return from_disk(partial(self._memory.save, step.remembered))

    def _pause(self, seconds: float) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._woken or self._closing, seconds)
            self._woken = False
            if self._closing:
                raise _Closing

    def _answered(
        self, name: str, request: Any, bearer: Secret, read: Callable[[Any], Answer]
    ) -> Answer:
        with self._changed:
            if self._closing:
                raise _Closing
            call = getattr(self._stub, name).future(
                request, timeout=messages.CALL_SECONDS, metadata=call_metadata(bearer=bearer)
            )
            self._running_call = call
        try:
            return read(call.result())
        except grpc.RpcError as error:
            return failure_from(error)
        except grpc.FutureCancelledError:
            raise _Closing from None
        finally:
            self._running_call = None

    def _once(self, name: str, request: Any, bearer: Secret) -> None:
        try:
            getattr(self._stub, name)(
                request, timeout=messages.CALL_SECONDS, metadata=call_metadata(bearer=bearer)
            )
        except grpc.RpcError as error:
            failure = failure_from(error)
            if failure.recovery == Recovery.REGISTER:
                self._register_soon()
            raise failure from None

    def _register_soon(self) -> None:
        self._life.request_registration()
        self._wake()

    def _wake(self) -> None:
        if self._thread is not None:
            with self._changed:
                self._woken = True
                self._changed.notify_all()

    def _close(self) -> None:
        thread = self._thread
        if thread is None:
            return
        with self._changed:
            self._closing = True
            call = self._running_call
            self._changed.notify_all()
        if call is not None:
            call.cancel()
        thread.join(_JOIN_SECONDS)

    def _tell(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def _end(self, how: BaseException) -> None:
        with self._changed:
            self._ended = how
            self._changed.notify_all()

    def _wait_until(self, reached: Callable[[], bool], timeout: float | None) -> None:
        """Wait until `reached`. Raises TimeoutError, or whatever ended the client before."""
        if self._thread is None:
            raise Closed("enter the client first: `with agent:`")
        with self._changed:
            in_time = self._changed.wait_for(lambda: reached() or self._ended is not None, timeout)
            if not in_time:
                raise TimeoutError(f"not within {timeout} seconds")
            if not reached() and self._ended is not None:
                raise self._ended
