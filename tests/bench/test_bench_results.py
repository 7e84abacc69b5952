"""What a run says in the end: ratios, the tables of the page, the history. Nothing is timed."""

from __future__ import annotations

import json
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.bench import history, openbao, page, ratios, rows, sizing
from tests.bench.__main__ import parser
from tests.bench.ratios import Ratio
from tests.bench.rows import Row


def row(name: str, share: float, *, tokens: int = 1_000_000, processes: int = 1) -> Row:
    return Row(
        name=name,
        tokens=tokens,
        processes=processes,
        throughput=5000.0 * share,
        p50_ms=20.0,
        p99_ms=40.0,
        cpu_ms=0.3,
        database_cpu_ms=0.1,
        memory_mib=66.0,
        failed=0,
        bare=5000.0,
        shares=[share],
    )


def values(*found: Row) -> dict[str, tuple[float, str]]:
    return {each.name: (round(each.value, 3), each.asked) for each in ratios.of(found)}


def test_rows_are_judged_as_shares_of_the_bare_server_at_the_largest_table() -> None:
    assert values(
        row("first Register", 0.9, tokens=10_000),
        row("first Register", 0.2),
        row("first Register", 0.3, processes=2),
        row("BatchValidateTokens(64)", 8.5),
    ) == {
        "BatchValidateTokens(64): of the bare server": (8.5, "at least 8"),
        "first Register: of the bare server": (0.2, "at least 0.18"),
    }


def test_rows_are_judged_by_what_others_do_beside_them() -> None:
    assert values(
        row("MintToken", 0.3, processes=2),
        row("OpenBao: token creation", 0.1, tokens=0, processes=0),
        row("ValidateToken, beside Go", 0.9, processes=2),
        row("Go: SELECT and UPDATE", 0.6, processes=1),
        row("Go: SELECT and UPDATE", 0.75, processes=2),
        row("verifier, cold", 2.4),
        row("Heartbeat", 0.5),
        row("Go: heartbeat, one UPDATE", 1.0),
    ) == {
        "Heartbeat: of the bare server": (0.5, "at least 0.55"),
        "ValidateToken, beside Go, 2 processes: of Go: SELECT and UPDATE": (1.2, "at least 1"),
        "Heartbeat: of Go: heartbeat, one UPDATE": (0.5, "not asked"),
        "MintToken, 2 processes: of OpenBao: token creation": (3.0, "at least 2.5"),
        "verifier, cold: of Go: SELECT and UPDATE": (4.0, "at least 3"),
    }


def test_a_slower_moment_is_no_longer_p99() -> None:
    small, large = row("ValidateToken", 0.5, tokens=10_000), row("ValidateToken", 0.5)
    assert values(small, large)["p99 at 1,000,000 tokens: of p99 at 10,000"] == (
        1.0,
        "at most 1.3",
    )


def test_a_ratio_without_its_rows_is_left_out() -> None:
    assert ratios.of([row("plans", 1.0), row("Go: SELECT and UPDATE", 1.0)]) == []
    assert ratios.shown([]) == ""


def test_saved_runs_become_one_table_of_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(
        "before\n<!-- measured: written by --table -->\nold\n<!-- end of measured -->\nafter\n"
    )
    monkeypatch.setattr(page, "README", readme)
    about = {"when": "2026-11-30", "machine": "2 cores", "repeats": 3}
    rows.save(tmp_path / "a.json", [row("MintToken", 0.1), row("Heartbeat", 0.6)], about)
    rows.save(tmp_path / "b.json", [row("MintToken", 0.4)], about)
    page.write([tmp_path / "a.json", tmp_path / "b.json"], None)
    text = readme.read_text()
    assert text.startswith("before\n<!-- measured")
    assert text.endswith("measured -->\nafter\n")
    assert "old" not in text
    assert "| MintToken | 1,000,000 | 1 | 2,000 | 20.0 | 40.0 | 0.30 | 0.10 | 0 | 0.40 |" in text
    assert "| MintToken: of the bare server | 0.40 | at least 0.40 |" in text
    assert text.count("| MintToken | ") == 1
    with pytest.raises(ValueError, match="no place for tables"):
        page.put_in("a page without marks", "text")


def test_every_command_of_the_page_is_understood() -> None:
    commands = [
        line.partition("#")[0].partition("-m tests.bench")[2]
        for line in page.README.read_text().splitlines()
        if line.startswith("    .venv/bin/python -m tests.bench")
    ]
    assert len(commands) == 11
    for command in commands:
        parser().parse_args(shlex.split(command))


def test_every_run_is_a_line_of_the_history_and_begins_where_the_last_one_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "history.jsonl"
    found = [Ratio(name="one: of another", value=0.25, asked="at least 0.2")]
    commits = iter(("aaaa", "bbbb"))
    monkeypatch.setattr(history, "_commit", lambda: next(commits))
    for _ in range(2):
        history.append(path, found, {"when": "2026-11-30T12:00", "machine": "2 cores"})
    lines: list[dict[str, Any]] = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["commits"] for line in lines] == ["aaaa", "aaaa..bbbb"]
    assert lines[1]["ratios"] == {"one: of another": 0.25}
    assert history.read(path) == lines
    assert history.read(tmp_path / "none") == []


def test_the_history_is_drawn_where_matplotlib_is(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    first = {
        "commits": "a..b",
        "when": "2026-11-30",
        "ratios": {"x: of y": 1.0},
        "asked": {"x: of y": "at least 0.5"},
    }
    second = {**first, "ratios": {"z: of y": 2.0}, "asked": {"z: of y": "not asked"}}
    history.draw(tmp_path / "history.png", [first, second])
    assert (tmp_path / "history.png").read_bytes().startswith(b"\x89PNG")


def test_an_answer_of_openbao_that_is_no_good_one_ends_the_row() -> None:
    said = (
        "finished in 9.00s, 384.50 req/s, 1.2MB/s\n"
        "status codes: 3460 2xx, 0 3xx, 0 4xx, 0 5xx\n"
        "time for request:     3.52ms       1.20s    349.12ms    101.02ms    70.00%\n"
    )
    assert openbao.answered(said) == openbao.Answered(a_second=384.5, mean_ms=349.12, count=3460)
    with pytest.raises(ValueError, match="not every answer was good"):
        openbao.answered(said.replace("0 4xx", "7 4xx"))


def test_fleets_of_other_sizes_are_what_their_calls_cost() -> None:
    def cost(name: str, **costs: Any) -> Row:
        return replace(row(name, 0.5), **costs)

    free = {"cpu_ms": 0.0, "database_cpu_ms": 0.0, "wal_bytes": 0.0}
    found = [
        # 0.3 ms 3,333 times a second is a core, busy for 0.6 of the time two.
        cost("Heartbeat", cpu_ms=0.3, database_cpu_ms=0.09, wal_bytes=300.0),
        cost("first Register", cpu_ms=86.4, database_cpu_ms=0.0, wal_bytes=86_400.0),
        cost("BeginIncarnation", **free),
        cost("BatchValidateTokens(64)", **free),
    ]
    fleets = sizing.of(found, bytes_a_box=3000.0)
    assert [
        (each.boxes, each.processes, each.postgres_cores, round(each.log), each.cells)
        for each in fleets
    ] == [
        (100_000, 2, 1, 1_100_000, 1),
        (1_000_000, 19, 5, 11_000_000, 1),
        (10_000_000, 184, 50, 110_000_000, 7),
    ]
    assert "| connections to PostgreSQL | 40 | 380 | 3,680 |" in sizing.markdown(fleets)
    assert "| database, GB | 0.3 | 3.0 | 30.0 |" in sizing.markdown(fleets)
    assert sizing.of(found[1:], bytes_a_box=3000.0) == []
