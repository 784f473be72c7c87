"""Writes docs/settings.md from the table of settings (a test compares the two)."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from ccproxy_sanic.settings_table import markdown  # noqa: E402 (the path comes first)

if __name__ == "__main__":
    (ROOT / "docs" / "settings.md").write_text(markdown(), "utf-8")
