"""What the campaign calls proven, and that its data say something about every name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from provision_service.catalogue.parse import parse_catalogue
from tests.domain.provision_launches import launch
from tests.runtimes import older, results
from tests.runtimes.answers import KNOWN
from tests.runtimes.arrivals import Arrival
from tests.runtimes.boxes import Run
from tests.runtimes.campaign import about_a_lure, first_of_each_mode
from tests.runtimes.cases import BY_KEY, CASES, MANAGED, PLATFORM, USAGE_TOKEN
from tests.runtimes.further import SHIPPED, edited_catalogue
from tests.runtimes.hostile import catalogue, routes_of, temptations
from tests.runtimes.launches import Launched
from tests.runtimes.lures import LURES, STRANGER, UNSHOWN, Lure
from tests.runtimes.programs import programs
from tests.runtimes.values import parts_of, value_of
from tests.runtimes.verdict import complaints

TOKEN = value_of(USAGE_TOKEN, "a tenant")
KEY = value_of("ANTHROPIC_API_KEY", "a tenant")
SECRETS = {USAGE_TOKEN: TOKEN, "ANTHROPIC_API_KEY": KEY}
WORKSPACE = "8970e341-19c0-4003-89a7-67a61aa47fb6"
MANAGED_CLAUDE = next(
    case for case in CASES if (case.runtime, case.mode) == ("claude-code", MANAGED)
)


LURE = Lure(runtime="claude-code", mode=MANAGED, variables={"ANTHROPIC_BASE_URL": STRANGER})


def call(**changed: Any) -> Arrival:
    usual: dict[str, Any] = {
        "host": "llm.platform.test",
        "port": 8443,
        "secure": True,
        "method": "POST",
        "target": "/anthropic/v1/messages",
        "headers": {"x-api-key": TOKEN, "x-molecule-workspace-id": WORKSPACE},
        "body": b'{"model": "anthropic/claude-opus-4-7"}',
    }
    return Arrival(**{**usual, **changed})


def verdict(*arrivals: Arrival, output: str = KNOWN, asked: tuple[str, ...] = ()) -> list[str]:
    run = Run(output=output, code=0, arrivals=arrivals, asked=frozenset(asked))
    return complaints(MANAGED_CLAUDE, run, SECRETS, WORKSPACE)


def test_a_launch_is_proven_when_only_the_right_host_saw_the_right_things() -> None:
    assert verdict(call(), asked=("llm.platform.test",)) == []


@pytest.mark.parametrize(
    ("arrival", "said"),
    [
        (
            call(host="stranger.test", port=3128),
            (
                "POST https://stranger.test:3128/anthropic/v1/messages, "
                "with the platform's usage token in x-api-key"
            ),
        ),
        (
            call(via="stranger.test:3128"),
            (
                f"POST {PLATFORM}/anthropic/v1/messages by way of stranger.test:3128, "
                "with the platform's usage token in x-api-key"
            ),
        ),
        (
            call(secure=False),
            (
                "POST http://llm.platform.test:8443/anthropic/v1/messages, "
                "with the platform's usage token in x-api-key"
            ),
        ),
        (
            call(headers={"x-api-key": KEY, "x-molecule-workspace-id": WORKSPACE}),
            (
                "/anthropic/v1/messages carries ANTHROPIC_API_KEY in x-api-key, "
                "not the platform's usage token in x-api-key alone"
            ),
        ),
        (
            call(headers={"x-api-key": TOKEN}),
            f"/anthropic/v1/messages says workspace '', not '{WORKSPACE}'",
        ),
        (
            call(body=b'{"model": "claude-stray"}'),
            (
                "/anthropic/v1/messages asks for the model 'claude-stray', "
                "not 'anthropic/claude-opus-4-7'"
            ),
        ),
    ],
)
def test_every_way_to_go_astray_is_a_complaint(arrival: Arrival, said: str) -> None:
    assert said in verdict(arrival)


def test_a_key_in_the_body_is_a_complaint_even_at_the_right_host() -> None:
    leaky = call(body=f'{{"model": "anthropic/claude-opus-4-7", "env": "{TOKEN}"}}'.encode())
    (said,) = verdict(leaky)
    assert "the platform's usage token in body" in said


def test_silence_and_a_mere_look_up_are_complaints() -> None:
    assert verdict(output="Not logged in", asked=("stranger.test",)) == [
        "the program did not answer: left with 0; Not logged in",
        "no call to a model arrived anywhere",
        "looked up stranger.test",
    ]


def test_a_box_without_a_model_may_ask_anybody_but_show_nobody_a_key() -> None:
    disabled = next(case for case in CASES if case.seen is None)
    bare, armed = call(headers={}), call(host="api.anthropic.com")

    def told(*arrivals: Arrival) -> list[str]:
        run = Run(output="", code=1, arrivals=arrivals, asked=frozenset())
        return complaints(disabled, run, SECRETS, WORKSPACE)

    assert told(bare) == []
    assert len(told(bare, armed)) == 1


def test_a_short_name_means_what_the_programs_version_says() -> None:
    seen = replace(MANAGED_CLAUDE, model="anthropic:sonnet")
    run = Run(
        output=KNOWN,
        code=0,
        arrivals=(call(body=b'{"model": "claude-sonnet-5-5"}'),),
        asked=frozenset(),
    )
    assert complaints(seen, run, SECRETS, WORKSPACE) == []


def on_the_map_alone(program: str, mode: str, *arrivals: Arrival, said: str = "") -> list[str]:
    case = next(each for each in CASES if (each.run_by, each.mode) == (program, mode))
    steps = frozenset({said})
    launched = Launched(
        workspace=WORKSPACE,
        environment={},
        provision="",
        steps=steps,
        passing={},
        secrets={**SECRETS, "KIMI_API_KEY": value_of("KIMI_API_KEY", "a tenant")},
    )
    run = Run(output=KNOWN, code=0, arrivals=arrivals, asked=frozenset())
    return older.complaints(case, run, launched)


def test_a_program_that_runs_on_the_map_alone_has_to_do_so_in_full() -> None:
    assert on_the_map_alone("claude-code", MANAGED, call()) == []
    assert on_the_map_alone("claude-code", MANAGED) == ["no call to a model arrived anywhere"]


def test_on_the_map_alone_a_credential_goes_where_it_went_and_nowhere_else() -> None:
    key = {"authorization": f"Bearer {value_of('KIMI_API_KEY', 'a tenant')}"}
    right, wrong = (
        call(host=host, port=443, headers=key) for host in ("api.moonshot.ai", "x.test")
    )
    assert on_the_map_alone("hermes", BY_KEY, right) == []
    assert on_the_map_alone("hermes", BY_KEY, right, wrong) == [
        "https://x.test was shown KIMI_API_KEY"
    ]
    assert on_the_map_alone("hermes", BY_KEY) == [
        "https://api.moonshot.ai was not asked with KIMI_API_KEY"
    ]


def test_the_platforms_token_is_not_shown_on_the_map_alone_and_the_answer_says_so() -> None:
    renamed = "environment.renamed"
    shown = call(host="openrouter.ai", port=443)
    assert on_the_map_alone("hermes", MANAGED, said=renamed) == []
    assert on_the_map_alone("hermes", MANAGED, shown, said=renamed) == [
        f"https://openrouter.ai was shown {USAGE_TOKEN}"
    ]
    assert on_the_map_alone("hermes", MANAGED) == [
        f"{USAGE_TOKEN} is gone from the map, and no step of the answer says so"
    ]


def test_every_route_name_of_the_catalogue_is_shown_to_bite_or_says_why_not() -> None:
    document = catalogue()
    for runtime in shipped():
        routes = {name for kind in routes_of(document, runtime).values() for name in kind}
        shown = {name for lure in LURES if lure.runtime == runtime for name in lure.variables}
        assert routes - shown == set(UNSHOWN[runtime]), runtime


def shipped() -> list[str]:
    document = yaml.safe_load(SHIPPED.read_text("utf-8"))
    return [entry["name"] for entry in document["runtimes"]]


def test_two_runtimes_are_not_shipped_and_the_edit_adds_them_at_the_end() -> None:
    assert sorted(shipped()) == ["claude-code", "codex", "google-adk", "hermes", "openclaw"]
    assert [entry["name"] for entry in catalogue()["runtimes"]] == [
        *shipped(), "opencode", "qwen-code",
    ]  # fmt: skip
    assert edited_catalogue().startswith(SHIPPED.read_text("utf-8"))


def test_every_provider_on_the_menu_of_every_runtime_is_launched_with() -> None:
    edited = parse_catalogue(edited_catalogue(), file="edited.yaml")
    for entry in catalogue()["runtimes"]:
        launched = {
            launch(
                case.runtime,
                case.model,
                workspace={**dict.fromkeys(case.secrets, "sk-1"), **case.endpoints},
                said=case.vendors,
                override=case.override or "",
                catalogue=edited,
            ).resolution.provider_selection
            for case in CASES
            if case.runtime == entry["name"] and case.seen is not None
        }
        assert launched == {provider["name"] for provider in entry["providers"]}, entry["name"]


def test_a_hostile_tenant_sets_every_route_and_credential_but_what_it_may_choose() -> None:
    document = catalogue()
    managed = temptations(document, MANAGED_CLAUDE)
    assert {"CLAUDE_CODE_USE_VERTEX", "ANTHROPIC_MODEL", "MINIMAX_API_KEY", "HTTPS_PROXY"} <= set(
        managed
    )
    assert managed["ANTHROPIC_VERTEX_BASE_URL"] == STRANGER
    # A blank is absent, and tempts nobody.
    assert [name for name, value in managed.items() if not value] == []
    own = temptations(document, replace(MANAGED_CLAUDE, mode="byok by key"))
    assert "CLAUDE_CODE_USE_VERTEX" in own
    assert not {"ANTHROPIC_BASE_URL", "HTTPS_PROXY"} & set(own)


@pytest.mark.parametrize(
    ("lure", "done", "said"),
    [
        (LURE, {"arrivals": (call(host="api.anthropic.com", port=443),)}, []),
        (LURE, {"arrivals": (call(),)}, ["it changes nothing, so refusing it proves nothing"]),
        (
            LURE,
            {"code": None, "output": ""},
            ["the program did not end, which proves nothing: the machine may be slow"],
        ),
        # It waits for ever for what the lure names: nobody waits so long for it.
        (replace(LURE, seconds=20), {"code": None, "output": ""}, []),
    ],
)
def test_a_lure_bites_when_something_else_is_seen_not_when_it_takes_long(
    lure: Lure, done: dict[str, Any], said: list[str]
) -> None:
    usual: dict[str, Any] = {"output": KNOWN, "code": 0, "arrivals": (), "asked": frozenset()}
    launched = Launched(
        workspace=WORKSPACE,
        environment={},
        provision="",
        steps=frozenset(),
        passing={},
        secrets=SECRETS,
    )
    assert about_a_lure(MANAGED_CLAUDE, lure, Run(**{**usual, **done}), launched) == said


def test_a_login_is_guarded_in_all_its_parts() -> None:
    login = value_of("CODEX_AUTH_JSON", "a tenant")
    parts = parts_of("CODEX_AUTH_JSON", login)
    assert list(parts) == ["CODEX_AUTH_JSON", "CODEX_AUTH_JSON's refresh token"]
    assert all(part in login for part in parts.values())


def test_the_committed_results_are_of_these_versions_and_all_proven() -> None:
    versions, proofs = results.read()
    assert versions == {name: program.version for name, program in programs().items()}
    assert [proof.name for proof in proofs if proof.complaints] == []
    launches = [(each.runtime, each.mode, each.what) for each in proofs if each.kind == "launch"]
    assert launches == [(case.run_by, case.mode, case.model) for case in CASES]


def test_the_readme_says_what_the_results_say() -> None:
    assert results.PAGE.read_text("utf-8") == results.page()


def test_a_run_of_one_runtime_leaves_the_others_as_they_were(tmp_path: Path) -> None:
    proof = results.Proof(kind=results.LAUNCH, runtime="codex", mode=MANAGED, what="m")
    others = [replace(proof, runtime="hermes"), replace(proof, runtime="claude-code")]
    file = tmp_path / "results.json"
    file.write_text(results.written([*others, proof]), "utf-8")
    _versions, proofs = results.read(file)
    assert [each.runtime for each in proofs] == ["claude-code", "codex", "hermes"]
    assert results.kept(None) == []


def test_the_table_counts_what_is_proven_and_what_is_not() -> None:
    (case,) = first_of_each_mode([MANAGED_CLAUDE])
    proven = results.Proof(
        kind=results.LAUNCH, runtime=case.runtime, mode=case.mode, what=case.model
    )
    failed = replace(proven, complaints=("went astray",))
    text = results.table({"claude-code": "1.2"}, [proven, failed])
    assert text.splitlines()[2].startswith("| claude-code | 1.2 | 1 proven, 1 not | not tried |")
