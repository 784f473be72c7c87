"""Adjustments: bounded, ASCII, every code used and explained (ARCHITECTURE.md decision 10)."""

from __future__ import annotations

import re
from pathlib import Path

from ccproxy_sanic.translate import adjustments
from ccproxy_sanic.translate.adjustments import CODES, Adjustment, Notes, render

SOURCES = [path for path in Path(adjustments.__file__).parent.glob("*.py") if path.name != "adjustments.py"]


def test_every_code_is_used_and_every_used_code_is_explained() -> None:
    used: set[str] = set()
    for source in SOURCES:
        used |= set(re.findall(r"notes\.add\(\s*\"(\w+)\"", source.read_text(encoding="utf-8")))
    assert used == set(CODES)
    assert all(meaning.endswith(".") for meaning in CODES.values())


def test_an_adjustment_without_a_reason_has_its_codes() -> None:
    notes = Notes()
    notes.add("thinking_dropped", ("messages", 3, "content", 0))
    assert notes.found == [Adjustment("thinking_dropped", "messages.3.content.0", CODES["thinking_dropped"])]


def test_what_happens_many_times_is_noted_once_by_its_first_place() -> None:
    notes = Notes()
    for number in range(1000):
        notes.add("thinking_dropped", ("messages", number))
    notes.add("tool_dropped", ("tools", 0), "one reason")
    notes.add("tool_dropped", ("tools", 1), "another reason")
    assert [(one.code, one.path) for one in notes.found] == [
        ("thinking_dropped", "messages.0"),
        ("tool_dropped", "tools.0"),
        ("tool_dropped", "tools.1"),
    ]


def test_the_header_is_bounded_and_ascii() -> None:
    many = [Adjustment("code", f"path.{number}", "reason") for number in range(50)]
    assert render(many[:2], 12) == "code=path.0, code=path.1"
    assert render(many, 2) == "code=path.0, code=path.1, +48"
    assert render([], 12) == ""
    assert render([Adjustment("code", "", "r")], 12) == "code"
    wild = render([Adjustment("code", "päth\r\nx: y,z" + "w" * 500, "r")], 12)
    assert wild.startswith("code=p?th??x:?y?z")
    assert wild.isascii()
    assert len(wild) <= 120
