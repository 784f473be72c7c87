"""Packages from npm for opt-in tests, in a cache folder of the project.

Rule: what is installed is remembered; a second run asks no registry.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.server_process import ROOT

INSTALL_WITHIN = 600.0


def install(folder: str, package: str, fallback: str | None = None) -> Path:
    """Folder ``.cache/FOLDER`` with ``package`` (``name@version``), or with ``fallback`` if that version is gone.

    Skips the test where npm is missing.
    """
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed")
    home = ROOT / ".cache" / folder
    done = home / ".installed"
    wanted = f"{package}\n"
    if done.exists() and done.read_text() == wanted:
        return home
    home.mkdir(parents=True, exist_ok=True)
    (home / "package.json").write_text('{"private": true}\n')
    for candidate in filter(None, (package, fallback)):
        print(f"npm install {candidate} -> .cache/{folder}")
        result = subprocess.run(
            ["npm", "install", "--no-audit", "--no-fund", "--prefix", str(home), candidate],
            cwd=home,
            timeout=INSTALL_WITHIN,
            capture_output=True,
            text=True,
        )
        if result.returncode == 0:
            done.write_text(wanted)
            return home
        gone = "ETARGET" in result.stderr or "E404" in result.stderr
        if not gone:
            break
    raise AssertionError(f"npm install failed:\n{result.stderr}")
