"""The benches' arithmetic: what becomes a ratio, a row, a gate, a fault."""

from __future__ import annotations

from typing import Any

import pytest

from bench.macro import ratios, report
from bench.macro.memory import Figures
from bench.macro.processes import Memory
from bench.macro.report import MIB, TARGETS, Everything
from bench.macro.rounds import Round, faults
from bench.macro.scenarios import SCENARIOS
from bench.macro.tools import Load, Samples, Served

SMALL = SCENARIOS["small"]


def load(**fields: Any) -> Load:
    given: dict[str, Any] = dict.fromkeys(("left", "last_bad_status", "chunks", "streams", "bytes"), 0)
    samples = {"latency": Samples(), "ttfb": Samples(), "gap": Samples(p99=60_000)}
    return Load(**(given | {"seconds": 2.0, "sent": 100, "ok": 100, "errors": {}, "cpu_s": 0.1} | samples | fields))


def served(**fields: Any) -> Served:
    return Served(**(dict.fromkeys(Served.__struct_fields__, 0) | {"requests": 100, "cpu_s": 0.1} | fields))


def turn(cpu_us: float, foreign: float | None = 0.0, **fields: Any) -> Round:
    given: dict[str, Any] = {
        "cpu_us_per_request": cpu_us,
        "reads": 1.0,
        "rss_before": 0,
        "rss_peak": 0,
        "load": load(),
        "served": served(),
    }
    return Round(**({"cpu_us": cpu_us, "foreign": foreign, "faults": []} | given | fields))


def turns(*cpu_us: float) -> list[Round]:
    return [turn(us) for us in cpu_us]


def row(rows: list[report.Row], title: str) -> report.Row:
    (found,) = [one for one in rows if one.title == title]
    return found


def test_a_ratio_is_the_median_over_turns_not_the_quotient_of_medians() -> None:
    found = ratios.ratio(turns(100, 200, 400), turns(150, 400, 480))
    assert found is not None
    assert (found.median, found.low, found.high, found.pairs) == (1.5, 1.2, 2.0, 3)
    assert (found.base, found.other) == (200, 400)


def test_noisy_turns_are_left_out_as_long_as_enough_quiet_ones_remain() -> None:
    base = [*turns(100, 100, 100), turn(100, foreign=0.5)]
    found = ratios.ratio(base, turns(150, 150, 150, 900))
    assert found is not None
    assert (found.pairs, found.high, found.noisy) == (3, 1.5, False)


def test_with_too_few_quiet_turns_all_count_and_it_says_so() -> None:
    base = [turn(100, foreign=0.5), turn(100, foreign=0.5), turn(100)]
    found = ratios.ratio(base, turns(150, 160, 170))
    assert found is not None
    assert (found.pairs, found.noisy, found.median) == (3, True, 1.6)


def test_an_unpinned_round_counts_as_quiet() -> None:
    found = ratios.ratio([turn(100, foreign=None)], [turn(120, foreign=None)])
    assert found is not None
    assert not found.noisy


@pytest.mark.parametrize(("base", "other"), [([], [turn(1)]), ([turn(1)], []), ([turn(0)], [turn(1)])])
def test_without_a_pair_there_is_no_ratio(base: list[Round], other: list[Round]) -> None:
    assert ratios.ratio(base, other) is None


@pytest.mark.parametrize(("proxy_us", "met"), [(160.0, True), (161.0, False)])
def test_a_target_is_met_up_to_its_limit(proxy_us: float, met: bool) -> None:
    found = Everything({"small": {"floor": turns(100), "proxy": turns(proxy_us)}})
    assert row(report.table(found), "small request, CPU").met is met


def test_the_gap_of_1000_streams_is_compared_by_its_p99() -> None:
    slow = [turn(50, load=load(gap=Samples(p99=90_000)))]
    rows = report.table(Everything({"streams-1000": {"floor": turns(50), "proxy": slow}}))
    assert row(rows, "1,000 streams, gap p99").measured == "1.50 x"
    assert row(rows, "1,000 streams, CPU per chunk").met is True


def test_what_was_not_measured_is_neither_met_nor_missed() -> None:
    rows = report.table(Everything({}))
    assert {one.met for one in rows} == {None}
    assert len(rows) == len(TARGETS) + 7


def test_errors_of_1000_streams_have_a_row_of_their_own() -> None:
    broken = [turn(50, load=load(sent=1000, ok=999, errors={"closed": 1}))]
    rows = report.table(Everything({"streams-1000": {"floor": turns(50), "proxy": broken}}))
    assert (row(rows, "1,000 streams, errors").measured, row(rows, "1,000 streams, errors").met) == ("1 of 1000", False)


def test_memory_and_cold_start_are_bounds() -> None:
    figures = Figures(Memory(76 * MIB, 60 * MIB), Memory(149 * MIB, 130 * MIB), 59 * 1024, 1000)
    rows = report.table(Everything({}, figures, {"bare": 0.4, "proxy": 1.2}, 29.0))
    assert row(rows, "idle memory after one answer").met is False
    assert row(rows, "memory after count_tokens").met is True
    assert row(rows, "memory per open stream").met is True
    assert row(rows, "cold start to first answer").met is False
    assert row(rows, "actor hops of one request").met is True


def test_a_gate_leaves_room_for_noise() -> None:
    small = next(target for target in report.TARGETS if target.scenario == "small")
    within = Everything({"small": {"floor": turns(100), "proxy": turns(small.gate * 100 - 1)}})
    above = Everything({"small": {"floor": turns(100), "proxy": turns(small.gate * 100 + 1)}})
    assert report.gates(within) == []
    assert report.gates(above) == [
        f"small request, CPU: {small.gate + 0.01:.2f} x floor, the gate is at {small.gate:.2f} x"
    ]


def test_a_gate_holds_what_was_reached_and_never_lies_below_the_target() -> None:
    for target in report.TARGETS:
        assert target.gate == pytest.approx(max(target.limit, target.reached) * report.GATE_ROOM)


def test_a_lost_request_fails_the_gates_whatever_the_ratios_are() -> None:
    lost = [turn(100, faults=["100 requests were sent, the upstream saw 99"])]
    found = Everything({"small": {"floor": turns(100), "proxy": lost}})
    assert report.unbalanced(found)
    assert len(report.gates(found)) == 1


@pytest.mark.parametrize(
    ("seen", "fault"),
    [
        (served(requests=99), "100 requests were sent, the upstream saw 99"),
        (served(repeated=2), "the upstream saw 2 requests twice"),
        (served(unmarked=1), "the upstream saw 1 requests without their mark"),
        (served(), None),
    ],
)
def test_the_books_of_a_round_must_balance(seen: Served, fault: str | None) -> None:
    assert faults(SMALL, load(), seen) == ([] if fault is None else [fault])


def test_errors_are_named() -> None:
    told = faults(SMALL, load(ok=97, errors={"status": 3}, last_bad_status=529), served())
    assert told == ["3 of 100 requests ended in status", "the last status was 529"]


def test_shared_answers_may_reach_the_upstream_less_often() -> None:
    assert faults(SCENARIOS["shared"], load(), served(requests=4, repeated=3)) == []


def test_the_tables_name_every_subject() -> None:
    text = report.scenarios_text({"small": {"floor": turns(100), "proxy": turns(150)}})
    assert [line.split()[:2] for line in text.splitlines()[2:]] == [["small", "floor"], ["small", "proxy"]]
    assert "NOT MET" in report.targets_text([report.Row("a", "b", "c", False)])
