"""From the text of a templates file to templates, or to every reason why not."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import urlsplit

import yaml

from provision_service.catalogue.catalogue import Catalogue
from provision_service.catalogue.document import Problem, Reader
from provision_service.domain.environment_names import is_environment_name
from provision_service.domain.probing import Template, TemplateProbe, Verdict

SCHEMA_VERSION: Final = 1
MAX_PROBES: Final = 16
MAX_EXPECTED: Final = 16

BEARER: Final = "Authorization: Bearer {value}"
X_API_KEY: Final = "x-api-key: {value}"

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_HEADER_NAME: Final = re.compile(r"[A-Za-z0-9-]{1,64}")
# Without braces: they mark the place of the secret.
_HEADER_TEXT: Final = re.compile(r"[\x20-\x7a|~]{0,200}")
_SCOPE: Final = re.compile(r"[A-Za-z0-9:._/-]{1,64}")
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_OWN_HEADERS: Final = frozenset({"host", "connection", "content-length", "transfer-encoding"})
_MEANINGS: Final = {
    "ok": Verdict.OK,
    "invalid": Verdict.INVALID,
    "missing_scope": Verdict.MISSING_SCOPE,
    "inconclusive": Verdict.INCONCLUSIVE,
}


class TemplatesInvalid(ValueError):
    """A templates file that is refused, with every problem found in it."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = tuple(sorted(problems))
        super().__init__("\n".join(str(problem) for problem in self.problems))


def parse_templates(text: str, *, file: str, catalogue: Catalogue) -> dict[str, Template]:
    """Parse and check a templates file; TemplatesInvalid names file, line and remedy."""
    reader = Reader(file)
    root = reader.compose(text)
    if root is None:
        raise TemplatesInvalid(reader.problems)
    entries = reader.mapping(
        root,
        "the file",
        required=frozenset({"schema", "version", "templates"}),
        optional=frozenset(),
    )
    _check_schema(reader, entries.get("schema"))
    found: dict[str, Template] = {}
    for node in reader.items(entries.get("templates"), "templates"):
        template = _template(reader, node, catalogue)
        if template is None:
            continue
        if template.name in found:
            reader.blame(node, f"a second template `{template.name}`", "rename or remove one")
        found[template.name] = template
    reader.text(entries.get("version"), "version")
    if reader.problems:
        raise TemplatesInvalid(reader.problems)
    return found


def _check_schema(reader: Reader, node: yaml.Node | None) -> None:
    number = reader.integer(node, "schema")
    if node is not None and number is not None and number != SCHEMA_VERSION:
        remedy = f"write the file in schema {SCHEMA_VERSION}"
        reader.blame(node, f"schema {number} is not supported", remedy)


def _template(reader: Reader, node: yaml.Node, catalogue: Catalogue) -> Template | None:
    entries = reader.mapping(
        node,
        "a template",
        required=frozenset({"name"}),
        optional=frozenset({"runtime", "model", "required_env", "probes"}),
    )
    name = _matching(reader, entries.get("name"), "a template's name", _NAME)
    if not name:
        return None
    what = f"template `{name}`"
    probes = [
        _probe(reader, each, f"a probe of {what}")
        for each in reader.items(entries.get("probes"), f"probes of {what}")
    ]
    if len(probes) > MAX_PROBES:
        remedy = f"keep at most {MAX_PROBES}"
        reader.blame(entries["probes"], f"{what} has {len(probes)} probes", remedy)
    return Template(
        name=name,
        runtime=_runtime(reader, entries.get("runtime"), what, catalogue),
        model=reader.text(entries.get("model"), f"model of {what}"),
        required_env=_names(reader, entries.get("required_env"), f"required_env of {what}"),
        probes=tuple(probes),
    )


def _runtime(reader: Reader, node: yaml.Node | None, what: str, catalogue: Catalogue) -> str:
    runtime = reader.text(node, f"runtime of {what}")
    known = runtime in catalogue.runtimes or catalogue.has_no_entry_by_design(runtime)
    if node is not None and runtime and not known:
        remedy = f"name one of: {', '.join(sorted(catalogue.runtimes))}"
        reader.blame(node, f"runtime `{runtime}` of {what} is not in the catalogue", remedy)
    return runtime


def _names(reader: Reader, node: yaml.Node | None, what: str) -> tuple[str, ...]:
    names = reader.texts(node, what)
    for name, name_node in names.items():
        if not is_environment_name(name):
            reader.blame(name_node, f"`{name}` cannot name a variable", "use A-Z, 0-9 and _")
    return tuple(names)


def _probe(reader: Reader, node: yaml.Node, what: str) -> TemplateProbe:
    entries = reader.mapping(
        node,
        what,
        required=frozenset({"env", "url"}),
        optional=frozenset({"header", "headers", "expect", "unauthorized", "forbidden", "scope"}),
    )
    env = reader.text(entries.get("env"), f"env of {what}")
    if env and not is_environment_name(env):
        reader.blame(entries["env"], f"`{env}` cannot name a variable", "use A-Z, 0-9 and _")
    scope = _matching(reader, entries.get("scope"), f"scope of {what}", _SCOPE)
    unauthorized = _meaning(reader, entries.get("unauthorized"), what, Verdict.INVALID)
    otherwise = Verdict.MISSING_SCOPE if scope else Verdict.INCONCLUSIVE
    forbidden = _meaning(reader, entries.get("forbidden"), what, otherwise)
    if Verdict.MISSING_SCOPE in (unauthorized, forbidden) and not scope:
        reader.blame(node, f"{what} speaks of a missing scope without naming it", "add `scope`")
    lines = [_header(reader, entries.get("header"), what)]
    lines += _extra_headers(reader, entries.get("headers"), what)
    return TemplateProbe(
        env=env,
        url=_url(reader, entries.get("url"), what),
        header="\n".join(lines),
        expect=_expect(reader, entries.get("expect"), what),
        on_401=unauthorized,
        on_403=forbidden,
        scope=scope,
    )


def _url(reader: Reader, node: yaml.Node | None, what: str) -> str:
    url = reader.text(node, f"url of {what}")
    if node is None or not url:
        return url
    try:
        parts = urlsplit(url)
        port_is_fine = parts.port != 0
    except ValueError:
        reader.blame(node, f"url of {what} cannot be read", "write https://host/path")
        return url
    plain = parts.scheme == "http" and parts.hostname in _LOOPBACK
    if (parts.scheme != "https" and not plain) or not parts.hostname or not port_is_fine:
        reader.blame(node, f"url of {what} is not https", "write https://host/path")
    elif "@" in parts.netloc or parts.fragment or not url.isascii() or " " in url:
        remedy = "remove user, password, fragment and what is not ASCII"
        reader.blame(node, f"url of {what} holds more than an address", remedy)
    return url


def _header(reader: Reader, node: yaml.Node | None, what: str) -> str:
    """One line `Name: text` in which `{value}`, or `{basic:user}`, stands for the secret."""
    if node is None:
        return BEARER
    if isinstance(node, yaml.ScalarNode):
        form = {"bearer": BEARER, "x-api-key": X_API_KEY}.get(node.value)
        if form is None:
            remedy = "write bearer, x-api-key, {basic_user: …} or {name: …, prefix: …}"
            reader.blame(node, f"header of {what} is not known", remedy)
        return form or BEARER
    known = frozenset({"name", "prefix", "basic_user"})
    entries = reader.mapping(node, f"header of {what}", required=frozenset(), optional=known)
    if "basic_user" in entries:
        user = _free_text(reader, entries["basic_user"], f"basic_user of {what}")
        if len(entries) > 1 or ":" in user:
            remedy = "let basic_user stand alone, without a colon"
            reader.blame(node, f"header of {what} is two forms at once", remedy)
        return f"Authorization: Basic {{basic:{user}}}"
    name = _header_name(reader, entries.get("name"), node, what)
    prefix = _free_text(reader, entries.get("prefix"), f"prefix of {what}")
    return f"{name}: {prefix}{{value}}"


def _header_name(reader: Reader, node: yaml.Node | None, around: yaml.Node, what: str) -> str:
    if node is None:
        reader.blame(around, f"header of {what} has no `name`", "add `name` or `basic_user`")
        return ""
    name = _matching(reader, node, f"header name of {what}", _HEADER_NAME)
    if name.lower() in _OWN_HEADERS:
        reader.blame(node, f"header `{name}` of {what} is not free", "use another header")
    return name


def _extra_headers(reader: Reader, node: yaml.Node | None, what: str) -> list[str]:
    if node is None:
        return []
    if not isinstance(node, yaml.MappingNode):
        reader.blame(node, f"headers of {what} is not a mapping", "write it as `Name: text` lines")
        return []
    lines = []
    for key, value in node.value:
        name = _header_name(reader, key, node, what)
        lines.append(f"{name}: {_free_text(reader, value, f'header `{name}` of {what}')}")
    return lines


def _expect(reader: Reader, node: yaml.Node | None, what: str) -> frozenset[int]:
    if node is None:
        return frozenset({200})
    found: set[int] = set()
    for item in reader.items(node, f"expect of {what}"):
        status = reader.integer(item, f"an entry of expect of {what}")
        if status is not None and not 200 <= status <= 499:
            reader.blame(item, f"{status} proves nothing in {what}", "name statuses 200 to 499")
        elif status is not None:
            found.add(status)
    if not found or len(found) > MAX_EXPECTED:
        remedy = f"name 1 to {MAX_EXPECTED} statuses, or leave it out for 200"
        reader.blame(node, f"expect of {what} is not usable", remedy)
    return frozenset(found)


def _meaning(reader: Reader, node: yaml.Node | None, what: str, default: Verdict) -> Verdict:
    if node is None:
        return default
    word = reader.text(node, f"a meaning in {what}")
    if word not in _MEANINGS:
        remedy = f"write one of: {', '.join(_MEANINGS)}"
        reader.blame(node, f"`{word}` is no meaning of a status in {what}", remedy)
    return _MEANINGS.get(word, default)


def _matching(reader: Reader, node: yaml.Node | None, what: str, pattern: re.Pattern[str]) -> str:
    text = reader.text(node, what)
    if node is not None and text and not pattern.fullmatch(text):
        reader.blame(node, f"{what} has characters it may not have", f"match {pattern.pattern}")
        return ""
    return text


def _free_text(reader: Reader, node: yaml.Node | None, what: str) -> str:
    """A text in which white space at the ends counts, such as the prefix `token `."""
    if node is None:
        return ""
    if not isinstance(node, yaml.ScalarNode) or not _HEADER_TEXT.fullmatch(node.value):
        reader.blame(node, f"{what} is no header text", "use at most 200 printable characters")
        return ""
    return str(node.value)
