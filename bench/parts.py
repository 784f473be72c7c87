"""Where the CPU time of a request goes, part by part: stacks with native frames become one table.

Rule: a sample belongs to the innermost frame that has a part.  C libraries without one (msgspec, the interpreter) work
for whoever called them; a system call is the kernel's, and whose it was stands beside it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

Shares = dict[str, Counter[str]]
"""By part: samples by module; of system calls, by who called."""

FRAME: Final = re.compile(r"(?P<function>.*) \((?P<file>.*?)(?::\d+)?\)")  # as py-spy writes it; libraries have no line
PART: Final = re.compile(  # greedy: the last in the path decides, so that the folder of the project may have any name
    r".*(?:^|/)(?:ccproxy_sanic/(?P<own>\w+(?:\.py)?)|(?P<package>actors|sanic|uvloop|asyncio|httptools|bench)/|"
    r"(?P<libuv>libuv)|(?P<llhttp>llhttp)/|(?P<task>_asynciomodule))"
)
RENAMED: Final = {"libuv": "uvloop", "llhttp": "httptools", "task": "asyncio"}
LOOP: Final = frozenset({"uv_run", "run_forever", "run_until_complete"})  # what is around them is no request's
CALLED: Final = frozenset({"uvloop", "asyncio"})  # they do system calls for others
SYSTEM_CALLS: Final = re.compile(
    r"(?:__)?(?:libc_)?"
    r"(accept4?|close|connect|epoll_(?:ctl|p?wait)|(?:read|write)v?|recv(?:from|msg)?|send(?:to|msg)?|shutdown|socket)"
)
KERNEL: Final = "kernel: "
WAITS: Final = frozenset({"epoll_wait", "epoll_pwait"})
REST: Final = "kernel: waits for events, and the rest"
OTHER: Final = "interpreter, outside of any part"
THREADS: Final = "other threads"
HEAVIEST: Final = 4  # modules that are named beside a part
LEAST: Final = 0.003  # of all: smaller modules are not named, smaller parts are added up


class Column(NamedTuple):
    """One subject: CPU us of a request, of the loop's thread by user and system, and of other threads; and what stacks
    of the loop's thread say."""

    user_us: float
    system_us: float
    others_us: float
    shares: Shares

    def _samples(self, kernel: bool) -> int:
        return sum(of.total() for part, of in self.shares.items() if part.startswith(KERNEL) is kernel) or 1

    def each(self, part: str) -> float:
        """CPU us that a sample of this part stands for."""
        user = self.user_us / self._samples(kernel=False)
        return min(user, self.system_us / self._samples(kernel=True)) if part.startswith(KERNEL) else user

    @property
    def least(self) -> float:
        return (self.user_us + self.system_us + self.others_us) * LEAST


def part_of(file: str) -> str | None:
    """The project's package or module, or the library, that a source file or shared object belongs to."""
    found = PART.match(file)
    if found is None:
        return None
    return RENAMED.get(found.lastgroup or "") or found["own"] or found["package"]


def place(stack: str) -> tuple[str, str] | None:
    """Part and module of one folded stack; None when it is not the loop's, or waits: the sampler goes by the clock, and
    a thread that was woken is taken for busy before it has a core."""
    frames = [(found["function"], found["file"]) for each in stack.split(";") if (found := FRAME.fullmatch(each))]
    inside = max((at + 1 for at, (function, _) in enumerate(frames) if function in LOOP), default=0)
    if not inside:
        return None
    function, file = frames[-1]
    known = [(part, path) for _, path in frames[inside - 1 :] if (part := part_of(path))][::-1]
    if (call := SYSTEM_CALLS.fullmatch(function)) and part_of(file) is None:
        if call[1] in WAITS:
            return None
        return KERNEL + call[1], next((part for part, _ in known if part not in CALLED), "the loop")
    return (known[0][0], known[0][1].rpartition("/")[2]) if known else (OTHER, "")


def shares(lines: Iterable[str]) -> Shares:
    """Of folded stacks, ``outermost;...;innermost COUNT``."""
    found: Shares = {}
    for line in lines:
        stack, _, count = line.strip().rpartition(" ")
        if placed := place(stack):
            part, module = placed
            found.setdefault(part, Counter())[module] += int(count)
    return found


def _us(column: Column) -> dict[str, float]:
    """CPU us of a request by part."""
    found = {part: column.each(part) * of.total() for part, of in column.shares.items()}
    rest = column.system_us - sum(us for part, us in found.items() if part.startswith(KERNEL))
    return found | {REST: rest, THREADS: column.others_us}


def _modules(column: Column, part: str) -> str:
    """The heaviest of a part, with their us."""
    of = column.shares.get(part, Counter()).most_common(HEAVIEST)
    named = [(name, column.each(part) * count) for name, count in of if name != part]
    return ", ".join(f"{name} {us:.1f}" for name, us in named if us >= column.least)


def table(columns: Mapping[str, Column]) -> str:
    """Markdown: a row per part, a column per subject, the heaviest modules of the last subject beside it."""
    by_part = {name: _us(column) for name, column in columns.items()}
    *_, (last, column) = columns.items()
    largest = {part: max(us.get(part, 0.0) for us in by_part.values()) for us in by_part.values() for part in us}
    shown = [part for part, us in largest.items() if us >= column.least]
    ordered = sorted(shown, key=lambda part: (-by_part[last].get(part, 0.0), -largest[part]))

    def row(title: str, values: Iterable[float], detail: str = "") -> str:
        return f"| {title} | {' | '.join(f'{us:.1f}' if us >= 0.05 else '' for us in values)} | {detail} |"

    rows = [row(part, [us.get(part, 0.0) for us in by_part.values()], _modules(column, part)) for part in ordered]
    rest = [sum(us.values()) - sum(us.get(part, 0.0) for part in shown) for us in by_part.values()]
    whole = [sum(us.values()) for us in by_part.values()]
    head = [f"| part | {' | '.join(columns)} | of the last, by module |", f"| --- |{' ---: |' * len(columns)} --- |"]
    return "\n".join([*head, *rows, row("smaller ones, together", rest), row("all", whole)])
