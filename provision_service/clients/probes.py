"""Asks vendors whether they take a credential: all at once, briefly, and only where allowed.

It uses the standard library's HTTP client, because what matters is to connect to the very address
that was checked: pinning it takes ten lines there, and there are no redirects, proxies from the
environment or pools to switch off. Values are never logged.
"""

from __future__ import annotations

import contextlib
import contextvars
import http.client
import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Final

from agentworkspace.core import tracing
from agentworkspace.core.public_urls import (
    Address,
    literal_address,
    looks_like_odd_address,
    why_forbidden,
)
from agentworkspace.service.name_resolution import AskForAddresses, ask_system
from provision_service.clients import probe_verdicts
from provision_service.clients.probe_plan import Asked, NotAsked, plan
from provision_service.domain.probing import ProbeRequest, ProbeResult

BUDGET: Final = timedelta(seconds=3)
_MAX_RUNNING: Final = 128
_AGENT: Final = "agentworkspace-probe/1"


class _Blocked(Exception):
    """Nothing may be sent there; the text says why."""


@dataclass(slots=True)
class _Flight:
    """One probe on its way. Whoever gives up on it closes its socket, which ends its thread."""

    request: ProbeRequest
    host: str
    result: ProbeResult | None = None
    connection: http.client.HTTPConnection | None = None
    done: threading.Event = field(default_factory=threading.Event)


class VendorProber:
    """Implements `Prober`. `budget` bounds a whole batch, slow name servers included; `platform`
    maps the catalogue's placeholders to URLs.
    """

    def __init__(
        self,
        *,
        platform: Mapping[str, str],
        resolver: AskForAddresses = ask_system,
        allow_private: bool = False,
        allow_loopback_http: bool = False,
        tls: Callable[[], ssl.SSLContext] = ssl.create_default_context,
        budget: timedelta = BUDGET,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._platform = platform
        self._resolver = resolver
        self._allow_private = allow_private
        self._allow_loopback_http = allow_loopback_http
        self._tls = tls()
        self._budget = budget.total_seconds()
        self._monotonic = monotonic
        self._tracer = tracing.recorder()
        # Threads stuck in a name look-up outlive their batch, so their number has a bound.
        self._room = threading.BoundedSemaphore(_MAX_RUNNING)

    def probe(self, requests: Sequence[ProbeRequest]) -> Sequence[ProbeResult]:
        """One result for each request, in their order, within the budget.

        The same question is put once: a menu has many models behind one endpoint and key.
        """
        give_up_at = self._monotonic() + self._budget
        skipped: dict[int, ProbeResult] = {}
        flights: dict[Asked, _Flight] = {}
        asked: dict[int, Asked] = {}
        for index, request in enumerate(requests):
            try:
                question = plan(request, self._platform)
            except NotAsked as error:
                skipped[index] = probe_verdicts.skipped(request, str(error))
                continue
            asked[index] = question
            if question not in flights:
                flights[question] = self._start(request, question, give_up_at)
        for flight in flights.values():
            flight.done.wait(max(0.0, give_up_at - self._monotonic()))
        landed = {question: self._landed(flight) for question, flight in flights.items()}
        return [
            skipped[index]
            if index in skipped
            else probe_verdicts.relabelled(landed[asked[index]], request)
            for index, request in enumerate(requests)
        ]

    def _start(self, request: ProbeRequest, asked: Asked, give_up_at: float) -> _Flight:
        flight = _Flight(request, asked.host)
        if not self._room.acquire(blocking=False):
            busy = "too many probes are running"
            flight.result = probe_verdicts.inconclusive(request, busy, asked.host)
            flight.done.set()
            return flight
        # With the context of the call, so that its span is the probe's parent.
        fly = partial(contextvars.copy_context().run, self._fly, flight, asked, give_up_at)
        threading.Thread(target=fly, name="probe", daemon=True).start()
        return flight

    def _fly(self, flight: _Flight, asked: Asked, give_up_at: float) -> None:
        try:
            flight.result = self._ask(flight, asked, give_up_at)
        except _Blocked as error:
            flight.result = probe_verdicts.inconclusive(flight.request, str(error), asked.host)
        except ssl.SSLError:
            why = f"{asked.host} has no certificate that can be trusted"
            flight.result = probe_verdicts.inconclusive(flight.request, why, asked.host)
        except TimeoutError:
            flight.result = None
        except (OSError, http.client.HTTPException, UnicodeError, ValueError):
            why = f"{asked.host} could not be reached"
            flight.result = probe_verdicts.inconclusive(flight.request, why, asked.host)
        finally:
            self._room.release()
            flight.done.set()

    def _ask(self, flight: _Flight, asked: Asked, give_up_at: float) -> ProbeResult:
        # Neither path nor header: either may carry the credential.
        about = {"http.request.method": "GET", "server.address": asked.host}
        with tracing.client_span(self._tracer, "GET", about) as span:
            status = self._status_of(flight, asked, give_up_at)
            if span is not None:
                span.set_attribute("http.response.status_code", status)
        return probe_verdicts.answered(flight.request, asked.probe, asked.host, status)

    def _status_of(self, flight: _Flight, asked: Asked, give_up_at: float) -> int:
        address = self._checked_address(asked)
        left = give_up_at - self._monotonic()
        if left <= 0:
            raise TimeoutError
        connection = _pinned(asked, address, self._tls, left)
        flight.connection = connection
        try:
            connection.request(
                "GET", asked.target, headers={**dict(asked.headers), "User-Agent": _AGENT}
            )
            # Only the status is read; a body could be anything of any length.
            return connection.getresponse().status
        finally:
            connection.close()

    def _checked_address(self, asked: Asked) -> Address:
        """The address to connect to; every address of the name must be allowed."""
        literal = literal_address(asked.host)
        if literal is None and looks_like_odd_address(asked.host):
            raise _Blocked("the host is an address in an unusual spelling")
        addresses = [literal] if literal is not None else self._resolver(asked.host)
        if not addresses:
            raise _Blocked(f"{asked.host} has no address")
        for address in addresses:
            why = self._why_blocked(asked, address)
            if why is not None:
                raise _Blocked(f"{asked.host} leads to an address that may not be asked ({why})")
        return addresses[0]

    def _why_blocked(self, asked: Asked, address: Address) -> str | None:
        if not asked.tls:
            # Plain text is for this very machine, and only when the operator says so.
            if address.is_loopback and self._allow_loopback_http:
                return None
            return "plain http"
        if address.is_loopback and self._allow_private:
            return None
        return why_forbidden(address, allow_private=self._allow_private)

    def _landed(self, flight: _Flight) -> ProbeResult:
        result = flight.result
        if result is None:
            _hang_up(flight.connection)
            why = f"{flight.host} did not answer within {self._budget:g} s"
            result = probe_verdicts.inconclusive(flight.request, why, flight.host)
        return result


class _PinnedHttp(http.client.HTTPConnection):
    """Connects to an address that was chosen before; the name only goes into `Host`."""

    def __init__(self, asked: Asked, address: Address, timeout: float) -> None:
        super().__init__(asked.host, asked.port, timeout=timeout)
        self._pinned = (str(address), asked.port)

    def connect(self) -> None:
        self.sock = socket.create_connection(self._pinned, self.timeout)


class _PinnedHttps(_PinnedHttp):
    """The same under TLS: the certificate is checked for the name."""

    def __init__(
        self, asked: Asked, address: Address, context: ssl.SSLContext, timeout: float
    ) -> None:
        super().__init__(asked, address, timeout)
        self._context = context

    def connect(self) -> None:
        super().connect()
        self.sock = self._context.wrap_socket(self.sock, server_hostname=self.host)


def _pinned(
    asked: Asked, address: Address, context: ssl.SSLContext, timeout: float
) -> http.client.HTTPConnection:
    if asked.tls:
        return _PinnedHttps(asked, address, context, timeout)
    return _PinnedHttp(asked, address, timeout)


def _hang_up(connection: http.client.HTTPConnection | None) -> None:
    """Wake a thread that still waits for bytes: closing alone would not."""
    sock = connection.sock if connection is not None else None
    if sock is not None:
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)
