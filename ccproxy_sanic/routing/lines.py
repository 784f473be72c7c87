"""On which line of a TOML or JSON text a key or a value stands: their parsers don't say.

Rule: the text is one that its parser took, so a structure is never checked here, only followed.  A path is the keys and
indices that lead to a value, as in ``("rule", 0, "targets", 1, "weight")``.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Mapping
from typing import Final

Path = tuple[str | int, ...]

_SPACE: Final = re.compile(r"(?:[\s,]|#[^\n]*)*")
_STRING: Final = re.compile(
    r'"""(?:[^\\]|\\.)*?"{3,5}' r"|'''.*?'{3,5}" r'|"(?:[^"\\\n]|\\.)*"' r"|'[^'\n]*'", re.DOTALL
)
_PLAIN: Final = re.compile(r"[^,\]}\n#]*")  # a number, a date, true, false, null
_WORD: Final = re.compile(r"[\w+-]+")
_DOT: Final = re.compile(r"[ \t]*\.[ \t]*")
_SIGN: Final = re.compile(r"\s*[=:]\s*")


def of_toml(text: str) -> Mapping[Path, int]:
    """The line of every path, the first is 1."""
    return _Scanner(text).document()


def of_json(text: str) -> Mapping[Path, int]:
    """The line of every path, the first is 1."""
    scanner = _Scanner(text)
    scanner.skip()
    scanner.value(())
    return scanner.lines


def nearest(path: Path, lines: Mapping[Path, int]) -> int:
    """The line of a path, or of the nearest thing around it that has one."""
    while path and path not in lines:
        path = path[:-1]
    return lines.get(path, 1)


class _Scanner:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.lines: dict[Path, int] = {}
        self._ends = [found.start() for found in re.finditer("\n", text)]

    def note(self, path: Path, at: int) -> None:
        """``path`` stands at ``at``, and with it the tables that it opens."""
        line = bisect_right(self._ends, at) + 1
        for length in range(1, len(path) + 1):
            self.lines.setdefault(path[:length], line)

    def take(self, pattern: re.Pattern[str]) -> str:
        """What fits here, "" if nothing does; the place behind it is the next."""
        found = pattern.match(self.text, self.at)
        if found is None:
            return ""
        self.at = found.end()
        return found[0]

    def skip(self) -> str:
        """Past white space, commas and comments; the next character, "" at the end."""
        self.take(_SPACE)
        return self.text[self.at : self.at + 1]

    def key(self) -> Path:
        """A key, with its parts where it has dots.  Escapes stay as they are written."""
        parts: list[str | int] = []
        while True:
            quoted = self.take(_STRING)
            parts.append(quoted[1:-1] or self.take(_WORD))
            if not self.take(_DOT):
                return tuple(parts)

    def value(self, path: Path) -> None:
        """Past a value that belongs to ``path``."""
        self.note(path, self.at)
        opening = self.text[self.at : self.at + 1]
        if opening in ("{", "["):
            self.at += 1
            index = 0
            while self.skip() not in ("}", "]", ""):
                if opening == "{":
                    self.pair(path)
                else:
                    self.value((*path, index))
                index += 1
            self.at += 1
        elif not self.take(_STRING):
            self.take(_PLAIN)

    def pair(self, table: Path) -> None:
        start = self.at
        path = table + self.key()
        self.note(path, start)
        self.take(_SIGN)
        self.value(path)

    def document(self) -> Mapping[Path, int]:
        """A whole TOML text: headers, and pairs that belong to the last one."""
        table: Path = ()
        counts: dict[Path, int] = {}  # of the tables in an array of them
        while opening := self.skip():
            if opening == "[":
                table = self.header(counts)
            else:
                self.pair(table)
        return self.lines

    def header(self, counts: dict[Path, int]) -> Path:
        start, brackets = self.at, 2 if self.text.startswith("[[", self.at) else 1
        self.at += brackets
        self.take(_SPACE)
        parts = self.key()
        self.take(_SPACE)
        self.at += brackets
        table: Path = ()
        for place, part in enumerate(parts, 1):
            table += (part,)
            if brackets == 2 and place == len(parts):
                counts[table] = counts.get(table, 0) + 1
            if table in counts:
                table += (counts[table] - 1,)
        self.note(table, start)
        return table
