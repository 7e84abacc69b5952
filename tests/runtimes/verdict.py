"""Compares what was seen with what had to be seen; a verdict is a list of complaints."""

from __future__ import annotations

from collections.abc import Mapping

from tests.runtimes.arrivals import Arrival, asks_a_model
from tests.runtimes.boxes import Run
from tests.runtimes.cases import SHORT_NAMES, Case, Seen


def complaints(case: Case, run: Run, secrets: Mapping[str, str], workspace: str) -> list[str]:
    """Everything that is not as it had to be; empty when the case is proven."""
    if case.seen is None:
        return [_stray(each, secrets) for each in run.arrivals if each.credentials(secrets)]
    found = [] if run.answered else [f"the program did not answer: {_last_words(run)}"]
    return found + about_arrivals(case.seen, case.model, run, secrets, workspace)


def about_arrivals(
    seen: Seen, model: str, run: Run, secrets: Mapping[str, str], workspace: str
) -> list[str]:
    """The same, of a program that need not have been answered."""
    found = []
    calls = [each for each in run.arrivals if asks_a_model(each)]
    if not calls:
        found.append("no call to a model arrived anywhere")
    for arrival in run.arrivals:
        if arrival.origin != seen.origin or arrival.via:
            found.append(_stray(arrival, secrets))
            continue
        sent = arrival.credentials(secrets)
        # A list of models may be asked for with the same credential in another header.
        header = seen.header if asks_a_model(arrival) else next(iter(sent), "")
        allowed = dict.fromkeys(filter(None, (header, seen.also)), seen.credential)
        if header in ("body", "path") or not sent.items() <= allowed.items():
            found.append(f"{arrival.path} carries {_told(sent)}, not {_told(allowed)} alone")
        if asks_a_model(arrival):
            found += _about_a_call(arrival, model, seen, sent, workspace)
    return found + _about_names(seen, run)


def _about_a_call(
    arrival: Arrival, asked: str, seen: Seen, sent: Mapping[str, str], workspace: str
) -> list[str]:
    found = []
    if not sent:
        found.append(f"{arrival.path} carries no credential, not {seen.credential}")
    beginning = SHORT_NAMES.get(asked.removeprefix("anthropic:"))
    right = (
        arrival.model.startswith(beginning)
        if beginning is not None
        else arrival.model == seen.model
    )
    if not right:
        found.append(f"{arrival.path} asks for the model {arrival.model!r}, not {seen.model!r}")
    expected = workspace if seen.workspace else ""
    if arrival.workspace != expected:
        found.append(f"{arrival.path} says workspace {arrival.workspace!r}, not {expected!r}")
    return found


def _about_names(seen: Seen, run: Run) -> list[str]:
    """A name that is looked up tells somebody, even if nothing is sent there."""
    host = seen.origin.partition("://")[2].partition(":")[0]
    strangers = sorted(name for name in run.asked if name not in (host, "localhost"))
    heard = {arrival.host for arrival in run.arrivals}
    return [f"looked up {name}" for name in strangers if name not in heard]


def _stray(arrival: Arrival, secrets: Mapping[str, str]) -> str:
    carried = arrival.credentials(secrets)
    what = f"with {_told(carried)}" if carried else "without a credential"
    by_way = f" by way of {arrival.via}" if arrival.via else ""
    return f"{arrival.method} {arrival.origin}{arrival.path}{by_way}, {what}"


def _told(sent: Mapping[str, str]) -> str:
    return ", ".join(f"{name} in {place}" for place, name in sent.items()) or "nothing"


def _last_words(run: Run) -> str:
    lines = [line for line in run.output.splitlines() if line.strip()]
    ended = "did not end" if run.code is None else f"left with {run.code}"
    return f"{ended}; {' / '.join(lines[-4:])[-500:] or 'it said nothing'}"
