"""The import contracts of pyproject.toml hold (`lint-imports`, as `make check` runs it)."""

from __future__ import annotations

import subprocess
import sys

from .source import ROOT

LINT = "from importlinter.cli import lint_imports_command as run; run()"


def test_import_contracts_hold() -> None:
    command = [sys.executable, "-c", LINT, "--no-cache", "--no-logo"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert " 0 broken" in done.stdout
