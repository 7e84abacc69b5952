"""What an answer to a probe means, from its HTTP status alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from provision_service.domain.probing import ProbeRequest, ProbeResult, TemplateProbe, Verdict

_UNAUTHORIZED: Final = 401
_FORBIDDEN: Final = 403
_TOO_MANY: Final = 429


def answered(request: ProbeRequest, probe: TemplateProbe, host: str, status: int) -> ProbeResult:
    """The result of a probe to which `host` said `status`."""
    if status in probe.expect:
        return _result(request, Verdict.OK, f"{host} accepts {request.env}", host, status)
    if status == _UNAUTHORIZED:
        return _meant(request, probe, probe.on_401, host, status)
    if status == _FORBIDDEN:
        return _meant(request, probe, probe.on_403, host, status)
    why = f"{host} answered {status}: {_explained(probe, status)}"
    return inconclusive(request, why, host, status)


def inconclusive(request: ProbeRequest, why: str, host: str = "", status: int = 0) -> ProbeResult:
    """The result of a probe that proved nothing; `why` is a clause without the value."""
    message = f"{request.env} could not be checked: {why}"
    return _result(request, Verdict.INCONCLUSIVE, message, host, status)


def skipped(request: ProbeRequest, why: str) -> ProbeResult:
    """The result of a probe that was not made."""
    return _result(request, Verdict.SKIP, f"{request.env} was not probed: {why}", "", 0)


def relabelled(result: ProbeResult, request: ProbeRequest) -> ProbeResult:
    """The same result for another request that led to the same question."""
    return replace(
        result,
        env=request.env,
        model=request.model,
        provider=request.provider.name if request.provider else "",
        is_model_credential=request.is_model_credential,
    )


def _explained(probe: TemplateProbe, status: int) -> str:
    if 300 <= status < 400:
        return "it redirects, and a credential is not carried along"
    if status == _TOO_MANY:
        return "it limits the rate of calls"
    if status >= 500:
        return "it has trouble of its own"
    expected = ", ".join(str(each) for each in sorted(probe.expect))
    return f"only {expected} would prove it"


def _meant(
    request: ProbeRequest, probe: TemplateProbe, verdict: Verdict, host: str, status: int
) -> ProbeResult:
    said = f"{host} answered {status}"
    if verdict is Verdict.MISSING_SCOPE:
        lacks = f"the scope {probe.scope}" if probe.scope else "a scope"
        message = f"{said}: {request.env} lacks {lacks}"
        return _result(request, verdict, message, host, status, missing_scope=probe.scope)
    if verdict is Verdict.INVALID:
        return _result(request, verdict, f"{said}: it refuses {request.env}", host, status)
    if verdict is Verdict.OK:
        return _result(request, verdict, f"{said}, which proves {request.env}", host, status)
    return inconclusive(request, f"{said}, which can mean several things", host, status)


def _result(
    request: ProbeRequest,
    verdict: Verdict,
    message: str,
    host: str,
    status: int,
    *,
    missing_scope: str = "",
) -> ProbeResult:
    metadata = {"env": request.env, "host": host}
    if missing_scope:
        metadata["scope"] = missing_scope
    return ProbeResult(
        env=request.env,
        verdict=verdict,
        host=host,
        http_status=status,
        missing_scope=missing_scope,
        message=message,
        model=request.model,
        provider=request.provider.name if request.provider else "",
        is_model_credential=request.is_model_credential,
        metadata={name: text for name, text in metadata.items() if text},
    )
