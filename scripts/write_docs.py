"""Writes the parts of docs/ that are made from the product's tables (tests compare the two)."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Final

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from ccproxy_sanic import settings_table  # noqa: E402 (the path comes first)
from ccproxy_sanic.profiles import switches  # noqa: E402
from ccproxy_sanic.translate import adjustments  # noqa: E402

DOCS: Final = ROOT / "docs"
MARKED: Final = re.compile(r"(<!-- switches: .*? -->\n).*?(<!-- end of switches -->)", re.DOTALL)


def pages() -> dict[Path, str]:
    """Each generated page and what it should hold."""
    profiles = DOCS / "profiles.md"
    return {
        DOCS / "settings.md": settings_table.markdown(),
        DOCS / "adjustments.md": adjustments.markdown(),
        profiles: MARKED.sub(
            lambda found: f"{found[1]}\n{switches.markdown()}\n{found[2]}", profiles.read_text("utf-8")
        ),
    }


if __name__ == "__main__":
    for path, text in pages().items():
        path.write_text(text, "utf-8")
