"""Everything that a catalogue file is refused for, each with line and remedy."""

from __future__ import annotations

import json

import jsonschema
import pytest
import yaml

from provision_service.catalogue.document import CatalogueInvalid, Problem
from provision_service.catalogue.parse import parse_catalogue
from tests.domain.provision_launches import CATALOGUE_FILE, CATALOGUE_TEXT, edited


def problems(text: str) -> list[Problem]:
    with pytest.raises(CatalogueInvalid) as caught:
        parse_catalogue(text, file="catalogue.yaml")
    return list(caught.value.problems)


def line_with(text: str, piece: str) -> int:
    return next(n for n, line in enumerate(text.splitlines(), 1) if piece in line)


GROQ = "  - name: groq\n    display_name: Groq\n"
LAST_PATTERN = "    pattern: '^groq:'\n"
ADK = "      - name: google\n        models:\n          - gemini-2.5-pro\n"


REFUSED = [
    (
        "an unknown provider in a runtime",
        (ADK, "      - name: gogle\n        models:\n          - gemini-2.5-pro\n"),
        "runtime `google-adk` names an unknown provider `gogle`",
        "declare it under providers",
    ),
    (
        "a provider twice in a runtime",
        (ADK, "      - name: google\n" + ADK),
        "runtime `google-adk` names provider `google` twice",
        "merge the two menus",
    ),
    (
        "a second provider of a name",
        (GROQ, "  - name: openai-api\n    display_name: Groq\n"),
        "a second provider `openai-api`",
        "rename or remove one of them",
    ),
    (
        "a second platform",
        (GROQ, "  - name: platform\n    display_name: Groq\n"),
        "a second `platform`",
        "rename or remove one of them",
    ),
    (
        "a provider without a name",
        (GROQ, "  - display_name: Groq\n"),
        "a provider has no `name`",
        "add `name`",
    ),
    (
        "a blank name",
        (GROQ, "  - name: ' '\n    display_name: Groq\n"),
        "a provider's name is blank",
        "give it a value",
    ),
    (
        "a name in capitals",
        (GROQ, "  - name: Platform\n    display_name: Groq\n"),
        "`Platform` is not a provider name",
        "use lower-case letters and digits, joined by single hyphens",
    ),
    (
        "an empty auth_env",
        ("    auth_env: [ARCEE_API_KEY]", "    auth_env: []"),
        "auth_env of provider `arcee` is empty",
        "name the credentials it accepts",
    ),
    (
        "a credential twice",
        ("    auth_env: [ARCEE_API_KEY]", "    auth_env: [ARCEE_API_KEY, ARCEE_API_KEY]"),
        "`ARCEE_API_KEY` stands twice in auth_env of provider `arcee`",
        "keep one of them",
    ),
    (
        "a pattern that does not compile",
        (LAST_PATTERN, "    pattern: '^groq:('\n"),
        "pattern of provider `groq` does not compile: missing ): ^groq:(",
        "write it in RE2 syntax",
    ),
    (
        "a pattern that only other engines know",
        (LAST_PATTERN, "    pattern: '^(?!x)groq'\n"),
        "pattern of provider `groq` does not compile: invalid perl operator: (?!",
        "write it in RE2 syntax",
    ),
    (
        "an unknown protocol",
        (
            "    display_name: Arcee\n    protocol: openai",
            "    display_name: Arcee\n    protocol: grpc",
        ),
        "protocol of provider `arcee` is unknown: `grpc`",
        "use one of: anthropic, openai",
    ),
    (
        "an unknown auth_mode",
        ("    auth_mode: wif_adc", "    auth_mode: magic"),
        "auth_mode of provider `vertex` is unknown: `magic`",
        "use one of: anthropic_api, oauth, third_party_anthropic_compat, wif_adc",
    ),
    (
        "an unknown key",
        (LAST_PATTERN, LAST_PATTERN + "    colour: red\n"),
        "unknown key `colour` in a provider",
        ("remove it or use one of: aliases, anthropic_base_url, auth_env, auth_mode,"
        " auth_token_env, base_url, display_name, id_prefixes, name, pattern, protocol, vendor"),
    ),
    (
        "a key twice",
        (LAST_PATTERN, LAST_PATTERN + LAST_PATTERN),
        "`pattern` stands twice in a provider",
        "keep one of them",
    ),
    (
        "a number for a text",
        ("    display_name: Arcee", "    display_name: 2.5"),
        "display_name of provider `arcee` is not a text",
        "write a text, in quotes if it looks otherwise",
    ),
    (
        "a text for a list",
        ("    auth_env: [ARCEE_API_KEY]", "    auth_env: ARCEE_API_KEY"),
        "auth_env of provider `arcee` is not a list",
        "write it as `- item` lines",
    ),
    (
        "a text for a truth value",
        ("    anthropic_native_proxy: true", "    anthropic_native_proxy: 'true'"),
        "anthropic_native_proxy of runtime `claude-code` is neither true nor false",
        "write `true` or `false`",
    ),
    (
        "white space around a model id",
        ("          - kimi-k2.5\n", "          - 'kimi-k2.5 '\n"),
        "a model id in models of `kimi-coding` in runtime `claude-code` has white space around it",
        "remove that white space",
    ),
    (
        "a model twice on a menu",
        ("          - kimi-k2.5\n", "          - kimi-k2.5\n          - kimi-k2.5\n"),
        "model `kimi-k2.5` stands twice in models of `kimi-coding` in runtime `claude-code`",
        "keep one of them",
    ),
    (
        "a second runtime of a name",
        ("  - name: google-adk\n", "  - name: codex\n"),
        "a second runtime `codex`",
        "rename or remove one",
    ),
    (
        "a runtime that also has no entry",
        ("  virtual: [mock]", "  virtual: [codex]"),
        "runtime `codex` also stands in runtimes_without_entry",
        "keep it in one place",
    ),
    (
        "a runtime in both lists without entry",
        ("  virtual: [mock]", "  virtual: [mock, kimi]"),
        "runtime `kimi` stands in both lists",
        "keep one",
    ),
    (
        "an unsupported schema",
        ("schema: 1\n", "schema: 2\n"),
        "schema 2 is not supported",
        "write the file in schema 1",
    ),
    (
        "a schema that is no number",
        ("schema: 1\n", "schema: 0x1\n"),
        "schema is not a whole number",
        "write plain digits",
    ),
    (
        "an unknown default runtime",
        ("default_runtime: claude-code", "default_runtime: claude"),
        "default_runtime `claude` is no runtime",
        "name one of the runtimes",
    ),
    (
        "a default model that nothing serves",
        ("    default_model: sonnet", "    default_model: minstrel"),
        "default_model `minstrel` is served by no provider of runtime `claude-code`",
        "put it on a menu or choose another",
    ),
    (
        "an alias that the pattern does not find",
        ("    aliases: [sonnet, opus, haiku]", "    aliases: [sonnet, opus, limerick]"),
        "alias `limerick` of provider `anthropic-oauth` is not found by its pattern",
        "widen the pattern or remove the alias: nothing else makes it derive",
    ),
    (
        "the usage token claimed by a vendor",
        ("    auth_env: [ARCEE_API_KEY]", "    auth_env: [MOLECULE_LLM_USAGE_TOKEN]"),
        "provider `arcee` claims `MOLECULE_LLM_USAGE_TOKEN`",
        "remove it: the usage token is the platform's alone",
    ),
    (
        "the platform's proxy claimed by a vendor",
        ("    base_url: https://api.groq.com/openai/v1", "    base_url: ${PLATFORM_LLM_BASE_URL}"),
        "base_url of provider `groq` is the platform's proxy",
        "give the vendor's own endpoint",
    ),
    (
        "the platform's anthropic proxy claimed by a vendor",
        (
            "    base_url: https://api.groq.com/openai/v1",
            "    anthropic_base_url: ${PLATFORM_LLM_ANTHROPIC_BASE_URL}/x",
        ),
        "anthropic_base_url of provider `groq` is the platform's proxy",
        "give the vendor's own endpoint",
    ),
    (
        "a platform with another credential",
        ("    auth_env: [MOLECULE_LLM_USAGE_TOKEN]", "    auth_env: [OTHER_TOKEN]"),
        "auth_env of `platform` is changed",
        "leave it at [MOLECULE_LLM_USAGE_TOKEN]",
    ),
    (
        "a platform with another address",
        ("    base_url: '${PLATFORM_LLM_BASE_URL}'", "    base_url: https://elsewhere.test"),
        "base_url of `platform` is changed",
        "leave it at ${PLATFORM_LLM_BASE_URL}",
    ),
    (
        "an endpoint in plain http",
        ("    base_url: https://api.groq.com/openai/v1", "    base_url: http://api.groq.com/v1"),
        "base_url of provider `groq` is no endpoint",
        "write https://host/path without a trailing slash (http only for loopback)",
    ),
    (
        "an endpoint with a trailing slash",
        ("    base_url: https://api.groq.com/openai/v1", "    base_url: https://api.groq.com/v1/"),
        "base_url of provider `groq` is no endpoint",
        "write https://host/path without a trailing slash (http only for loopback)",
    ),
    (
        "a reserved credential name",
        ("    auth_env: [ARCEE_API_KEY]", "    auth_env: [MOLECULE_KEY]"),
        "`MOLECULE_KEY` in auth_env of provider `arcee` is no name a tenant can set",
        "use letters, digits and underscores, and none of the reserved names",
    ),
    (
        "a forbidden credential name",
        ("    auth_env: [ARCEE_API_KEY]", "    auth_env: [GITHUB_TOKEN]"),
        "`GITHUB_TOKEN` of provider `arcee` is no name for a credential",
        "use one that is not forbidden, retired or an endpoint",
    ),
    (
        "a reserved auth_token_env",
        (
            "    auth_env: [ARCEE_API_KEY]\n    auth_token_env: ANTHROPIC_AUTH_TOKEN",
            "    auth_env: [ARCEE_API_KEY]\n    auth_token_env: PATH",
        ),
        "auth_token_env `PATH` of provider `arcee` is no name a runtime reads a credential from",
        "use letters, digits and underscores, and none of the reserved names",
    ),
    (
        "a reserved extra model name",
        ("    extra_model_env: HERMES_DEFAULT_MODEL", "    extra_model_env: LD_PRELOAD"),
        "extra_model_env `LD_PRELOAD` of runtime `hermes` is no free environment name",
        "use letters, digits and underscores, and none of the reserved names",
    ),
    (
        "a dual-use name that nothing accepts",
        ("    - OLLAMA_HOST\n", "    - OLLAMA_HOSTS\n"),
        "`OLLAMA_HOSTS` in environment.dual_use is not in the auth_env of a provider",
        "add it there or remove it here",
    ),
    (
        "a shared name accepted for a provider that is not there",
        ("    - byok-anthropic\n  # Never", "    - byok-anthropics\n  # Never"),
        ("`byok-anthropics` in environment.shared_accepted_globally_by is not in the list of"
        " providers"),
        "add it there or remove it here",
    ),
    (
        "a name that is no environment name",
        ("    - NOUS_API_KEY\n", "    - NOUS-API-KEY\n"),
        "`NOUS-API-KEY` in environment.extra_credentials is no environment name",
        "use letters, digits and underscores",
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    ("change", "what", "remedy"),
    [case[1:] for case in REFUSED],
    ids=[case[0] for case in REFUSED],
)
def test_a_catalogue_is_refused_with_what_and_remedy(
    change: tuple[str, str], what: str, remedy: str
) -> None:
    found = problems(edited(change))
    assert (what, remedy) in [(problem.what, problem.remedy) for problem in found]


def test_a_runtime_without_providers_is_refused() -> None:
    start = CATALOGUE_TEXT.index("  - name: google-adk\n")
    text = CATALOGUE_TEXT[:start] + "  - name: google-adk\n    providers: []\n"
    assert [(p.what, p.remedy) for p in problems(text)] == [
        ("runtime `google-adk` has no providers", "give it at least one")
    ]


@pytest.mark.parametrize(
    ("piece", "replaced"),
    [
        ("    pattern: '^groq:'", "    pattern: '^groq:('"),
        ("    display_name: Arcee", "    display_name: 2.5"),
        ("    aliases: [sonnet, opus, haiku]", "    aliases: [limerick]"),
    ],
)
def test_a_problem_names_file_and_line(piece: str, replaced: str) -> None:
    found = problems(edited((piece, replaced)))
    assert [problem.line for problem in found] == [line_with(CATALOGUE_TEXT, piece)]
    assert str(found[0]).startswith(f"catalogue.yaml:{line_with(CATALOGUE_TEXT, piece)}: ")


def test_every_problem_is_reported_in_line_order_not_only_the_first() -> None:
    found = problems(
        edited(
            (LAST_PATTERN, "    pattern: '('\n"),
            ("schema: 1\n", "schema: 7\n"),
            ("    auth_mode: wif_adc", "    auth_mode: magic"),
        )
    )
    assert len(found) == 3
    assert [problem.line for problem in found] == sorted(problem.line for problem in found)


@pytest.mark.parametrize("key", [
    "schema", "version", "default_runtime", "runtimes_without_entry", "environment", "providers",
    "runtimes",
])  # fmt: skip
def test_a_missing_part_is_refused(key: str) -> None:
    document = yaml.safe_load(CATALOGUE_TEXT)
    del document[key]
    found = problems(yaml.safe_dump(document, sort_keys=False))
    assert f"the catalogue has no `{key}`" in [problem.what for problem in found]


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        ("", 1, "the file is empty"),
        ("# nothing\n", 1, "the file is empty"),
        ("- a\n", 1, "the catalogue is not a mapping"),
        ("schema: 1\nproviders: [\n", 3, "not valid YAML: "),
        ("a: 1\n---\nb: 2\n", 2, "not valid YAML: but found another document"),
        ("a: 1\nb: \x07\n", 2, "not valid YAML: special characters are not allowed"),
        ("a: *nothing\n", 1, "not valid YAML: found undefined alias"),
    ],
)
def test_a_file_that_is_no_catalogue_names_the_line(text: str, line: int, what: str) -> None:
    first = problems(text)[0]
    assert first.line == line
    assert first.what.startswith(what)


def test_the_shipped_catalogue_fits_its_schema() -> None:
    schema = json.loads((CATALOGUE_FILE.parent / "catalogue.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(yaml.safe_load(CATALOGUE_TEXT), schema)


SCHEMA_SEES = [
    case for case in REFUSED
    if case[0] in {
        "a provider without a name", "a name in capitals", "an empty auth_env",
        "a credential twice", "an unknown protocol", "an unknown auth_mode", "an unknown key",
        "a number for a text", "a text for a list", "a text for a truth value",
        "an unsupported schema", "a name that is no environment name",
    }
]  # fmt: skip


@pytest.mark.parametrize("case", SCHEMA_SEES, ids=lambda case: case[0])
def test_an_editor_sees_what_a_schema_can_say(case: tuple[str, tuple[str, str], str, str]) -> None:
    schema = json.loads((CATALOGUE_FILE.parent / "catalogue.schema.json").read_text())
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(yaml.safe_load(edited(case[1])), schema)
