"""Writes the parts of docs/ that are made from the product's tables (tests compare the two)."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Final

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from ccproxy_sanic import gauges, settings_table  # noqa: E402 (the path comes first)
from ccproxy_sanic.profiles import switches  # noqa: E402
from ccproxy_sanic.translate import adjustments  # noqa: E402

DOCS: Final = ROOT / "docs"


def pages() -> dict[Path, str]:
    """Each generated page and what it should hold."""
    return {
        DOCS / "settings.md": settings_table.markdown(),
        DOCS / "adjustments.md": adjustments.markdown(),
        DOCS / "profiles.md": filled(DOCS / "profiles.md", "switches", switches.markdown()),
        DOCS / "metrics.md": filled(DOCS / "metrics.md", "metrics", gauges.markdown()),
    }


def filled(page: Path, name: str, text: str) -> str:
    """The page with ``text`` between its marks of that name."""
    marked = re.compile(rf"(<!-- {name}: .*? -->\n).*?(<!-- end of {name} -->)", re.DOTALL)
    return marked.sub(lambda found: f"{found[1]}\n{text}\n{found[2]}", page.read_text("utf-8"))


if __name__ == "__main__":
    for path, text in pages().items():
        path.write_text(text, "utf-8")
