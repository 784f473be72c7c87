"""Who waits for budget, and whose turn it is.

Rule: everybody who waits stands in one place: at the *gate* of his caller while that caller is at a limit of its own,
else in the *line* of the upstream that has room soonest.  A gate is in order of arrival; a line takes callers in turn,
and each caller's requests in order of arrival, so that nobody is served later because another caller asks more often.

The first of a line holds up the others, also those who need less: else who needs much would never begin.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterator
from itertools import islice
from typing import Final

from actors.kernel import Reply
from actors.rate_messages import Admit

MAX_WAITING: Final = 1024
MAX_OF_CALLER: Final = 512  # of them, so that one caller can't keep all others from waiting


class Waiter:
    """A question that is kept; ``gone`` once it is answered or its asker has left."""

    __slots__ = ("gone", "query", "reply", "tokens", "until")

    def __init__(self, query: Admit, reply: Reply, until: float, tokens: int = 0) -> None:
        self.query, self.reply = query, reply
        self.until = until  # the end of its patience
        self.tokens = tokens  # what it will probably need at the upstream in whose line it stands
        self.gone = False


Places = deque[Waiter]


class Line:
    """Callers in turn."""

    __slots__ = ("_callers",)

    def __init__(self) -> None:
        self._callers: OrderedDict[str, Places] = OrderedDict()  # never an empty deque

    def __iter__(self) -> Iterator[Waiter]:
        for places in self._callers.values():
            yield from places

    def push(self, waiter: Waiter) -> None:
        self._callers.setdefault(waiter.query.key, deque()).append(waiter)

    @property
    def first(self) -> Waiter | None:
        """Whose turn it is."""
        for places in self._callers.values():
            return places[0]
        return None

    def served(self) -> Waiter:
        """Take the first out of line; its caller's next turn is after all others'."""
        key, places = next(iter(self._callers.items()))
        waiter = places.popleft()
        if places:
            self._callers.move_to_end(key)
        else:
            del self._callers[key]
        return waiter

    def drop(self) -> Waiter:
        """Take the first out of line without a turn: it is the turn of its caller's next."""
        key, places = next(iter(self._callers.items()))
        waiter = places.popleft()
        if not places:
            del self._callers[key]
        return waiter

    def take(self, key: str) -> Places:
        """All of one caller, out of line."""
        return self._callers.pop(key, None) or deque()

    def ahead(self, key: str) -> tuple[int, int]:
        """How many will have been served before one more of ``key``, and the tokens they need."""
        own = len(self._callers.get(key, ()))
        number = tokens = 0
        for caller, places in self._callers.items():
            for waiter in islice(places, own if caller == key else own + 1):
                number += 1
                tokens += waiter.tokens
        return number, tokens

    def sweep(self) -> None:
        """Forget who has gone."""
        kept = ((key, deque(w for w in places if not w.gone)) for key, places in self._callers.items())
        self._callers = OrderedDict((key, places) for key, places in kept if places)


class Room:
    """All gates and lines."""

    __slots__ = ("_of_caller", "gates", "lines", "places", "size")

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        self.gates: dict[str, Places] = {}
        self.lines: dict[str, Line] = {}
        self.places: dict[Reply, Waiter] = {}
        self.size = 0  # who stands somewhere, gone or not
        self._of_caller: dict[str, int] = {}  # of them

    def __repr__(self) -> str:
        return f"<Room {len(self.places)} waiting, {len(self.gates)} gates, {len(self.lines)} lines>"

    def at_gate_of(self, key: str) -> int:
        """How many stand there and have not gone."""
        return sum(not waiter.gone for waiter in self.gates.get(key, ()))

    def has_place(self, key: str) -> bool:
        return self.size < MAX_WAITING and self._of_caller.get(key, 0) < MAX_OF_CALLER

    def at_gate(self, waiter: Waiter) -> None:
        self.gates.setdefault(waiter.query.key, deque()).append(waiter)
        self._entered(waiter)

    def in_line(self, name: str, waiter: Waiter) -> None:
        self.lines.setdefault(name, Line()).push(waiter)
        self._entered(waiter)

    def _entered(self, waiter: Waiter) -> None:
        key = waiter.query.key
        self.places[waiter.reply] = waiter
        self.size += 1
        self._of_caller[key] = self._of_caller.get(key, 0) + 1

    def _left(self, key: str) -> None:
        self.size -= 1
        self._of_caller[key] -= 1
        if not self._of_caller[key]:
            del self._of_caller[key]

    def gone(self, waiter: Waiter) -> None:
        """It is answered, or nobody would take an answer; its place is cleared when its turn comes, or by the sweep."""
        waiter.gone = True
        self.places.pop(waiter.reply, None)

    def first_of_gate(self, key: str) -> Waiter | None:
        gate = self.gates.get(key)
        while gate and gate[0].gone:
            gate.popleft()
            self._left(key)
        if gate:
            return gate[0]
        self.gates.pop(key, None)
        return None

    def from_gate(self, key: str) -> Waiter:
        """The first of a gate that has one, out of its place."""
        gate = self.gates[key]
        waiter = gate.popleft()
        if not gate:
            del self.gates[key]
        self._out(waiter)
        return waiter

    def first_in_line(self, name: str) -> Waiter | None:
        line = self.lines.get(name)
        while line is not None and (waiter := line.first) is not None:
            if not waiter.gone:
                return waiter
            self._left(line.drop().query.key)
        self.lines.pop(name, None)
        return None

    def served(self, name: str) -> Waiter:
        """The first of a line that has one, out of its place."""
        waiter = self.lines[name].served()
        self._out(waiter)
        return waiter

    def _out(self, waiter: Waiter) -> None:
        self._left(waiter.query.key)
        self.places.pop(waiter.reply, None)

    def back_to_gate(self, name: str, key: str) -> None:
        """Whose caller has come to a limit of its own does not hold up the line."""
        self.gates.setdefault(key, deque()).extendleft(reversed(self.lines[name].take(key)))

    def cleared(self, name: str) -> list[Waiter]:
        """All who stand in a line, out of their places, in the order of their turns."""
        found = []
        while self.first_in_line(name) is not None:
            found.append(self.served(name))
        return found

    def waiting(self, name: str) -> int:
        line = self.lines.get(name)
        return sum(not waiter.gone for waiter in line) if line is not None else 0

    def sweep(self) -> None:
        """Clear the places of those who have gone."""
        for key, gate in list(self.gates.items()):
            kept = deque(waiter for waiter in gate if not waiter.gone)
            for _ in range(len(gate) - len(kept)):
                self._left(key)
            if kept:
                self.gates[key] = kept
            else:
                del self.gates[key]
        for name, line in list(self.lines.items()):
            for waiter in line:
                if waiter.gone:
                    self._left(waiter.query.key)
            line.sweep()
            if line.first is None:
                del self.lines[name]
