"""The bench imports and its parts do what they say; nothing here is timed."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc

from agentworkspace.core.backoff import Backoff
from agentworkspace.core.secret import Secret
from agentworkspace.core.token_format import checksum_ok
from agentworkspace.registry.v1.registration_service_pb2 import RegisterRequest
from deploy.pair import free_addresses
from tests.bench import (
    cases,
    crowd,
    database,
    h2,
    h2load,
    load,
    newcomers,
    queueing,
    rows,
    spread,
    store_ceiling,
    suite,
    verifier_cold,
)
from tests.bench.bench import part_of, shares, turned
from tests.bench.h2 import BROKEN_OFF, Message, prefixed
from tests.bench.load import Measured, Plan
from tests.bench.rows import Row


def row(name: str, *, tokens: int = 10_000, processes: int = 1, **changes: Any) -> Row:
    found: dict[str, Any] = {
        "throughput": 3000.0,
        "p50_ms": 20.0,
        "p99_ms": 41.5,
        "cpu_ms": 0.31,
        "database_cpu_ms": 0.05,
        "wal_bytes": 210.0,
        "memory_mib": 66.0,
        "bare": 5000.0,
        "store": 12000.0,
        **changes,
    }
    return Row(name=name, tokens=tokens, processes=processes, failed=0, **found)


def test_the_table_shows_each_row_beside_its_ceilings() -> None:
    lines = rows.table([row("ValidateToken")]).splitlines()
    assert lines[0].split()[:2] == ["method", "tokens"]
    assert lines[1].split() == [
        *(
            "ValidateToken",
            "10,000",
            "1",
            "3,000",
            "20.0",
            "41.5",
            "0.31",
            "0.05",
            "210",
            "66",
            "0",
        ),
        *("5,000", "0.60", "12,000", "0.25"),
    ]


def test_a_row_made_of_the_bare_server_what_the_middle_of_its_repeats_made() -> None:
    found = row("Heartbeat", shares=[0.5, 0.9, 0.4])
    assert (found.of_bare, found.spread) == (0.5, "0.40-0.90")
    assert shares([30.0, 60.0], [90.0, 110.0, 190.0]) == [0.3, 0.4]


def test_what_may_be_sent_once_is_dealt_out_to_the_repeats() -> None:
    messages = [Message(body=bytes((number,))) for number in range(8)]
    dealt = [part_of(messages, part, 3) for part in range(3)]
    assert [len(part) for part in dealt] == [2, 3, 3]
    assert [message for part in dealt for message in part] == messages


def test_a_saved_run_is_compared_by_what_it_reached_of_the_bare_server(tmp_path: Path) -> None:
    rows.save(tmp_path / "run.json", [row("ValidateToken")], {"machine": "2 cores"})
    earlier = rows.read(tmp_path / "run.json")
    assert earlier == [row("ValidateToken")]
    text = rows.comparison([row("ValidateToken", throughput=2000.0, bare=2500.0)], earlier)
    assert text.splitlines()[1].split() == [
        *("ValidateToken", "10,000", "1", "2,000", "3,000", "-33", "%"),
        *("0.80", "0.60", "+33", "%"),
    ]


def test_every_method_is_asked_with_messages_that_differ() -> None:
    for case in suite.registry_cases(1000, different=1000):
        different = {(message.body, message.bearer) for message in case.messages}
        assert len(different) > 10, case.name


def test_the_tokens_of_a_bench_are_tokens() -> None:
    assert all(checksum_ok(database.token(number)) for number in range(8))
    assert database.token(0).startswith("awi_")
    assert database.token(1).startswith("awa_")
    assert database.workspace_of(0) == database.workspace_of(3) != database.workspace_of(4)


def test_clients_with_a_cold_verifier_ask_for_each_token_once_and_never_for_the_same() -> None:
    asked = [
        verifier_cold.share_of(
            verifier_cold.Ask(
                address="",
                bearer="",
                tokens=1000,
                client=client,
                part=0,
                begin=0.0,
                seconds=1.0,
                gathered=True,
            )
        )
        for client in range(verifier_cold.CLIENTS)
    ]
    assert sorted(number for numbers in asked for number in numbers) == list(range(1000))


def test_what_clients_did_at_once_is_added_up() -> None:
    each = verifier_cold.Cold(checks=10, a_second=5.0, cpu_seconds=0.5, latencies=[0.2, 0.1])
    assert verifier_cold.together([each, each]) == verifier_cold.Cold(
        checks=20, a_second=10.0, cpu_seconds=1.0, latencies=[0.1, 0.1, 0.2, 0.2]
    )


def test_a_message_travels_with_its_length() -> None:
    assert prefixed(b"abc") == b"\0\0\0\0\3abc"
    assert h2._text(b"x" * 200)[:2] == bytes((127, 73))


def test_percentiles_are_of_the_calls_that_were_answered() -> None:
    found = Measured(
        seconds=2.0,
        statuses={0: 100, 8: 50},
        latencies=[number / 100 for number in range(100)],
        refused_latencies=[],
        cpu_seconds=1.0,
    )
    assert (found.throughput, found.failed) == (50.0, 50)
    assert (found.percentile(50), found.percentile(99)) == (0.5, 0.99)


def test_what_the_other_tools_print_is_understood() -> None:
    assert store_ceiling.tps("latency = 1 ms\ntps = 12.5 (without initial connection)\n") == 12.5
    assert h2load.requests_a_second("finished in 9.00s, 4123.50 req/s, 1.2MB/s") == 4123.5


def test_the_answer_to_a_batch_counts_its_tokens() -> None:
    (batch,) = (case for case in suite.registry_cases(1000, different=1000) if case.unit > 1)
    assert batch.unit == cases.BATCH == 64


def test_a_row_measured_in_parts_is_the_sum_of_them() -> None:
    def part(statuses: dict[int, int], latencies: list[float]) -> Measured:
        return Measured(
            seconds=2.0,
            statuses=statuses,
            latencies=latencies,
            refused_latencies=[],
            cpu_seconds=0.5,
            bodies=[b"one"],
            begun=9,
            spread=(2, 2),
        )

    found = load.together([part({0: 4}, [0.1, 0.4]), part({0: 2, 8: 1}, [0.2, 0.3])])
    assert (found.throughput, found.failed) == (1.5, 1)
    assert (found.seconds, found.cpu_seconds) == (4.0, 1.0)
    assert found.latencies == [0.1, 0.2, 0.3, 0.4]
    assert found.begun == 18
    assert (found.bodies, found.spread) == ([b"one", b"one"], (2, 2))


def test_at_a_rate_the_first_call_begins_at_once_and_the_next_when_it_is_due() -> None:
    assert [load.due(elapsed, 20.0) for elapsed in (0.0, 0.049, 0.051, 1.01)] == [1, 1, 2, 21]


def test_the_generator_rests_only_while_many_calls_are_under_way() -> None:
    plan = Plan(address="", method="", messages=())
    assert load._is_many(plan)
    assert load._is_many(replace(plan, rate=5000.0))
    assert not load._is_many(replace(plan, in_flight=16))
    assert not load._is_many(replace(plan, rate=20.0))


def test_each_part_of_a_row_begins_with_other_messages() -> None:
    messages = [Message(body=bytes((number,))) for number in range(8)]
    begun = [turned(messages, part, 4) for part in range(4)]
    assert [each[0].body for each in begun] == [b"\x00", b"\x02", b"\x04", b"\x06"]
    assert {frozenset(each.body for each in part) for part in begun} == {
        frozenset(each.body for each in messages)
    }


KINDS = (("stream", 3.0), ("unary", 7.0))


def test_calls_being_served_are_found_in_a_scrape() -> None:
    lines = (f'agentworkspace_rpc_running{{kind="{kind}"}} {number}\n' for kind, number in KINDS)
    assert queueing.running_in("".join(lines)) == 7.0
    assert queueing.running_in("agentworkspace_rpc_calls_total 1.0\n") == 0.0


def test_a_connection_is_found_by_both_its_ports_once_it_is_accepted() -> None:
    head = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt uid timeout"
    line = "   0: 0100007F:{} 0100007F:{} 01 00000000:00000000 00:00000000 00000000 0 0 {} 1 0"
    table = "\n".join((head, line.format("C000", "1BBD", "11"), line.format("1BBD", "C000", "22")))
    assert spread.accepted_inode(table, 0xC000, 0x1BBD) == "22"
    assert not spread.accepted_inode(table, 0xC001, 0x1BBD)
    waiting = "\n".join((head, line.format("1BBD", "C000", "0")))
    assert not spread.accepted_inode(waiting, 0xC000, 0x1BBD)


def test_no_process_gets_more_than_its_share_of_the_connections() -> None:
    assert spread.has_room({7: 1}, 7, processes=2, wanted=4)
    assert not spread.has_room({7: 2}, 7, processes=2, wanted=4)
    assert spread.has_room({7: 2}, 8, processes=2, wanted=4)


def test_the_status_is_found_whichever_way_a_server_spells_its_name() -> None:
    plain = b"\x00\x0bgrpc-status\x010"
    of_go = b"\x00\x88\x9a\xca\xc8\xb2\x12\x34\xda\x8f\x0216"
    assert h2._STATUS.findall(plain) == [b"0"]
    assert h2._STATUS.findall(of_go) == [b"16"]


def test_a_crowd_asks_again_when_each_of_it_says_so_and_finds_a_server_that_was_away() -> None:
    asked: Counter[bytes] = Counter()

    def behaviour(request: bytes, context: grpc.ServicerContext) -> bytes:
        asked[request] += 1
        if asked[request] == 1:
            context.abort(grpc.StatusCode.UNAVAILABLE, "come again")
        return b"in"

    handler: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_unary_rpc_method_handler(behaviour)
    service = grpc.method_handlers_generic_handler("bench.Crowd", {"Call": handler})
    (address,) = free_addresses(1)
    servers: list[grpc.Server] = []

    def serve() -> None:
        server = grpc.server(ThreadPoolExecutor(2))
        server.add_generic_rpc_handlers((service,))
        server.add_insecure_port(address)
        server.start()
        servers.append(server)

    statuses: list[set[int]] = [set(), set(), set()]

    def answered(box: int, status: int, _asked: float) -> float | None:
        statuses[box].add(status)
        if status == BROKEN_OFF and not servers:
            # Nobody listens before this.
            serve()
        return None if status == 0 else boxes.now + 0.01

    messages = [Message(body=prefixed(bytes((box,)))) for box in range(3)]
    boxes = crowd.Crowd(address, "/bench.Crowd/Call", messages, [0.0] * 3, answered)
    boxes.play(20.0)
    for server in servers:
        server.stop(None).wait()
    assert all({BROKEN_OFF, 14, 0} >= each >= {14, 0} for each in statuses)
    assert asked == {b"\0": 2, b"\1": 2, b"\2": 2}


def test_the_crowd_waits_as_our_client_does() -> None:
    def certain() -> Backoff:
        return Backoff(chance=lambda: 0.0)

    assert crowd.pause(certain(), 1) == 0.25
    assert crowd.pause(certain(), crowd.OVERLOADED) == 1.0


def test_a_newcomer_registers_with_the_token_that_follows_from_its_ticket() -> None:
    ticket = Secret("awt_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA0F8Fzo")
    box = newcomers.Newcomer("01234567-89ab-4cde-8f01-23456789abcd", ticket)
    assert box.request() == RegisterRequest(
        workspace_id="01234567-89ab-4cde-8f01-23456789abcd",
        bootstrap_ticket="awt_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA0F8Fzo",
        token_sha256="166d5295c4b0e3f1b0fe30dee626087863d2919c6fba989b774b04b556d2cfba",
    )
