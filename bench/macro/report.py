"""From rounds to the table of targets: what was wanted, what was measured, met or not.

Rule: a ratio's target is a row of :data:`TARGETS`; gates, for CI, are the same ratios with room for noise.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

import msgspec

from bench.chart import number
from bench.macro import ratios
from bench.macro.memory import Figures
from bench.macro.ratios import Ratio, cpu, gap_p99
from bench.macro.rounds import Results, Round
from bench.macro.scenarios import SCENARIOS

# A gate is so much above its target, or what was reached: CI machines are noisy.  Bursts need no more room than others:
# their chunks are read one by one whatever else the machine does (src/upstream.c), and the ratio moves by a tenth.
GATE_ROOM: Final = 1.35
KIB: Final = 1024
MIB: Final = 1024 * KIB


class Target(NamedTuple):
    """``scenario``'s ``other`` to ``base`` by ``of`` must be at most ``limit``.

    ``reached`` is what has been reached where that is still above the limit: the gate holds it.
    """

    title: str
    scenario: str
    limit: float
    of: Callable[[Round], float] = cpu
    base: str = "floor"
    other: str = "proxy"
    unit: str = "us"
    scale: float = 1.0
    reached: float = 0.0

    @property
    def gate(self) -> float:
        """What CI does not let pass."""
        return max(self.limit, self.reached) * GATE_ROOM


RELAYS: Final = ("floor-relay", "proxy-relay")
TARGETS: Final = (
    Target("small request, CPU", "small", 1.6),
    Target("agent request of 105 kB, CPU", "agent", 1.6),
    Target("the same, each of a conversation never seen, CPU", "agent-fresh", 1.6),
    Target("stream unpaced, all in one write, CPU per chunk", "stream-fast", 1.0),
    Target("stream unpaced, a write per chunk, CPU per chunk", "stream-burst", 1.0),
    Target("stream paced, CPU per chunk", "stream-paced", 1.3),
    Target("1,000 streams, CPU per chunk", "streams-1000", 1.2),
    Target("1,000 streams, gap p99", "streams-1000", 1.3, gap_p99, unit="ms", scale=1e-3),
    Target("cache hit, CPU: 0.8 of the requests/s", "cache-hit", 1.25, cpu, "bare"),
    Target("passed through, all in one write, CPU per chunk", "passthrough-stream", 1.2, cpu, *RELAYS, reached=1.4),
    Target("passed through, a write per chunk, CPU per chunk", "passthrough-burst", 1.2, cpu, *RELAYS),
)


class Row(msgspec.Struct):
    """``met`` is None where nothing was measured."""

    title: str
    target: str
    measured: str
    met: bool | None
    detail: str = ""


class Everything(msgspec.Struct):
    """What one run has found."""

    results: dict[str, Results]
    proxy_memory: Figures | None = None
    cold_starts: dict[str, float] = {}
    hops_us: float | None = None


def ratio_of(target: Target, results: Mapping[str, Results]) -> Ratio | None:
    found = results.get(target.scenario, {})
    return ratios.ratio(found.get(target.base, []), found.get(target.other, []), target.of)


def ratio_row(target: Target, results: Mapping[str, Results]) -> Row:
    wanted = f"<= {target.limit:{'.2f' if target.base == 'bare' else '.1f'}} x {target.base.partition('-')[0]}"
    found = ratio_of(target, results)
    if found is None:
        return Row(target.title, wanted, "not measured", None)
    base, other = found.base * target.scale, found.other * target.scale
    detail = (
        f"{number(other)} to {number(base)} {target.unit}, {found.low:.2f} to {found.high:.2f} in {found.pairs} pairs"
    )
    return Row(
        target.title,
        wanted,
        f"{found.median:.2f} x",
        round(found.median, 2) <= target.limit,  # as it is shown
        detail + (", noisy" if found.noisy else ""),
    )


def bound_row(title: str, limit: float, value: float | None, unit: str, detail: str = "") -> Row:
    """A row with a bound of its own instead of a ratio."""
    if value is None:
        return Row(title, f"<= {limit:g} {unit}", "not measured", None)
    return Row(title, f"<= {limit:g} {unit}", f"{value:.1f} {unit}", value <= limit, detail)


def _memory_rows(memory: Figures | None) -> list[Row]:
    def of(value: float) -> float | None:
        return None if memory is None or not value else value

    idle, after, stream = (memory.idle.rss, memory.after_count.rss, memory.per_stream) if memory else (0, 0, 0.0)
    pss = (memory.idle.pss / MIB, memory.after_count.pss / MIB) if memory else (0.0, 0.0)
    rows = (
        ("idle memory after one answer", 75, of(idle / MIB), "MB", f"resident; proportional {pss[0]:.1f}"),
        ("memory after count_tokens", 150, of(after / MIB), "MB", f"resident; proportional {pss[1]:.1f}"),
        ("memory per open stream", 60, of(stream / KIB), "KB", f"{memory.open_streams if memory else 0} open"),
    )
    return [bound_row(*row) for row in rows]


def _error_row(results: Mapping[str, Results]) -> Row:
    rounds = results.get("streams-1000", {}).get("proxy", [])
    if not rounds:
        return Row("1,000 streams, errors", "none", "not measured", None)
    wrong = sum(sum(one.load.errors.values()) for one in rounds)
    return Row("1,000 streams, errors", "none", f"{wrong} of {sum(one.load.sent for one in rounds)}", wrong == 0)


def _cold_row(seconds: Mapping[str, float]) -> Row:
    if not {"bare", "proxy"} <= set(seconds):
        return Row("cold start to first answer", "<= 1.5 x bare Sanic + 0.5 s", "not measured", None)
    limit = 1.5 * seconds["bare"] + 0.5
    detail = f"bare Sanic {seconds['bare']:.2f} s"
    title = "cold start to first answer"
    return Row(title, f"<= {limit:.2f} s", f"{seconds['proxy']:.2f} s", seconds["proxy"] <= limit, detail)


def _balance_row(results: Mapping[str, Results]) -> Row:
    rounds = [(name, who, one) for name, found in results.items() for who, done in found.items() for one in done]
    wrong = [f"{name}/{who}: {fault}" for name, who, one in rounds for fault in one.faults]
    if not rounds:
        return Row("every request answered and seen once upstream", "all", "not measured", None)
    sent = sum(one.load.sent for _, _, one in rounds)
    measured = f"{sent:,} sent" if not wrong else f"{len(wrong)} faults"
    return Row("every request answered and seen once upstream", "all", measured, not wrong, "; ".join(wrong[:3]))


def table(found: Everything) -> list[Row]:
    """Every ratio and bound that there is a target for."""
    rows = [ratio_row(target, found.results) for target in TARGETS]
    rows.insert(6, _error_row(found.results))
    rows.append(bound_row("actor hops of one request", 30, found.hops_us, "us"))
    rows += _memory_rows(found.proxy_memory)
    rows.append(_cold_row(found.cold_starts))
    rows.append(_balance_row(found.results))
    return rows


def unbalanced(found: Everything) -> bool:
    """Whether a request was lost, seen twice, or answered badly."""
    return _balance_row(found.results).met is False


def gates(found: Everything) -> list[str]:
    """What is so far off that it can't be noise: for CI."""
    failed: list[str] = []
    for target in TARGETS:
        value = ratio_of(target, found.results)
        if value is not None and value.median > target.gate:
            failed.append(f"{target.title}: {value.median:.2f} x {target.base}, the gate is at {target.gate:.2f} x")
    balance = _balance_row(found.results)
    if balance.met is False:
        failed.append(f"{balance.title}: {balance.detail}")
    return failed


_MARKS: Final = {True: "met", False: "NOT MET", None: "-"}


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Columns under their heads; the first row is the head."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([lines[0], "  ".join("-" * width for width in widths), *lines[1:]])


def targets_text(rows: Sequence[Row]) -> str:
    head = ("what", "target", "measured", "", "detail")
    return aligned([head, *((row.title, row.target, row.measured, _MARKS[row.met], row.detail) for row in rows)])


def scenarios_text(results: Mapping[str, Results]) -> str:
    """One line per scenario and subject: medians."""

    def line(name: str, who: str, rounds: Sequence[Round]) -> tuple[str, ...]:
        def mid(of: Callable[[Round], float]) -> float:
            return ratios.middle(rounds, of)

        done = mid(lambda one: (one.load.ok + one.load.left) / one.load.seconds)
        return (
            name,
            who,
            f"{done:,.0f}",
            f"{number(mid(cpu))} / {SCENARIOS[name].unit}",
            f"{mid(lambda one: one.reads):.2f}",
            f"{mid(lambda one: one.load.latency.p50) / 1000:.2f}",
            f"{mid(lambda one: one.load.latency.p99) / 1000:.2f}",
            f"{mid(lambda one: one.load.ttfb.p50) / 1000:.2f}",
            f"{mid(lambda one: one.load.ttfb.p99) / 1000:.2f}",
            f"{mid(gap_p99) / 1000:.1f}",
            f"{mid(lambda one: one.rss_peak - one.rss_before) / MIB:+.1f}",
            f"{mid(lambda one: one.foreign or 0.0):.0%}",
        )

    head = (
        "scenario",
        "subject",
        "req/s",
        "CPU us",
        "reads",
        "p50 ms",
        "p99",
        "first byte p50",
        "p99",
        "gap p99",
        "MB",
        "foreign",
    )
    lines = [line(name, who, rounds) for name, found in results.items() for who, rounds in found.items() if rounds]
    return aligned([head, *lines])


def added_text(results: Mapping[str, Results]) -> str:
    """Latency and time to first byte over a direct call, one connection, p50 and p99 in ms."""
    lines: list[str] = []
    for name, what in (("latency", "latency"), ("first-byte", "ttfb")):
        found = results.get(name, {})
        for who in [key for key in found if key != "direct" and found[key] and found.get("direct")]:
            added = [
                ratios.middle(found[who], lambda one: getattr(getattr(one.load, what), p) / 1000)  # noqa: B023
                - ratios.middle(found["direct"], lambda one: getattr(getattr(one.load, what), p) / 1000)  # noqa: B023
                for p in ("p50", "p99")
            ]
            lines.append(f"{name}: {who} adds {added[0]:.2f} ms (p50), {added[1]:.2f} ms (p99) to a direct call")
    return "\n".join(lines)
