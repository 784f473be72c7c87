"""Every numbered behaviour of the older product has a test of its number."""

from __future__ import annotations

import re
from pathlib import Path

FOLDER = Path(__file__).parent.parent / "e2e" / "original"


def test_all_42_behaviours_are_tested() -> None:
    text = "\n".join(path.read_text() for path in FOLDER.glob("test_*.py"))
    numbers = {int(number) for number in re.findall(r"^async def test_(\d\d)_", text, re.MULTILINE)}
    assert numbers == set(range(1, 43))
