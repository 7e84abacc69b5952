"""A recipe that does not fit is refused with the file: where, what, and what to do."""

from __future__ import annotations

import pytest

from provision_service.catalogue.document import CatalogueInvalid
from provision_service.catalogue.parse import parse_catalogue
from tests.domain.provision_launches import CATALOGUE_TEXT

RECIPE = """\
      reads: [SIXTH_TOKEN, {name: OPENAI_API_KEY, vendor: openrouter}]
      routes: {switches: [SIXTH_PROFILE]}
      directories: [{env: SIXTH_HOME, path: settings}]
      ways:
        - for: [byok-openai]
          key: SIXTH_KEY
          speaks: openai
          env: {SIXTH_MODEL: '{model}'}
          arguments: [--model, '{model}']
          files:
            - path: settings/a.json
              mode: '0600'
              text: '{"url": "{endpoint}", "key": "${{key_env}}"}'
        - for: [platform]
          key: SIXTH_KEY
"""
RUNTIME = """
  - name: sixth
    recipe:
{recipe}    providers:
      - name: byok-openai
      - name: platform
        models: [sixth/one]
"""
FIRST_LINE = CATALOGUE_TEXT.count("\n") + 4

REFUSED: dict[str, tuple[str, str, str, str]] = {
    "a way for nobody": (
        "for: [platform]",
        "for: [nobody]",
        "unknown provider `nobody` in the recipe of runtime `sixth`",
        "use one of the providers of the runtime",
    ),
    "no way": (
        "        - for: [platform]\n          key: SIXTH_KEY\n",
        "",
        "the recipe of runtime `sixth` has no way for provider `platform`",
        "add one, or a way without `for`, which is for every other provider",
    ),
    "two ways": (
        "for: [platform]",
        "for: [platform, byok-openai]",
        "two ways for `byok-openai` in the recipe of runtime `sixth`",
        "keep one of them",
    ),
    "a placeholder that nothing fills in": (
        "{endpoint}",
        "{endpiont}",
        "a way of the recipe of runtime `sixth` uses `{endpiont}`, which nothing fills in",
        "use one of: endpoint, id, key_env, model, provider, workspace_id",
    ),
    "a secret in an argument": (
        "'{model}']",
        "'${SIXTH_KEY}']",
        (
            "the argument `${SIXTH_KEY}` of a way of the recipe of runtime `sixth` could show a"
            " secret in a list of processes"
        ),
        "put it into a file; only directories and files may be named with ${NAME}",
    ),
    "a credential whoever it belongs to": (
        "${{key_env}}",
        "${MINIMAX_API_KEY}",
        (
            "a way of the recipe of runtime `sixth` takes the credential `MINIMAX_API_KEY` whoever"
            " it belongs to"
        ),
        "write ${{key_env}}: the name of the one that pays",
    ),
    "a key at a stranger's": (
        "          key: SIXTH_KEY\n          speaks",
        "          speaks",
        (
            "the recipe of runtime `sixth` leaves the key of `byok-openai` under `OPENAI_API_KEY`,"
            " which the program sends to openrouter"
        ),
        "give that way a `key` that it does not send elsewhere",
    ),
    "the platform's key at a stranger's": (
        "        - for: [platform]\n          key: SIXTH_KEY\n",
        "        - for: [platform]\n",
        (
            "the recipe of runtime `sixth` leaves the key of `platform` under `OPENAI_API_KEY`,"
            " which the program sends to openrouter"
        ),
        "give that way a `key` that it does not send elsewhere",
    ),
    "the platform's own name for a tenant's key": (
        "          key: SIXTH_KEY\n          speaks",
        "          key: MOLECULE_LLM_USAGE_TOKEN\n          speaks",
        (
            "`MOLECULE_LLM_USAGE_TOKEN` in key of a way of the recipe of runtime `sixth` is not a"
            " recipe's to set"
        ),
        "choose a name that the platform and the box's loaders do not own",
    ),
    "a reserved name": (
        "SIXTH_MODEL:",
        "LD_PRELOAD:",
        "`LD_PRELOAD` in env of a way of the recipe of runtime `sixth` is not a recipe's to set",
        "choose a name that the platform and the box's loaders do not own",
    ),
    "a path that leaves the home": (
        "path: settings/a.json",
        "path: ../a.json",
        (
            "`../a.json` in path of a file of a way of the recipe of runtime `sixth` does not stay"
            " below the box's home"
        ),
        "write a relative path of plain names, joined by `/`",
    ),
    "a file that others can read": (
        "'0600'",
        "'0644'",
        "mode of a file of a way of the recipe of runtime `sixth` is 0644",
        "use 0600 or 0400",
    ),
    "a vendor that nobody knows": (
        "vendor: openrouter",
        "vendor: stranger",
        "unknown vendor `stranger` in the recipe of runtime `sixth`",
        "use one of the vendor of a provider",
    ),
    "a dialect that nobody speaks": (
        "speaks: openai",
        "speaks: gemini",
        "speaks of a way of the recipe of runtime `sixth` is unknown: `gemini`",
        "use one of: openai, anthropic",
    ),
    "a list of names that is unknown": (
        "switches:",
        "swiches:",
        "unknown key `swiches` in routes of the recipe of runtime `sixth`",
        "remove it or use one of: endpoints, headers, models, switches",
    ),
}


def with_recipe(recipe: str) -> str:
    return CATALOGUE_TEXT + RUNTIME.replace("{recipe}", recipe)


def test_a_recipe_that_fits_is_accepted() -> None:
    assert "sixth" in parse_catalogue(with_recipe(RECIPE), file="sixth.yaml").runtimes


@pytest.mark.parametrize("case", REFUSED)
def test_a_recipe_is_refused_with_where_what_and_remedy(case: str) -> None:
    old, new, what, remedy = REFUSED[case]
    assert RECIPE.count(old) >= 1
    with pytest.raises(CatalogueInvalid) as invalid:
        parse_catalogue(with_recipe(RECIPE.replace(old, new, 1)), file="sixth.yaml")
    problems = invalid.value.problems
    assert (what, remedy) in [(problem.what, problem.remedy) for problem in problems]
    assert {problem.file for problem in problems} == {"sixth.yaml"}
    assert min(problem.line for problem in problems) >= FIRST_LINE


def test_a_runtime_without_a_recipe_is_launched_as_before() -> None:
    text = CATALOGUE_TEXT + "\n  - name: sixth\n    providers:\n      - name: byok-openai\n"
    assert parse_catalogue(text, file="sixth.yaml").runtimes["sixth"].recipe is None
